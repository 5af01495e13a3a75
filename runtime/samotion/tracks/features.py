"""The tracker's feature grids of frames, which stay where the engines compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.threads import ahead, mapped
from samotion.checks.stages import StageProgress
from samotion.tracks.queries import ResizedFrames, resize_for_tracking

Array = np.ndarray[Any, Any]
Grids = dict[str, Any]  # of some frames, by the engine's names

FEATURE_FRAMES = 8  # frames whose features are computed at once
LARGE_FEATURE_FRAMES = 2  # as many px as FEATURE_FRAMES


@dataclass
class FrameCache:
    """Features of `frames` (T,256,256,3) uint8 that calls of `track` share; kept for clips of
    one window.
    """

    frames: Any  # or what gives rows of them, `ResizedFrames`
    grids: Grids = field(default_factory=dict)


def features_of(
    engines: Engines, engine: str, frames: Array | ResizedFrames, window: slice, at_once: int
) -> Grids:
    """The feature grids of a window's frames, `at_once` frames in a call."""
    starts = range(window.start, window.stop, at_once)
    pictures = (frames[start : min(start + at_once, window.stop)] for start in starts)
    pictures_ahead = ahead(pictures, on_a_thread=resident.is_on_gpu(engines))
    return _computed(engines, engine, pictures_ahead, window.stop - window.start)


def features_while_read(
    engines: Engines, parts: Iterable[Array], count: int, progress: StageProgress | None = None
) -> Grids:
    """The feature grids of frames (T,H,W,3) that come in parts of FEATURE_FRAMES, `count` in all.
    Parts are read and made ready on threads of their own. Empty where more frames come.
    """
    pictures = (resize_for_tracking(part) for part in ahead(parts, on_a_thread=True))
    pictures_ahead = ahead(pictures, on_a_thread=True)
    return _computed(engines, "tracks_features", pictures_ahead, count, progress)


def _computed(
    engines: Engines,
    engine: str,
    parts: Iterable[Array],
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
