"""The clips of a pool, one file each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from samotion import geometry
from samotion.errors import InputError
from samotion_bench.scenes.render import Clip

from samotion_training.commands import files_of, reading, shapes_of

POINTS = 1024  # followed in each clip
MADE = "a clip of samotion_training.pool"
Arrays = TypeVar("Arrays", bound=tuple[Any, ...])
DEPTH_EVERY = 4  # disparity of every fourth frame is kept: it is the largest array


class Sample(NamedTuple):
    """One clip of the pool, px of its frames with pixel centres at whole numbers."""

    frames: np.ndarray  # (T, 256, 256, 3) uint8 RGB
    disparity: np.ndarray  # (ceil(T / 4), 256, 256) float16, 1 / depth of every fourth frame
    labels: np.ndarray  # (T, 256, 256) uint8 instance
    instance_moving: np.ndarray  # (instances,) bool
    xy: np.ndarray  # (N, T, 2) float32
    visible: np.ndarray  # (N, T) bool
    instance: np.ndarray  # (N,)
    # (N, T) float16: of what is seen where the point is, itself or what hides it
    point_disparity: np.ndarray
    aspect: np.ndarray  # () float: width over height of the picture as shown


def seen_disparity(clip: Clip, xy: np.ndarray) -> np.ndarray:
    """(N, T) disparity of the clip at xy (N, T, 2) px, clamped to the picture, min-max
    normalised per frame.
    """
    frames, height, width = clip.disparity.shape
    low = clip.disparity.min((1, 2), keepdims=True)
    scaled = (clip.disparity - low) / np.maximum(
        clip.disparity.max((1, 2), keepdims=True) - low, 1e-6
    )
    x, y = np.moveaxis(geometry.nearest_pixel(xy, (height, width)), -1, 0)
    return np.asarray(scaled[np.arange(frames), y, x])


def points_only(sample: Sample) -> Sample:
    """The sample with pictures of no width: enough to train motion on, at a fiftieth of the
    room.
    """
    return sample._replace(
        frames=sample.frames[:, :, :0], disparity=sample.disparity[:0], labels=sample.labels[:0]
    )


def save(path: Path, sample: NamedTuple) -> None:
    """Write the arrays of a tuple by their names; the file appears whole."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    with open(partial, "wb") as file:
        np.savez(file, **sample._asdict())
    partial.rename(path)


def clips_of(folder: Path, *needed: str, size_px: int | None = None) -> list[Path]:
    """The clips of a pool that have something in the arrays `needed`: a pool of points has no
    pictures, and some datasets have no depth or no tracks.

    Raises InputError where there are none, where one is broken, or where pictures have another size
    than is wanted.
    """
    remedy = "make the pool anew without --points-only, or from another dataset"
    paths = files_of(folder, Sample._fields, "pool", needed, remedy)
    for path in paths if size_px else ():
        height, width = shapes_of(path, MADE)["frames"][1:3]
        if (height, width) != (size_px, size_px):
            raise InputError(
                f"{path}: got pictures of {width}x{height} px, expected {size_px}x{size_px}; make"
                f" the pool anew with --size {size_px}"
            )
    return paths


def load(path: Path) -> Sample:
    """A clip that `save` wrote. Raises InputError where it is broken."""
    return read(path, Sample, MADE)


def read(path: Path, kind: type[Arrays], made: str) -> Arrays:
    """The arrays of a tuple of a kind, that `save` wrote. Raises InputError where the file is
    broken, or is not what was `made`.
    """
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    with reading(path, made), np.load(path) as arrays:
        return kind(*(arrays[name] for name in names))
