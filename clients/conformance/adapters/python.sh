#!/bin/sh
# The Python client for the conformance suite: nothing is built, nothing installed.
root=$(cd "$(dirname "$0")/../../.." && pwd)
python=${TIDETABLE_PYTHON:-python3}
command -v "$python" >/dev/null || { echo "there is no $python" >&2; exit 77; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { echo "$python is older than 3.9" >&2; exit 77; }
PYTHONPATH="$root/clients/python/src" exec "$python" -X utf8 -W error "$root/clients/python/conformance/adapter.py" "$@"
