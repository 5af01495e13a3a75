"""Pages of Markdown that the checks of engines leave in benchmarks/results, and the clips that they
take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samotion.manifest import write_atomically

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DEMO = ROOT / "demo" / "demo.mp4"
CLIP_HW, OBJECTS = (480, 854), 3  # of a rendered clip


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def write(path: Path, lines: Iterable[str]) -> Path:
    """A page, in a folder that is made where it is not there; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join([*lines, ""]).encode())
    return path
