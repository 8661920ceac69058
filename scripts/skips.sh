# For checks in shell, which source it: what is done about a part that cannot run here, for want of a tool, a right or the
# network. It is left out, and said to be. In CI (CI is set) it is an error, unless CI_MAY_SKIP, names with commas
# between, has its name (no variable of TIDETABLE_…: a server refuses those that it does not know). scripts/skips.py is the same in Python.
# shellcheck shell=sh

# left_out NAME WHY…: goes on, unless this is CI.
left_out() {
    left_out_name=$1
    shift
    case ",${CI_MAY_SKIP:-}," in
        *",$left_out_name,"*) ;;
        *)
            if [ -n "${CI:-}" ]; then
                echo "FAILED $left_out_name: $*. CI leaves nothing out: give it what it needs, or put $left_out_name into CI_MAY_SKIP (.ci/run) and say why" >&2
                exit 1
            fi
            ;;
    esac
    echo "SKIPPED $left_out_name: $*" >&2
    # .ci/run says it again at its end.
    if [ -n "${CI_SKIPPED:-}" ]; then echo "$left_out_name: $*" >>"$CI_SKIPPED"; fi
}

# skip NAME WHY…: the script ends with it.
skip() {
    left_out "$@"
    exit 0
}
