"""Progress on stderr: a moving line per stage in a terminal, one plain line per finished stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Report = Callable[[str, int, int], None]  # stage, done, total


@contextmanager
def shown(quiet: bool = False, stream: TextIO | None = None) -> Iterator[Report]:
    """A function for the pipeline to report to. `stream` None: stderr."""
    out = stream or sys.stderr
    if quiet:
        yield _nothing
    elif out.isatty():
        with _moving(out) as report:
            yield report
    else:
        yield _plain(out)


def _nothing(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


def _plain(out: TextIO) -> Report:
    """Say how long each stage took, once, when it is done."""
    finished: dict[str, float] = {}
    start = time.perf_counter()

    def report(stage: str, done: int, total: int) -> None:
        if done < total or stage in finished:
            return
        now = time.perf_counter()
        print(f"{stage:8} {now - max(finished.values(), default=start):6.1f} s", file=out, flush=True)
        finished[stage] = now

    return report


@contextmanager
def _moving(out: TextIO) -> Iterator[Report]:
    """A line per stage with a bar and the time left, redrawn in place."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=out)) as lines:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = lines.add_task(stage, total=total)
            lines.update(tasks[stage], completed=done, total=total)

        yield report
