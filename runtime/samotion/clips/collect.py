"""Frames of any source, one after the other, become one array at the processing size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from samotion.checks.stages import StageProgress
from samotion.clips.sizes import allocate, check_size, resized, scaled_hw

Array = np.ndarray[Any, Any]


class Frame(NamedTuple):
    """One frame: its number in the source, time in s (NaN: none), and RGB (H,W,3) uint8,
    upright.
    """

    number: int
    time_s: float
    rgb: Array


class Collected(NamedTuple):
    """Frames (T,H,W,3) with their source size, numbers (T,), times (T,) in s, and warnings."""

    frames: Array
    source_hw: tuple[int, int]
    indices: Array
    times_s: Array
    warnings: list[str]


def collect(
    pictures: Iterator[Frame],
    count: int,
    long_side_px: int | None,
    where: str,
    progress: StageProgress | None = None,
) -> Collected:
    """Scale pictures into one array, made for `count` frames and enlarged where more come."""
    frames, source_hw = np.empty((0, 0, 0, 3), np.uint8), (0, 0)
    indices: list[int] = []
    times: list[float] = []
    other_sizes = 0
    for picture in pictures:
        done = len(indices)
        if not done:
            source_hw = picture.rgb.shape[0], picture.rgb.shape[1]
            check_size(source_hw, where)
            frames = allocate(count, scaled_hw(source_hw, long_side_px), where)
        elif done == len(frames):
            frames = _enlarged(frames, where)
        other_sizes += picture.rgb.shape[:2] != source_hw
        frames[done] = resized(picture.rgb, (frames.shape[1], frames.shape[2]))
        indices.append(picture.number)
        times.append(picture.time_s)
        if progress:
            progress(done + 1, max(done + 1, count))
    size = f"{source_hw[1]}x{source_hw[0]}"
    changed = f"{other_sizes} frames have another size than the first, {size}; scaled to it"
    return Collected(
        frames[: len(indices)],
        source_hw,
        np.array(indices, np.int64),
        np.array(times, np.float64),
        [changed] if other_sizes else [],
    )


def _enlarged(frames: Array, where: str) -> Array:
    """The same frames with room for a quarter more."""
    larger = allocate(len(frames) + len(frames) // 4 + 1, frames.shape[1:3], where)
    larger[: len(frames)] = frames
    return larger
