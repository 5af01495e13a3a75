"""Frames of any source, one after the other, at the processing size; or as one array."""

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


class Scaled:
    """The pictures of one source, each brought to the processing size when it is asked for, and
    what has been met so far.

    `source_hw`: size of the first picture, px; `numbers` and `times_s` of those that were read.
    Raises InputError for pictures that are too small or too large.
    """

    def __init__(self, pictures: Iterator[Frame], long_side_px: int | None, where: str) -> None:
        self.source_hw = (0, 0)
        self.numbers: list[int] = []
        self.times_s: list[float] = []
        self._pictures, self._long_side_px, self._where = pictures, long_side_px, where
        self._other_sizes = 0

    def __iter__(self) -> Iterator[Array]:
        """Frames (H,W,3) uint8 of one size."""
        for picture in self._pictures:
            if not self.numbers:
                self.source_hw = picture.rgb.shape[0], picture.rgb.shape[1]
                check_size(self.source_hw, self._where)
            self._other_sizes += picture.rgb.shape[:2] != self.source_hw
            self.numbers.append(picture.number)
            self.times_s.append(picture.time_s)
            yield resized(picture.rgb, scaled_hw(self.source_hw, self._long_side_px))

    @property
    def warnings(self) -> list[str]:
        """The line that some pictures had another size, if they had."""
        if not self._other_sizes:
            return []
        size = f"{self.source_hw[1]}x{self.source_hw[0]}"
        return [
            f"{self._other_sizes} frames have another size than the first, {size}; scaled to it"
        ]


def collect(scaled: Scaled, count: int, where: str, progress: StageProgress | None = None) -> Array:
    """All frames as one array (T,H,W,3), made for `count` and enlarged where more come."""
    frames: Array = np.empty((0, 0, 0, 3), np.uint8)
    done = 0
    for done, frame in enumerate(scaled, start=1):
        if done == 1:
            frames = allocate(count, (frame.shape[0], frame.shape[1]), where)
        elif done > len(frames):
            frames = _enlarged(frames, where)
        frames[done - 1] = frame
        if progress:
            progress(done, max(done, count))
    return frames[:done]


def _enlarged(frames: Array, where: str) -> Array:
    """The same frames with room for a quarter more."""
    larger = allocate(len(frames) + len(frames) // 4 + 1, frames.shape[1:3], where)
    larger[: len(frames)] = frames
    return larger
