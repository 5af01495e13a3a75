"""A result without any net: four frames, two objects, and what its folder holds once it is
written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from samotion.clips import video
from samotion.pipeline import ObjectResult, Result
from samotion.presets import NANO
from samotion.settings import Settings, resolve
from samotion.tracks.records import Tracks

SIZE_HW, SOURCE_HW = (30, 41), (60, 82)  # an odd width, and a source twice as large
NUMBERS, TIMES_S = (0, 3, 6, 9), (0.5, 0.62, 1.1, 1.18)


def make_result(
    name: str = "walk", objects: int = 2, source_hw: tuple[int, int] = SOURCE_HW
) -> Result:
    """A clip of four frames: object 1 moves right, object 2 is there in the middle two frames
    only.
    """
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(60, 200, (1, *SIZE_HW, 1), np.uint8), 4, 0).repeat(3, -1)
    labels = np.zeros((4, *SIZE_HW), np.uint8)
    for t in range(4 if objects else 0):
        labels[t, 4:12, 2 + 5 * t : 12 + 5 * t] = 1
    labels[1:3, 20:28, 30:40] = 2 if objects > 1 else 0
    clip = video.Clip(
        cv2.blur(frames[0], (5, 5))[None].repeat(4, 0),
        source_hw,
        np.array(NUMBERS),
        np.array(TIMES_S),
        10.0,
        name,
        None,
    )
    xy = rng.uniform(0, 29, (5, 4, 2)).astype(np.float32)
    tracks = Tracks(
        xy=xy,
        visible=rng.random((5, 4)) > 0.3,
        visibility=rng.random((5, 4), np.float32),
        confidence=rng.random((5, 4), np.float32),
        query_frame=np.zeros(5, np.int64),
        query_xy=xy[:, 0],
    )
    found = [ObjectResult(k + 1, 0.9 - k / 10, 0.95 - k / 10) for k in range(objects)]
    scores = rng.random(5, np.float32)
    return Result(
        labels,
        found,
        tracks,
        scores,
        {"tracks": 12.5},
        clip,
        resolve(Settings(seed=7), NANO),
        ["a warning"],
        confidence=0.97,
    )


def without_objects(
    source: Path, start_s: float | None = None, end_s: float | None = None
) -> Result:
    """Of a clip, or a part of it, that is read, in which nothing moves."""
    clip = video.read_clip(source, start_s=start_s, end_s=end_s)
    labels = np.zeros(clip.frames.shape[:3], np.uint8)
    return replace(make_result(objects=0), clip=clip, labels=labels, warnings=[])


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


CLIP_FILES = {f"walk/masks/{n:05d}.png" for n in NUMBERS} | {
    "walk/overlay.mp4",
    "walk/objects.json",
    "walk/tracks.npz",
    "walk/report.html",
    "walk/run.json",
}
