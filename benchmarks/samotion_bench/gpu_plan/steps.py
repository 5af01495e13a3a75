"""What a step of the plan is: tables it leaves, and what it would need where it cannot run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "benchmarks" / "results"
CLIP_HW = (480, 854)


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

    def lines(self) -> Iterator[str]:
        """As Markdown."""
        yield from (f"## {self.title}", "")
        yield f"| {' | '.join(self.columns)} |"
        yield f"|{' --- |' * len(self.columns)}"
        for row in self.rows:
            yield f"| {' | '.join(_text(cell) for cell in row)} |"
        yield ""


@dataclass(frozen=True)
class Step:
    """One part of the plan. `run` gives tables as it has them, and raises Missing."""

    name: str
    what: str
    run: Callable[[Work], Iterator[Table]]


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
