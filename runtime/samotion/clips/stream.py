"""A clip as a stream: read from its first frame on as often as needed, without holding it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from samotion.checks.arguments import frames_of
from samotion.checks.stages import StageProgress
from samotion.clips import sizes
from samotion.clips.collect import Collected, Frame, Scaled
from samotion.clips.part import WHOLE, WHOLE_FILE, Part, Span, chosen
from samotion.clips.survey import Facts
from samotion.errors import InputError, UsageError

HEAD_BYTES = 1 << 16
# when each frame shows (T,) in s, and a line for each thing that may surprise
Ended = tuple[np.ndarray, list[str]]


@dataclass(frozen=True)
class VideoFile:
    """A video file as it was when it was read; `head`: as of `head_of`; `span`: what was read."""

    size_bytes: int
    head: bytes
    facts: Facts
    span: Span = WHOLE_FILE


@dataclass(frozen=True, eq=False)
class Clip:
    """What was read. `frames` (T,H,W,3) uint8 RGB, scaled to the processing size, upright.

    `source_hw`: upright size in the source, px; `indices` (T,) int64: frame numbers in the source,
    from 0; `timestamps_s` (T,) float64: when each frame shows, increasing; `fps`: of the source;
    `path` None: from an array; `warnings`: a line for each thing that was left out, repaired or
    may surprise; `frame_names`: of a folder, the file name of each frame read, aligned with
    `indices`; else None; `file`: the video file. Of a file or folder of several windows `frames`
    are `Frames`, which hold none; `np.asarray(frames)` is an array of any.
    """

    frames: np.ndarray | Frames
    source_hw: tuple[int, int]
    indices: np.ndarray
    timestamps_s: np.ndarray
    fps: float
    name: str
    path: str | None
    warnings: tuple[str, ...] = ()
    frame_names: tuple[str, ...] | None = None
    file: VideoFile | None = None


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
    file: VideoFile | None = None

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

    def clip(self, frames: np.ndarray | Frames, reading: Reading) -> Clip:
        """The clip of a pass that has come to its end."""
        times_s, warnings = reading.end(reading.scaled)
        height, width = frames.shape[1:3]
        if min(height, width) < sizes.MIN_SIDE_PX:
            warnings.append(
                f"frames are worked on at {width}x{height} px, which is too small to find anything;"
                f" expected {sizes.MIN_SIDE_PX} px or more"
            )
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
            self.file,
        )


def fitted(clip: Clip, max_frames: int | None, long_side_px: int, part: Part = WHOLE) -> Clip:
    """A part of a clip that has been read, with at most `max_frames` frames (every k-th) of at most
    that size.

    Raises UsageError and InputError for a clip whose parts are no clip.
    """
    count = len(clip.frames)
    if not isinstance(clip.frames, Frames):
        frames_of(clip.frames)
    beside = clip.indices, clip.timestamps_s, clip.frame_names or clip.indices
    if lengths := [len(one) for one in beside if len(one) != count]:
        raise UsageError(f"the clip has {count} frames, and {lengths[0]} numbers, times or names")
    sizes.check_count(count, "the clip")
    sizes.check_size(clip.source_hw, "the clip")
    kept, warnings = chosen(clip.timestamps_s, part, max_frames, "the clip")
    hw = clip.frames.shape[1], clip.frames.shape[2]
    to_hw = sizes.scaled_hw(hw, long_side_px)
    if len(kept) == count and to_hw == hw:
        return clip
    frames = sizes.allocate(len(kept), to_hw, "the clip")
    for number, frame in enumerate(clip.frames):
        if number in kept:
            frames[kept.index(number)] = sizes.resized(frame, to_hw)
    rows = slice(kept.start, kept.stop, kept.step)
    return replace(
        clip,
        frames=frames,
        indices=clip.indices[rows],
        timestamps_s=clip.timestamps_s[rows],
        frame_names=clip.frame_names and clip.frame_names[rows],
        warnings=(*clip.warnings, *warnings),
    )


def check_unchanged(path: str | None, file: VideoFile | None) -> None:
    """Raise InputError for a video file that is shorter than when it was read, or begins otherwise;
    one that only grew at its end will do.
    """
    if path is None or file is None:
        return
    try:
        is_cut = os.stat(path).st_size < file.size_bytes
        is_other = is_cut or head_of(path, file.size_bytes) != file.head
    except OSError:
        return  # reading it will tell
    if is_other:
        raise InputError(f"{path!r} was changed or cut since it was read first")


def head_of(path: str | os.PathLike[str], size_bytes: int) -> bytes:
    """A digest of how a file begins that had a size once, by which it is known again."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(min(HEAD_BYTES, size_bytes))).digest()


