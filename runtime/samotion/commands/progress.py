"""Progress on stderr: a bar and the time left per stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

Report = Callable[[str, int, int], None]  # stage, done, total
Clock = Callable[[], float]

EVERY_S = 10.0  # between two plain lines of one stage


@dataclass
class Batch:
    """Several things of one kind, one after the other: which is being done, and how long the
    rest may take.
    """

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


@contextmanager
def shown(
    quiet: bool = False,
    stream: TextIO | None = None,
    batch: Batch | None = None,
    clock: Clock = time.perf_counter,
) -> Iterator[Report]:
    """A function for the pipeline to report to. `stream` None: stderr. `batch`: what all of this
    is one part of.
    """
    out = stream or sys.stderr
    if quiet:
        yield _nothing
    elif is_terminal(out):
        from samotion.commands.bars import stages  # rich takes its time to load

        with stages(out, batch if batch and batch.total > 1 else None) as report:
            yield report
    else:
        yield _plain(out, clock)


def is_terminal(stream: TextIO) -> bool:
    """Can lines of this stream be drawn again?"""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


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


def _nothing(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


@dataclass
class _Stage:
    """One stage as a log tells it."""

    start: float
    said: float
    counted: tuple[float, int, int]  # when counting began, from what, of how many
    ended: bool = False


def _plain(out: TextIO, clock: Clock) -> Report:
    """How long each stage took, when it ends, and how far it is, now and then."""
    stages: dict[str, _Stage] = {}

    def report(name: str, done: int, total: int) -> None:
        now = clock()
        stage = stages.setdefault(name, _Stage(now, now, (now, done, total)))
        if stage.ended:
            return
        if total != stage.counted[2]:
            stage.counted = now, done, total
        if done >= total > 0:
            stage.ended = True
            print(f"{name:8} {now - stage.start:6.1f} s", file=out, flush=True)
        elif now - stage.said >= EVERY_S:
            stage.said = now
            print(f"{name:8} {_so_far(stage, now, done, total)}", file=out, flush=True)

    return report


def _so_far(stage: _Stage, now: float, done: int, total: int) -> str:
    since, first, _ = stage.counted
    if total <= 1:
        return f"{now - stage.start:6.1f} s so far"
    count = f"{done} of {total}"
    return count + left(None if done <= first else (now - since) / (done - first) * (total - done))
