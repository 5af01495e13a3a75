"""The tracker's feature grids of frames, which stay where the engines compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.squares import LANCZOS, Squares
from samotion.backends.threads import ahead, mapped
from samotion.checks.stages import StageProgress
from samotion.contract import TRACKER_PX
from samotion.tracks.queries import resize_for_tracking

Grids = dict[str, Any]  # of some frames, by the engine's names

FEATURE_FRAMES = 8  # frames whose features are computed at once
LARGE_FEATURE_FRAMES = 2  # as many px as FEATURE_FRAMES
LARGEST_TRACKED_PX = 2048  # of a frame's sides, to be resized by a GPU
Resize = Callable[..., Any]  # frames (T,H,W,3) and a size in px: squares


@dataclass
class FrameCache:
    """Features of `frames` (T,256,256,3) uint8 that calls of `track` share; kept for clips of
    one window.
    """

    frames: Any  # or what gives rows of them, `ResizedFrames`
    grids: Grids = field(default_factory=dict)


def resizing(engines: Engines) -> Resize:
    """`resize_for_tracking`; on a GPU that can it answers there, with Pillow's own numbers."""
    squares = cache(lambda size_px: Squares(engines, size_px, LANCZOS, LARGEST_TRACKED_PX))

    def resize(frames: np.ndarray, size_px: int = TRACKER_PX) -> Any:
        hw = frames.shape[1], frames.shape[2]
        if hw != (size_px, size_px) and squares(size_px).takes(hw):
            return squares(size_px)(frames)
        return resize_for_tracking(frames, size_px)

    return resize


class ResizedFrames:
    """Frames (T,H,W,3) uint8 as the tracker takes them, made when rows are asked for."""

    def __init__(
        self, frames: np.ndarray, size_px: int = TRACKER_PX, resize: Resize = resize_for_tracking
    ) -> None:
        self._frames, self._size_px, self._resize = frames, size_px, resize
        self.shape = (len(frames), size_px, size_px, 3)
        self.ndim, self.dtype = 4, frames.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        return self._resize(self._frames[rows], self._size_px)


def features_of(
    engines: Engines, engine: str, frames: np.ndarray | ResizedFrames, window: slice, at_once: int
) -> Grids:
    """The feature grids of a window's frames, `at_once` frames in a call."""
    starts = range(window.start, window.stop, at_once)
    pictures = (frames[start : min(start + at_once, window.stop)] for start in starts)
    pictures_ahead = ahead(pictures, on_a_thread=resident.is_on_gpu(engines))
    return _computed(engines, engine, pictures_ahead, window.stop - window.start)


def features_while_read(
    engines: Engines, parts: Iterable[np.ndarray], count: int, progress: StageProgress | None = None
) -> Grids:
    """The feature grids of frames (T,H,W,3) that come in parts of FEATURE_FRAMES, `count` in all.
    Parts are read and made ready on threads of their own. Empty where more frames come.
    """
    pictures = map(resizing(engines), ahead(parts, on_a_thread=True))
    pictures_ahead = ahead(pictures, on_a_thread=True)
    return _computed(engines, "tracks_features", pictures_ahead, count, progress)


def _computed(
    engines: Engines,
    engine: str,
    parts: Iterable[np.ndarray],
    count: int,
    progress: StageProgress | None = None,
) -> Grids:
    """The grids of frames as the tracker takes them, written into one array each."""
    on_cpu = not resident.is_on_gpu(engines)
    answers = mapped(lambda part: resident.call(engines, engine, frames=part), parts, on_cpu)
    grids: Grids = {}
    done = 0
    for answer in answers:
        first = done
        done += next(iter(answer.arrays.values())).shape[0]
        if progress:
            progress(done, max(done, count))
        for name, grid in answer.arrays.items() if done <= count else ():
            if name not in grids:
                grids[name] = resident.empty(engines, (count, *grid.shape[1:]), grid.dtype)
            grids[name][first:done] = grid
    return {name: grid[:done] for name, grid in grids.items()} if done <= count else {}
