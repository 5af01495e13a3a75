"""Loaders for the datasets that the paper trained on: each becomes clips of a pool.

`python -m samotion_training.pool FOLDER --from LAYOUT DIR`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from samotion.errors import InputError

from samotion_training import samples
from samotion_training.datasets import dynamic_replica, hoi4d, movi_f
from samotion_training.datasets.recording import Source, knows, to_sample

SOURCES: dict[str, Callable[[Path, int], Iterator[Source]]] = {
    "movi-f": movi_f.sources,
    "kubric-tracks": movi_f.track_sources,
    "dynamic-replica": dynamic_replica.sources,
    "hoi4d": hoi4d.sources,
}
SOME_FAILED = 8  # exit code


def convert(
    layout: str,
    dataset: Path,
    folder: Path,
    numbers: tuple[int, int | None],
    frames: int,
    size_px: int,
    slim: bool,
) -> int:
    """Write the windows of a dataset as clips number FIRST, FIRST + 1, ... of a pool, up to END;
    those there are kept.

    A window that cannot be read is told of on stderr and left out. Returns the exit code: 0, or 8
    when some were left out. Raises UsageError for an unknown layout and InputError when nothing can
    be read at all.
    """
    first, end = numbers
    folder.mkdir(parents=True, exist_ok=True)
    done = failed = 0
    for number, source in enumerate(SOURCES[layout](dataset, frames), first):
        if end is not None and number >= end:
            break
        path = folder / f"{number:06d}.npz"
        try:
            if not path.exists():
                sample = to_sample(source.read(), size_px)
                samples.save(path, samples.points_only(sample) if slim else sample)
                print(f"{path}: {knows(sample)} of {source.name}", file=sys.stderr, flush=True)
            done += 1
        except InputError as error:
            failed += 1
            print(f"left out: {error}", file=sys.stderr, flush=True)
    if not done:
        raise InputError(
            f"{dataset}: got nothing that can be read as {layout}; see training/README.md for"
            f" its layout"
        )
    return SOME_FAILED if failed else 0
