"""The command line: tests/torture/run crash | check | bugs | ci | torture | soak | recheck."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bugs
import doctored
import soak as soaking
from checker import Plan, Run, Verdict, verdict
from crash.commands import main as crash

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import ledgers  # noqa: E402

# Violations that are shown; all are counted.
SHOWN = 20
# How often a run is made that does not count, because too little was read meanwhile: the machine may be busy.
RUNS = 3


def main() -> int:
    if sys.argv[1:2] == ["crash"]:
        return crash(sys.argv[2:])
    arguments = parser().parse_args()
    return int(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="tests/torture/run", description=__doc__)
    commands = whole.add_subparsers(required=True)

    def command(name: str, run: Any, help_: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_)
        made.set_defaults(run=run)
        made.add_argument("--home", type=Path, help="where a scratch directory is made, on a real file system")
        made.add_argument("--keep", action="store_true", help="keep data, logs and history of a clean run")
        made.add_argument("--seed", default=None, help="repeats the choices of a run, not its timing")
        return made

    check_ = command("check", check, "one run, with kills")
    check_.add_argument("binary", type=Path)
    check_.add_argument("--kills", type=int, default=100)
    check_.add_argument("--seconds", type=float, default=10.0, help="how long, without kills")
    check_.add_argument("--faults", action="store_true", help="the binary has faults: cut the power, too")
    check_.add_argument("--planted", default="", help="what TIDETABLE_BUG is to be")

    bugs_ = command("bugs", find_bugs, "every planted bug must be found")
    bugs_.add_argument("binary", type=Path, help="tidetable-faults")
    bugs_.add_argument("--only", help="one of them")

    ci_ = command("ci", ci, "what CI runs: 100 kills, then the planted bugs")
    ci_.add_argument("binary", type=Path, help="tidetable-faults")
    ci_.add_argument("--kills", type=int, default=100)

    torture_ = command("torture", torture, "many kills, in pieces; goes on where the ledger ends")
    torture_.add_argument("binary", type=Path)
    torture_.add_argument("--kills", type=int, default=1000, help="in all, those in the ledger included")
    torture_.add_argument("--piece", type=int, default=100)
    torture_.add_argument("--ledger", type=Path, required=True)
    torture_.add_argument("--faults", action="store_true", help="the binary has faults: cut the power, too")

    soak_ = command("soak", soak, "hours with a swap every 10 s; memory, descriptors and disk stay flat")
    soak_.add_argument("binary", type=Path)
    soak_.add_argument("--seconds", type=float, default=7200.0)
    soak_.add_argument("--piece", type=float, default=300.0, help="seconds that are judged at a time")
    soak_.add_argument("--ledger", type=Path)

    recheck_ = commands.add_parser("recheck", help="what the history of an earlier run says")
    recheck_.set_defaults(run=recheck)
    recheck_.add_argument("history", type=Path)
    return whole


def home(arguments: argparse.Namespace) -> Path:
    """A directory of this run's own: a run begins and ends by removing all that is in it."""
    # Beside the build, which is on a disk; /tmp may be in memory.
    within = arguments.home or Path(arguments.binary).resolve().parent.parent / "tmp"
    within.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="torture-", dir=within))


def fresh_seed(arguments: argparse.Namespace) -> str:
    return arguments.seed or f"{time.time_ns():x}"


def show(name: str, found: Verdict, history: Path) -> None:
    print(f"{name}: {json.dumps(found.counts)}")
    for violation in found.violations[:SHOWN]:
        print(f"  {violation}")
    if len(found.violations) > SHOWN:
        print(f"  … and {len(found.violations) - SHOWN} more")
    for refusal in found.refusals[:SHOWN]:
        print(f"  this run does not count: {refusal}")
    print(f"{name}: {'clean' if found.is_clean() else f'NOT CLEAN; its history is in {history}'}", flush=True)


def tidy(arguments: argparse.Namespace, directory: Path, clean: bool) -> None:
    if clean and not arguments.keep:
        shutil.rmtree(directory, ignore_errors=True)


def check(arguments: argparse.Namespace) -> int:
    directory = home(arguments)
    plan = Plan(
        arguments.binary, directory, fresh_seed(arguments), arguments.kills, arguments.seconds,
        planted=arguments.planted, power_cuts=arguments.faults, damage=True,
    )
    found = one(plan)
    tidy(arguments, directory, found.is_clean())
    return 0 if found.is_clean() else 1 if found.violations else 2


