"""When a request is made again: how often, after how long, and when not.

Retries make an overload worse, so they are few: at most `tries` of a call, and over all calls of a
client no more than a budget allows: each call adds a tenth of a retry to it, up to ten.
"""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Callable, NamedTuple, Optional

RETRIED_STATUS = frozenset((429, 502, 503, 504))


class Patience(NamedTuple):
    """How often a call is tried, and the pauses between."""

    tries: int
    first_pause: float = 0.1
    longest_pause: float = 2.0

    def pause(self, tried: int, draw: Callable[[], float] = random.random) -> float:
        """Full jitter: anything from nothing to what is twice as long for each try."""
        return draw() * min(self.longest_pause, self.first_pause * 2.0 ** (tried - 1))


class Budget:
    """A bucket of retries. Races between threads cost a fraction of a retry at most."""

    __slots__ = ("_level",)

    MOST = 10.0
    EACH_CALL = 0.1

    def __init__(self) -> None:
        self._level = self.MOST

    def called(self) -> None:
        self._level = min(self.MOST, self._level + self.EACH_CALL)

    def take(self) -> bool:
        """One retry, if there is one."""
        # Tenths do not add up exactly.
        if self._level < 1.0 - 1e-9:
            return False
        self._level -= 1.0
        return True


def retry_after(text: Optional[str], now: Optional[datetime] = None) -> float:
    """Seconds that `Retry-After` asks for; 0 without it, or if it cannot be read."""
    if text is None:
        return 0.0
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        instant = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return 0.0
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone.utc)
    return max((instant - (now or datetime.now(timezone.utc))).total_seconds(), 0.0)
