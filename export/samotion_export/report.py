"""What the export command says while it works: one line per graph on stderr, paths on stdout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn


class Report:
    """`level` -1 says errors only, 0 one line per graph, 1 everything."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    @property
    def animated(self) -> bool:
        return self._console.is_terminal and self.level >= 0

    def note(self, text: str) -> None:
        if self.level >= 0:
            self._console.print(text)

    def insist(self, text: str) -> None:
        """What a user must see even with -q: licences and doubtful files."""
        self._console.print(text)

    def detail(self, text: str) -> None:
        if self.level > 0:
            self._console.print(text)

    def result(self, path: Path) -> None:
        print(path, flush=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner on a terminal, nothing elsewhere."""
        if not self.animated:
            yield
            return
        with self._console.status(text):
            yield

    @contextmanager
    def bar(self, text: str) -> Iterator[tuple[Progress, TaskID]]:
        """A byte counter on a terminal, silent elsewhere."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console, disable=not self.animated, transient=True) as progress:
            yield progress, progress.add_task(text, total=None)
