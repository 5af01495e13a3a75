"""Several things of one kind, one after the other, and how long the rest of them may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass
class Series:
    """Which of several things is being done, and how long the rest may take."""

    total: int
    clock: Clock = time.perf_counter
    number: int = 0  # of the one that is being done, from 1
    _worked: int = 0
    _spent_s: float = 0.0
    _since: float = 0.0

    def start(self) -> None:
        """The next one begins."""
        self.number += 1
        self._since = self.clock()

    def end(self) -> None:
        """It is done; one that is skipped is started, but not ended."""
        self._worked += 1
        self._spent_s += self.clock() - self._since

    def left_s(self) -> float | None:
        """Time left, by the mean of those that are done. None before there is one, and when the
        last one takes longer.

        One that takes longer than the mean counts in it, as long as it has taken.
        """
        if not self._worked:
            return None
        current, after = self.clock() - self._since, self.total - self.number
        mean = self._spent_s / self._worked
        if current <= mean:
            return mean * (after + 1) - current
        return (self._spent_s + current) / (self._worked + 1) * after if after else None

    def title(self, kind: str, name: str) -> str:
        """As "clip 2 of 5: name, about 3 min left"."""
        return f"{kind} {self.number} of {self.total}: {name}{left(self.left_s())}"


@dataclass
class Pace:
    """How far a stage is, and how long the rest may take, which goes on between two steps: windows
    of a long clip take minutes each.
    """

    clock: Clock = time.perf_counter
    done: int = 0
    total: int = 0
    _first: int = 0  # how far it was when counting began
    _since: float = 0.0
    _reached: float = 0.0

    def reach(self, done: int, total: int) -> None:
        """So much is done; with another total counting begins anew."""
        now = self.clock()
        if total != self.total:
            self._first, self._since = done, now
        if (done, total) != (self.done, self.total):
            self.done, self.total, self._reached = done, total, now

    def left_s(self) -> float | None:
        """None before the first step, and when a step takes longer than all of the rest should."""
        if self.done <= self._first:
            return None
        each = (self._reached - self._since) / (self.done - self._first)
        rest = each * (self.total - self.done) - (self.clock() - self._reached)
        return rest if rest > 0 else None


def left(seconds: float | None) -> str:
    """The end of a line that tells the time left, if it is known."""
    return "" if seconds is None else f", {about(seconds)} left"


def about(seconds: float) -> str:
    """A time in a form that does not say more than is known."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
