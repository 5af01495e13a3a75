"""Progress on stderr: a bar and the time left per stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from samotion.checks.stages import Progress, silent
from samotion.commands.series import Clock, Pace, Series, left

EVERY_S = 10.0  # between two plain lines of one stage


@contextmanager
def display(
    quiet: bool = False,
    stream: TextIO | None = None,
    series: Series | None = None,
    clock: Clock = time.perf_counter,
) -> Iterator[Progress]:
    """A function for the pipeline to report to. `stream` None: stderr. `series`: what all of this
    is one part of.
    """
    out = stream or sys.stderr
    if quiet:
        yield silent
    elif is_terminal(out):
        from samotion.commands.bars import stages  # rich takes its time to load

        with stages(out, series if series and series.total > 1 else None) as report:
            yield report
    else:
        yield _plain(out, clock)


def is_terminal(stream: TextIO) -> bool:
    """Can lines of this stream be drawn again?"""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@dataclass
class _Stage:
    """One stage as a log tells it."""

    start: float
    said: float
    pace: Pace
    ended: bool = False


def _plain(out: TextIO, clock: Clock) -> Progress:
    """How long each stage took, when it ends, and how far it is, now and then."""
    stages: dict[str, _Stage] = {}

    def report(name: str, done: int, total: int) -> None:
        now = clock()
        stage = stages.setdefault(name, _Stage(now, now, Pace(clock)))
        if stage.ended:
            return
        stage.pace.reach(done, total)
        if done >= total > 0:
            stage.ended = True
            print(f"{name:8} {now - stage.start:6.1f} s", file=out, flush=True)
        elif now - stage.said >= EVERY_S:
            stage.said = now
            print(f"{name:8} {_so_far(stage, now)}", file=out, flush=True)

    return report


def _so_far(stage: _Stage, now: float) -> str:
    pace = stage.pace
    if pace.total <= 1:
        return f"{now - stage.start:6.1f} s so far"
    return f"{pace.done} of {pace.total}{left(pace.left_s())}"
