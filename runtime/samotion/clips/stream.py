"""A clip as a stream: read from its first frame on as often as needed, without holding it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from samotion.checks.stages import StageProgress
from samotion.clips.collect import Collected, Frame, Scaled

Array = np.ndarray[Any, Any]
# when each frame shows (T,) in s, and a line for each thing that may surprise
Ended = tuple[Array, list[str]]


@dataclass(frozen=True, eq=False)
class Clip:
    """What was read. `frames` (T,H,W,3) uint8 RGB, scaled to the processing size, upright.

    `source_hw`: upright size in the source, px; `indices` (T,) int64: frame numbers in the source,
    from 0; `timestamps_s` (T,) float64: when each frame shows, increasing; `fps`: of the source;
    `path` None: from an array; `warnings`: a line for each thing that was left out, repaired or
    may surprise; `frame_names`: of a folder, the file name of each frame read, aligned with
    `indices`; else None. Of a clip of several windows `frames` are `Frames`, which hold none.
    """

    frames: Array
    source_hw: tuple[int, int]
    indices: Array
    timestamps_s: Array
    fps: float
    name: str
    path: str | None
    warnings: tuple[str, ...] = ()
    frame_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """One pass through a stream: its frames, and `end` to be called when all have been read."""

    scaled: Scaled
    end: Callable[[Scaled], Ended]


@dataclass(frozen=True, eq=False)
class Stream:
    """A clip before it is read.

    `count`: how many frames are to come, by what the source tells without decoding; `where`: how
    errors name the source; `open` starts a pass through it. Other fields as of `Clip`.
    """

    name: str
    path: str | None
    fps: float
    count: int
    where: str
    open: Callable[[], Reading]
    frame_names: tuple[str, ...] | None = None

    def read(self, progress: StageProgress | None = None) -> Clip:
        """The whole clip. Raises InputError for what cannot be read, or is too large to be held."""
        reading = self.open()
        collected = self.collect(reading)
        for _ in collected.parts(1):
            if progress:
                progress(collected.done, max(collected.done, self.count))
        return self.clip(collected.frames, reading)

    def collect(self, reading: Reading) -> Collected:
        """What holds the frames of a pass as they come, for `clip` when all have."""
        return Collected(reading.scaled, self.count, self.where)

    def clip(self, frames: Array, reading: Reading) -> Clip:
        """The clip of a pass that has come to its end."""
        times_s, warnings = reading.end(reading.scaled)
        return Clip(
            frames,
            reading.scaled.source_hw,
            np.array(reading.scaled.numbers, np.int64),
            times_s,
            self.fps,
            self.name,
            self.path,
            tuple(warnings),
            self.frame_names,
        )


def stream_of(clip: Clip) -> Stream:
    """A clip that has been read as a stream of its frames."""

    def read() -> Reading:
        rows = zip(clip.indices.tolist(), clip.timestamps_s.tolist(), clip.frames)
        pictures = (Frame(*row) for row in rows)
        return Reading(Scaled(pictures, None, clip.name), lambda scaled: (clip.timestamps_s, []))

    count, names = len(clip.frames), clip.frame_names
    return Stream(clip.name, clip.path, clip.fps, count, clip.name, read, names)


class Frames:
    """The frames of a long clip where an array (T,H,W,3) uint8 is expected: they are read anew
    whenever one goes through them, one at a time.

    Single frames by number are quick in their order, and need a new pass through the clip else.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, stream: Stream, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        self._stream = stream
        self._pass: Iterator[Array] = iter(())
        self._next = 0

    def as_array(self) -> Array:
        """Itself, for all that is typed for arrays and goes through frames one by one."""
        return cast(Array, self)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        return iter(self._stream.open().scaled)

    def __getitem__(self, number: int | slice) -> Array:
        if isinstance(number, slice):
            wanted = range(len(self))[number]
            return np.array([self[k] for k in wanted], np.uint8).reshape(-1, *self.shape[1:])
        number = range(len(self))[number]
        if number < self._next or not self._next:
            self._pass, self._next = iter(self), 0
        while self._next < number:
            next(self._pass)
            self._next += 1
        self._next += 1
        return next(self._pass)
