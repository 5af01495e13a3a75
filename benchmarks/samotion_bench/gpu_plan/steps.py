"""What a step of the plan is: tables it leaves, and what it would need where it cannot run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samotion_bench import pages


class Missing(Exception):
    """A step cannot run here. Its text says what it would need."""


@dataclass(frozen=True)
class Work:
    """Where engines and random weights go, and how long the clips are."""

    folder: Path
    frames: int


@dataclass(frozen=True)
class Table:
    """A title, the names of columns, and rows of as many cells."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def lines(self) -> list[str]:
        """As Markdown."""
        cells = ([_text(cell) for cell in row] for row in self.rows)
        return [f"## {self.title}", "", *pages.table(self.columns, cells)]


@dataclass(frozen=True)
class Step:
    """One part of the plan. `run` gives tables as it has them, and raises Missing."""

    name: str
    what: str
    run: Callable[[Work], Iterator[Table]]


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
