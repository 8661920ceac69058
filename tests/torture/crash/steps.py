"""Death at every named step: of each scenario, and of the start after it.

The steps are those that the server's sources name. Each scenario runs once to its end, which tells the steps
that it passes and how often; then it is run anew for each of them, with a server that dies there. A step that
no scenario passes makes the run wrong: nobody would know what a death there leaves behind.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crash.along import logged, steps_passed
from crash.judge import judge
from crash.ledger import ROOT, Ledger
from crash.story import READ_ALONG, SCENARIOS, Base, play

# Steps of a server's start, and of what it has to do at once: where a second death may come.
RECOVERY = re.compile(r"^(start|journal|directory|checkpoint|file|rename|fail)\.")

# Where a builder dies whose rows still arrive: before it has looked at any, when it has, and when they are all there.
WHILE_READING_ALONG = ("worker.started", "along.looked", "along.waited", "worker.made")


def named_steps() -> set[str]:
    """Every step that the sources name."""
    sources = [*(ROOT / "storage/src").rglob("*.rs"), *(ROOT / "src").rglob("*.rs")]
    return {step for path in sources for step in re.findall(r'\bstep\("([a-z]+\.[a-z_]+)"\)', path.read_text())}


@dataclass(frozen=True)
class Case:
    scenario: int
    step: str
    n: int
    # A step of the start after it, at which the server dies again.
    then: str = ""
    # The process that builds dies alone.
    alone: bool = False

    def __str__(self) -> str:
        how = f"{SCENARIOS[self.scenario].name}: {self.step}:{self.n}"
        return how + (":alone" if self.alone else "") + (f", then {self.then}" if self.then else "")


class Steps:
    def __init__(self, binary: Path, home: Path, ledger: Ledger, jobs: int) -> None:
        self.binary = binary
        self.home = home
        self.ledger = ledger
        self.jobs = jobs
        self.bases: list[Base] = []
        self.passed: list[Counter[str]] = []
        # How often a server died at a step.
        self.deaths: Counter[str] = Counter()
        self._lock = threading.Lock()

    def look_ahead(self) -> None:
        """Makes the bases, and learns which steps each scenario passes."""
        for place, scenario in enumerate(SCENARIOS):
            base = Base(scenario, self.binary, self.home / f"base-{place}", self.ledger.seed)
            self.bases.append(base)
            server, book = base.copy(self.home / "ahead")
            if not play(server, book, scenario, {}):
                raise RuntimeError(f"{scenario.name} does not come to its end: {server.last_words()}")
            self.passed.append(steps_passed(server))
            wrong = judge(server, book)
            self.ledger.enter("scenario undisturbed", scenario.name, wrong)
        unknown = set().union(*self.passed) - named_steps()
        if unknown:
            raise RuntimeError(f"steps that the sources do not name: {unknown}")
        never = sorted(named_steps() - set().union(*self.passed))
        self.ledger.enter("steps reached", "all", [f"never passed: {step}" for step in never])

    def cases(self, chance: random.Random, most: int | None) -> Iterator[Case]:
        """Each step of each scenario: at `most` of its passings, or all."""
        for place, passed in enumerate(self.passed):
            for step, count in sorted(passed.items()):
                if most is not None and not re.match(SCENARIOS[place].own, step):
                    continue
                chosen = list(range(1, count + 1))
                if most is not None and count > most:
                    # The first, and others by chance.
                    chosen = [1, *chance.sample(chosen[1:], most - 1)]
                for n in sorted(chosen):
                    yield Case(place, step, n)

    def pairs(self, chance: random.Random, count: int) -> list[Case]:
        """Deaths after which the start is cut off too."""
        first = [case for case in self.cases(chance, 2) if not case.step.startswith("start.")]
        then = sorted({step for passed in self.passed for step in passed if RECOVERY.match(step)})
        pairs = set()
        while len(pairs) < count:
            case = chance.choice(first)
            pairs.add(Case(case.scenario, case.step, case.n, chance.choice(then)))
        return sorted(pairs, key=str)

    def builders(self) -> list[Case]:
        """Deaths of the process that builds, alone."""
        own = re.compile(r"^(worker|build\.written|table|assembly|verify)")
        passed = self.passed[1]
        along = SCENARIOS.index(READ_ALONG)
        return [
            *(Case(1, step, 1, alone=True) for step in sorted(passed) if own.match(step)),
            *(Case(along, step, 1, alone=True) for step in WHILE_READING_ALONG),
        ]

    def run(self, cases: list[Case], rounds: int = 1) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            tasks = [(case, number) for number in range(rounds) for case in cases]
            list(pool.map(lambda task: self.one(*task), tasks))

    def one(self, case: Case, number: int) -> None:
        name = f"{case} #{number}"
        if self.ledger.is_sound(name):
            return
        scenario = SCENARIOS[case.scenario]
        home = self.home / f"case-{threading.get_ident()}"
        server, book = self.bases[case.scenario].copy(home)
        at = f"{case.step}:{case.n}" + (":alone" if case.alone else "")
        if case.alone:
            wrong = self.builder_dies(server, book, case, at)
            self.ledger.enter("builder died", name, wrong)
            return
        ended = play(server, book, scenario, {"TIDETABLE_CRASH_AT": at}, stop=True)
        server.kill()
        died = not ended
        if died:
            with self._lock:
                self.deaths[case.step] += 1
        if case.then:
            again = {"TIDETABLE_CRASH_AT": case.then, "TIDETABLE_CHECKPOINT_BYTES": "2048"}
            play(server, book, scenario.after(), again, stop=False)
            server.kill()
        kind = "pair of deaths" if case.then else "death at a step"
        wrong = judge(server, book)
        # How often a step is passed depends on what else goes on; that it is passed at all does not.
        if not died and case.n == 1 and not case.then:
            wrong.append("nobody died, though this scenario passes the step when nothing is in its way")
        self.ledger.enter(kind, name, wrong, died=died)

    def builder_dies(self, server, book, case: Case, at: str) -> list[str]:
        """The push fails, the server goes on and the next push works. If only a builder that reads along can come to
        that step, no push fails: another builder makes its version."""
        from crash.story import CutOff, Story

        scenario = SCENARIOS[case.scenario]
        server.start(extra=dict(scenario.environment) | logged(server) | {"TIDETABLE_CRASH_AT": at})
        story = Story(server, book, tolerant=True)
        try:
            scenario.act(story)
        except CutOff as error:
            book.wrong.append(f"the server went with its builder: {error}")
        if not steps_passed(server)[case.step]:
            book.wrong.append("no builder died, since none came to that step")
        elif case.step.startswith("along."):
            book.wrong += [f"a push failed, though it can be built anew: {failed}" for failed in book.failed]
        elif not book.failed:
            book.wrong.append("no push failed though its builder died")
        server.kill()
        return judge(server, book)
