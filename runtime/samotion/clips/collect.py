"""Frames of any source, one after the other, at the processing size; or as one array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from samotion.clips.sizes import allocate, check_size, resized, scaled_hw


class Frame(NamedTuple):
    """One frame: its number in the source, time in s (NaN: none), and RGB (H,W,3) uint8,
    upright.
    """

    number: int
    time_s: float
    rgb: np.ndarray


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

    def __iter__(self) -> Iterator[np.ndarray]:
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


class Collected:
    """All frames as one array (T,H,W,3), made for `count` and enlarged where more come."""

    def __init__(self, scaled: Scaled, count: int, where: str) -> None:
        self._scaled, self._count, self._where = scaled, count, where
        self._held: np.ndarray = np.empty((0, 0, 0, 3), np.uint8)
        self.done = 0

    @property
    def frames(self) -> np.ndarray:
        """Those that have come."""
        return self._held[: self.done]

    def parts(self, size: int) -> Iterator[np.ndarray]:
        """Read all; `size` frames as soon as they are there, the last ones fewer."""
        given = 0
        for frame in self._scaled:
            self._add(frame)
            if self.done - given == size:
                yield self.frames[given:]
                given = self.done
        if self.done > given:
            yield self.frames[given:]

    def _add(self, frame: np.ndarray) -> None:
        if not self.done:
            self._held = allocate(self._count, (frame.shape[0], frame.shape[1]), self._where)
        elif self.done == len(self._held):
            self._held = _enlarged(self._held, self._where)
        self._held[self.done] = frame
        self.done += 1


def _enlarged(frames: np.ndarray, where: str) -> np.ndarray:
    """The same frames with room for a quarter more."""
    larger = allocate(len(frames) + len(frames) // 4 + 1, frames.shape[1:3], where)
    larger[: len(frames)] = frames
    return larger
