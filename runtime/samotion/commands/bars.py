"""Bars on a terminal, the same for all commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from samotion.checks.stages import Progress as Report
from samotion.commands.series import Pace, Series

BAR_COLUMNS = 24
WHOLE = "all"  # the row of a series


class Count(ProgressColumn):
    """How many of how many; nothing while that is unknown."""

    def render(self, task: Task) -> Text:
        """As 3/10."""
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")


class Time(ProgressColumn):
    """The time left while something goes on, the time it took when it is done."""

    def render(self, task: Task) -> Text:
        """As 0:00:12 left, or 3.4 s at the end."""
        series: Series | None = task.fields.get("series")
        if series is not None:
            return Text(_left(series.left_s()))
        if task.finished:
            return Text(f"{task.finished_time or 0:.1f} s")
        pace: Pace | None = task.fields.get("pace")
        left_s = pace.left_s() if pace else task.time_remaining
        return Text(_left(left_s) or f"{_clock(task.elapsed or 0)} so far")


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{_clock(seconds)} left"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def bars(console: Console, transient: bool) -> Progress:
    """Rows of a name, a bar, a count and a time, which go at the end if `transient`; results go to
    stdout beside them.
    """
    columns = (
        TextColumn("{task.description:8}", markup=False),
        BarColumn(BAR_COLUMNS),
        Count(),
        Time(),
    )
    return Progress(*columns, console=console, transient=transient, redirect_stdout=False)


@contextmanager
def stages(out: TextIO, series: Series | None = None) -> Iterator[Report]:
    """A row per stage, and one for the whole series: those of a series go when its part is done."""
    with bars(Console(file=out), transient=series is not None) as rows:
        if series is not None:
            rows.add_task(WHOLE, total=series.total, completed=series.number - 1, series=series)
        tasks: dict[str, tuple[TaskID, Pace]] = {}

        def report(stage: str, done: int, total: int) -> None:
            known = None if done < total <= 1 else total or None
            if stage not in tasks:
                pace = Pace()
                tasks[stage] = rows.add_task(stage, total=known, pace=pace), pace
            task, pace = tasks[stage]
            pace.reach(done, total)
            rows.update(task, completed=done, total=known)

        yield report
