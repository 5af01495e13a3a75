"""What the export command says while it works: one line per graph on stderr, paths on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from samotion.commands import streams
from samotion.commands.progress import is_terminal
from samotion.commands.series import Series, left

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Report:
    """`level` -1 says errors only, 0 one line per graph, 1 everything."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self._series: Series | None = None
        self._kind = ""

    @property
    def animated(self) -> bool:
        """Whether bars may be drawn."""
        return self.level >= 0 and is_terminal(sys.stderr)

    def plan(self, count: int, kind: str) -> None:
        """So many things of a kind are to be made, or found up to date."""
        self._series, self._kind = Series(count), kind
        self._series.start()

    def made(self, text: str) -> None:
        """One more is made: what there is to say of it, which one it is, and the time left."""
        if self._series:
            self._series.end()
        self.note(text + self._advance(1))

    def passed(self, text: str | None, count: int) -> None:
        """So many need not be made. `text` None: the user need not hear of it."""
        place = self._advance(count)
        if text is not None:
            self.note(text + place)

    def _advance(self, count: int) -> str:
        """Go on in the plan; what a log hears of it, as " (3 of 11 graphs, about 20 s left)"."""
        series = self._series
        if series is None or not count:
            return ""
        series.number += count - 1
        done = series.number
        series.start()  # the next one, or, at the end, one that never comes
        if series.total == 1 or self.animated:  # there the bar tells
            return ""
        rest = left(series.left_s()) if done < series.total else ""
        return f" ({done} of {series.total} {self._kind}{rest})"

    def note(self, text: str) -> None:
        """A line on stderr, unless -q was given."""
        if self.level >= 0:
            self.insist(text)

    def insist(self, text: str) -> None:
        """What a user must see even with -q: licences and doubtful files."""
        streams.note(text)

    def detail(self, text: str) -> None:
        """A line on stderr with -v."""
        if self.level > 0:
            self.insist(text)

    def result(self, path: Path) -> None:
        """A file that was written, on stdout."""
        print(path, flush=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """On a terminal: what is being done, below it how far the whole export is. Nothing
        elsewhere.
        """
        if not self.animated:
            yield
            return
        from rich.console import Console
        from samotion.commands.bars import WHOLE, bars

        with bars(Console(file=sys.stderr), transient=True) as rows:
            rows.add_task(text, total=None)
            if series := self._series:
                rows.add_task(WHOLE, total=series.total, completed=series.number - 1, series=series)
            yield

    @contextmanager
    def bar(self, text: str) -> Iterator[tuple[Progress, TaskID]]:
        """A byte counter on a terminal, silent elsewhere."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )
        from samotion.commands.bars import BAR_COLUMNS, Time

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_COLUMNS),
            DownloadColumn(),
            TransferSpeedColumn(),
            Time(),
        )
        console = Console(file=sys.stderr)
        with Progress(
            *columns, console=console, disable=not self.animated, transient=True
        ) as progress:
            yield progress, progress.add_task(text, total=None)