def check_read(where: str | None, count: int, wanted: int) -> None:
    """Raise InputError for a source that has fewer frames than when it was read."""
    if count < wanted:
        raise InputError(
            f"{where!r} has {count} of {wanted} frames now; it was changed during the run"
        )


def stream_of(clip: Clip) -> Stream:
    """A clip that has been read as a stream of its frames."""
    return Stream(
        clip.name,
        clip.path,
        clip.fps,
        len(clip.frames),
        clip.name,
        partial(_read_again, clip),
        clip.frame_names,
        clip.file,
    )


def _read_again(clip: Clip) -> Reading:
    rows = zip(clip.indices.tolist(), clip.timestamps_s.tolist(), clip.frames)
    pictures = (Frame(*row) for row in rows)
    return Reading(Scaled(pictures, None, clip.name), lambda scaled: (clip.timestamps_s, []))


class Frames:
    """The frames (T,H,W,3) uint8 of a long clip, which are not held: they are read anew whenever
    one goes through them, one at a time. Raises InputError where the source has changed.

    They have `shape`, `len`, single frames and slices, as arrays do; `np.asarray` holds them all
    as one. Single frames by number are quick in their order, and need a new pass through the clip
    else. Threads may ask for them.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, stream: Stream, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape
        self._stream = stream
        self._pass: Iterator[np.ndarray] = iter(())
        self._next = 0  # of the pass; 0: there is none
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or one in another process, begins a pass of its own."""
        return Frames, (self._stream, self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of them, in memory. Raises InputError where that is too much."""
        if copy is False:
            raise ValueError("frames of a long clip are not held; they become an array by a copy")
        held = sizes.allocate(len(self), self.shape[1:3], self._stream.where)
        for room, frame in zip(held, self):
            room[:] = frame
        return held if dtype is None else held.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return _frames(self._stream, self.shape)

    def __getitem__(self, number: int | slice) -> np.ndarray:
        if isinstance(number, slice):
            wanted = range(len(self))[number]
            return np.array([self[k] for k in wanted], np.uint8).reshape(-1, *self.shape[1:])
        with self._lock:
            return self._read(range(len(self))[number])

    def _read(self, number: int) -> np.ndarray:
        """One frame; a pass that breaks off is begun anew by the next call."""
        ahead, self._next = number - self._next, 0
        if ahead < 0 or ahead == number:
            self._pass, ahead = iter(self), number
        for _ in range(ahead):
            next(self._pass)
        frame = next(self._pass)
        self._next = number + 1
        return frame


def _frames(stream: Stream, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """A pass through the frames (T,H,W,3) of a stream. No method of `Frames`, which hold one: they
    would keep themselves in memory, and the file open.
    """
    check_unchanged(stream.path, stream.file)
    count = 0
    for frame in stream.open().scaled:
        if count == shape[0]:
            return
        if frame.shape != shape[1:]:
            height, width = frame.shape[:2]
            raise InputError(f"{stream.where}: frames are {width}x{height} now")
        count += 1
        yield frame
    check_read(stream.path, count, shape[0])
