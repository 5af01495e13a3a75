"""What every loader gives, and how it becomes a clip of the pool."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from samotion import geometry
from samotion_bench.scenes.render import Clip, TruthTracks

from samotion_training.samples import DEPTH_EVERY, Sample, seen_disparity

LEAST_FRAMES = 8  # of a window: shorter rests of a sequence are left out


class Recording(NamedTuple):
    """A window of a sequence at its own size. What the dataset does not know has length 0, so that
    a command that needs it fails instead of learning from something made up: `clip.disparity`,
    `clip.labels`, `clip.moving` (T or instances), and the N of `tracks`.
    """

    clip: Clip
    tracks: TruthTracks


class Source(NamedTuple):
    """A window that can be read: its name, and the reading."""

    name: str
    read: Callable[[], Recording]


def windows(count: int, frames: int) -> Iterator[slice]:
    """`count` frames cut into windows of `frames`; a rest of at least LEAST_FRAMES is one too."""
    for start in range(0, count, frames):
        if min(frames, count - start) >= min(LEAST_FRAMES, frames):
            yield slice(start, min(start + frames, count))


def random_of(name: str) -> np.random.Generator:
    """The generator of a window: the same whenever it is converted."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def no_tracks(frames: int) -> TruthTracks:
    """For a dataset that has none."""
    return TruthTracks(
        np.zeros((0, frames, 2), np.float32),
        np.zeros((0, frames), bool),
        np.zeros(0, int),
        np.zeros(0, bool),
    )


def to_sample(recording: Recording, size_px: int) -> Sample:
    """A clip of the pool: squeezed to a square of `size_px`, its points with it."""
    clip, tracks = recording
    height, width = clip.frames.shape[1:3]
    size = (size_px, size_px)
    seen = (
        seen_disparity(clip, tracks.xy) if len(clip.disparity) else np.zeros(tracks.visible.shape)
    )
    return Sample(
        frames=_resized(clip.frames, size, cv2.INTER_AREA),
        disparity=_resized(clip.disparity[::DEPTH_EVERY], size, cv2.INTER_NEAREST_EXACT).astype(
            np.float16
        ),
        labels=_resized(clip.labels, size, cv2.INTER_NEAREST_EXACT),
        instance_moving=clip.moving,
        xy=geometry.resized_xy(tracks.xy, (height, width), size).astype(np.float32),
        visible=tracks.visible,
        instance=tracks.instance.astype(np.int16),
        point_disparity=seen.astype(np.float16),
        aspect=np.array(width / height, np.float32),
    )


def _resized(pictures: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    if not len(pictures):
        return np.zeros((0, *size[::-1], *pictures.shape[3:]), pictures.dtype)
    return np.stack([cv2.resize(p, size, interpolation=how) for p in pictures])


def knows(sample: Sample) -> str:
    """The parts of the pool's clip that a dataset gave, in words for its user."""
    parts = {
        "tracks": len(sample.xy),
        "depth": len(sample.disparity),
        "masks": len(sample.labels),
        "what moves": len(sample.instance_moving),
    }
    return "frames, " + ", ".join(name for name, count in parts.items() if count)
