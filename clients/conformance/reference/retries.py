"""Which failures are tried again, when, and how many of them a client can afford."""

from __future__ import annotations

import email.utils
import random
import time
from typing import Callable

from errors import Broken, Fault, Refused, Usage
from wire import Deadline
from wrongs import wrong

AGAIN = {429, 502, 503, 504}
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
FULL, EACH_CALL = 10.0, 0.1

Answer = tuple[int, dict[str, str], bytes]


class Budget:
    """What retries may cost: each call puts a little in, each retry takes one."""

    def __init__(self) -> None:
        self.tokens = FULL

    def call(self) -> None:
        if wrong("empty_budget_refuses") and self.tokens < 1:
            raise Usage("no budget")
        self.tokens = min(FULL, self.tokens + EACH_CALL)

    def take(self) -> bool:
        if wrong("no_budget"):
            return True
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


OF_THE_PROGRAM = Budget()


def again(fault: Fault, reading_one: bool) -> bool:
    """Whether a failure may be gone at the next try."""
    if wrong("no_retries") or (wrong("only_get_is_retried") and not reading_one):
        return False
    if isinstance(fault, Refused):
        statuses = {503} if wrong("only_503_is_retried") else AGAIN
        return fault.status in statuses or wrong("any_error_is_retried")
    return isinstance(fault, Broken) and not wrong("resets_not_retried")


def wait(tries: int, retry_after: str | None) -> float:
    """How long until the next try: by chance, and no shorter than the server says."""
    by_chance = 0.0 if wrong("no_waits") else random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)))
    return max(by_chance, told(retry_after))


def told(retry_after: str | None) -> float:
    """The seconds of a Retry-After; 0 if there is none, or none that can be read."""
    if retry_after is None or wrong("retry_after_ignored"):
        return 0.0
    if wrong("retry_after_must_be_read"):
        return float(int(retry_after))
    if wrong("retry_after_overflows"):
        return float(int.from_bytes(int(retry_after).to_bytes(8, "big"), "big"))
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    if wrong("retry_after_date_ignored"):
        return 0.0
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def tried(ask: Callable[[Deadline], Answer], check: Callable[[Answer], Answer], most: int, budget: Budget, deadline: Deadline,
          reading_one: bool) -> Answer:
    """Asks until there is a whole answer that `check` takes, the tries or the budget are spent, or time is."""
    tries = 0
    while True:
        tries += 1
        retry_after = None
        if wrong("timeout_of_each_request"):
            deadline = deadline.__class__(deadline.seconds)
        try:
            answer = ask(deadline)
            retry_after = answer[1].get("retry-after")
            return check(answer)
        except (Broken, Refused) as fault:
            if tries >= (most + 1 if wrong("four_tries") else most) or not again(fault, reading_one):
                raise
            pause = wait(tries, retry_after)
            if wrong("budget_for_no_retry"):
                budget.take()
            if wrong("retry_after_over_timeout"):
                time.sleep(min(pause, deadline.left()))
                deadline.left()
            elif pause >= deadline.at - time.monotonic():
                raise
            if not budget.take():
                raise
            time.sleep(pause)