def one(plan: Plan, runs: int = 1) -> Verdict:
    """A run that counts, or the last of so many."""
    print(f"{plan.kills} kills, seed {plan.seed}, in {plan.home}", flush=True)
    run = Run(plan)
    found = run.run()
    show("check", found, run.history)
    if runs > 1 and found.refusals and not found.violations:
        # With other choices: the same ones may come to too little again.
        return one(replace(plan, seed=f"{plan.seed}-{runs}"), runs - 1)
    return found


def find_bugs(arguments: argparse.Namespace) -> int:
    directory = home(arguments)
    missed = bugs.hunt(arguments.binary, directory, fresh_seed(arguments), arguments.only)
    tidy(arguments, directory, not missed)
    return 1 if missed else 0


def ci(arguments: argparse.Namespace) -> int:
    directory = home(arguments)
    plan = Plan(
        arguments.binary, directory / "clean", fresh_seed(arguments), arguments.kills,
        planted="damaged-tables", power_cuts=True, damage=True,
    )
    found = one(plan, RUNS)
    missed = [] if found.violations else doctored.undetected(found.record)
    for damage in missed:
        print(f"a doctored history passed: {damage}")
    missed += bugs.hunt(arguments.binary, directory / "bugs", plan.seed, None)
    tidy(arguments, directory, found.is_clean() and not missed)
    return 0 if found.is_clean() and not missed else 1


def torture(arguments: argparse.Namespace) -> int:
    """Each piece is one line of the ledger. A piece that was cut off is not in it, and is run anew."""
    end_if_unclean(arguments.ledger)
    directory = home(arguments)
    while (done := kills_of(arguments)) < arguments.kills:
        kills = min(arguments.piece, arguments.kills - done)
        seed = f"{arguments.seed or arguments.binary.name}-{done}"
        plan = Plan(
            arguments.binary, directory / seed, seed, kills, power_cuts=arguments.faults, damage=True,
            planted="damaged-tables" if arguments.faults else "",
        )
        found = one(plan, RUNS)
        line = {
            "when": now(), "commit": ledgers.commit(), "seed": seed,
            "binary": arguments.binary.name, "clean": found.is_clean(), "violations": len(found.violations),
            "refusals": found.refusals[:3], **found.counts,
        }
        with arguments.ledger.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")
        if not found.is_clean():
            return 1
        tidy(arguments, directory / seed, True)
    done = kills_of(arguments)
    print(f"{done} kills, nothing found: at most {300 / max(done, 1):.2f} % of kills do harm (95 %)")
    return 0


def soak(arguments: argparse.Namespace) -> int:
    end_if_unclean(arguments.ledger)
    directory = home(arguments)
    found = soaking.soak(arguments.binary, directory, fresh_seed(arguments), arguments.seconds, arguments.piece)
    for violation in found["violations"][:SHOWN]:
        print(f"  {violation}")
    clean = not found["violations"]
    print(f"soak: {'clean' if clean else f'NOT CLEAN; see {directory}'}: {soaking.told(found)}", flush=True)
    if arguments.ledger:
        line = {"when": now(), "commit": ledgers.commit(), "kills": 0, "clean": clean, "soak": found}
        with arguments.ledger.open("a") as ledger:
            ledger.write(json.dumps(line) + "\n")
    tidy(arguments, directory, clean)
    return 0 if clean else 1


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def kills_of(arguments: argparse.Namespace) -> int:
    """Kills of that binary that were clean, since the last release."""
    lines = ledgers.counting(arguments.ledger)
    mine = [line for line in lines if line.get("binary") == arguments.binary.name and line["clean"]]
    return sum(line["kills"] for line in mine)


def end_if_unclean(ledger: Path | None) -> None:
    ledgers.end_if_any(unclean_of_head(ledger), ledger)


def unclean_of_head(ledger: Path | None) -> list[dict[str, Any]]:
    """Pieces and soaks of this commit in which something was found. One that merely did not count has found nothing."""
    lines = ledgers.of_head(ledgers.counting(ledger))
    return [line for line in lines if not line["clean"] and (line.get("violations") or line.get("soak"))]


def recheck(arguments: argparse.Namespace) -> int:
    found = verdict(arguments.history)
    show("recheck", found, arguments.history)
    return 0 if found.is_clean() else 1 if found.violations else 2


if __name__ == "__main__":
    sys.exit(main())
