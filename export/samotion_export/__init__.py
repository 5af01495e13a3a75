"""Turns the published PyTorch checkpoints into the graphs that `samotion` runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

STAGING = ".samotion-export-"  # how a folder's name begins while it is being written


@contextmanager
def staging_in(out: Path) -> Iterator[Path]:
    """A new folder in `out` that goes when the block ends, with what is still there."""
    with TemporaryDirectory(dir=out, prefix=STAGING, ignore_cleanup_errors=True) as name:
        yield Path(name)
