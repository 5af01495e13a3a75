"""A segmenter without nets, for the commands."""

from __future__ import annotations

import numpy as np
from samotion.backends.engines import Engines
from samotion.clips import video
from samotion.pipeline import ObjectResult, Progress, Result
from samotion.settings import Settings, resolve
from samotion.tracks import Tracks


def half_segmenter(clip: str, engines: Engines, settings: Settings, progress: Progress) -> Result:
    """In place of the nets: reads the clip as they would; what is bright is object 1."""
    numbers = resolve(settings, engines.preset)
    read = video.read_clip(
        clip,
        max_frames=numbers.max_frames,
        long_side_px=numbers.long_side_px,
        start_s=numbers.start_s,
        end_s=numbers.end_s,
    )
    for done in range(3):
        progress("tracks", done, 2)
    labels = (read.frames.max(-1) > 128).astype(np.uint8)
    moving = bool(labels.any())
    points = np.zeros((1, len(labels)), np.float32)
    tracks = Tracks(
        np.zeros((1, len(labels), 2)),
        points > 0,
        points,
        points,
        np.zeros(1, int),
        np.zeros((1, 2)),
    )
    found = [ObjectResult(1, 0.75, 0.875)] if moving else []
    warnings = [
        *read.warnings,
        *([] if moving else ["nothing moves in this clip: all masks are empty"]),
    ]
    return Result(labels, found, tracks, np.array([0.5]), {"tracks": 1.0}, read, numbers, warnings)
