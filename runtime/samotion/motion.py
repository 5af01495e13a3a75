"""Motion: how likely each track belongs to an object that moves by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np

from samotion import depth, dino, geometry
from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.resident import Answer
from samotion.backends.threads import aside
from samotion.checks.stages import StageProgress, Stages
from samotion.tracks.records import Tracks

Keep = Callable[[int, np.ndarray], None]  # a frame, its map (H,W) in [0,1]

ANSWERS_WAITING = 2  # of a GPU, some frames each, to be looked up in


def score(
    engines: Engines,
    *,
    xy_px: np.ndarray,
    hw: tuple[int, int],
    visible: np.ndarray,
    visibility: np.ndarray,
    confidence: np.ndarray,
    disparity: np.ndarray,
    dino: np.ndarray,
) -> np.ndarray:
    """Scores (N,) float32 in [0,1]: the published method's of all tracks at once, nano's in parts
    of every n-th track, so that each part is spread over picture and clip.

    xy_px (N,T,2) px of a frame of size `hw`; visible bool, visibility, confidence, disparity (N,T);
    dino (N,C).
    """
    inputs = {
        "xy": geometry.motion_unit_xy(xy_px, hw),
        "visible": visible.astype(np.uint8),
        "visibility": visibility,
        "confidence": confidence,
        "disparity": disparity,
        "dino": dino,
    }
    count, cues = len(xy_px), engines.preset.cues
    parts = math.ceil(count / (cues.tracks_at_once if cues else max(1, count)))
    scores = np.zeros(count, np.float32)
    for first in range(parts):
        part = {name: value[first::parts] for name, value in inputs.items()}
        scores[first::parts] = engines["motion"](**part)["score"]
    return scores


def score_tracks(
    engines: Engines,
    hw: tuple[int, int],
    tracks: Tracks,
    disparity: np.ndarray,
    features: np.ndarray,
) -> np.ndarray:
    """`score` of tracks in frames of size `hw`, with the disparity (N,T) and the features (N,C)
    under them.
    """
    return score(
        engines,
        xy_px=tracks.xy,
        hw=hw,
        visible=tracks.visible,
        visibility=tracks.visibility,
        confidence=tracks.confidence,
        disparity=disparity,
        dino=features,
    )


def inputs_under(
    engines: Engines,
    frames: np.ndarray,
    tracks: Tracks,
    stages: Stages,
    keep: Keep,
    kept_frames: Collection[int],
) -> tuple[np.ndarray, np.ndarray]:
    """What `score_tracks` takes of `frames` (T,H,W,3) uint8, stages "depth" and "dino": disparity
    (N,T) and features (N,C) under every track. `keep` and `kept_frames`: as of `disparity_under`.
    """
    with stages("depth") as step:
        disparity = disparity_under(engines, frames, tracks, step, keep, kept_frames)
    with stages("dino") as step:
        return disparity, dino.under_tracks(engines, frames, tracks, step)


def disparity_under(
    engines: Engines,
    frames: np.ndarray,
    tracks: Tracks,
    progress: StageProgress | None = None,
    keep: Keep | None = None,
    kept_frames: Collection[int] = (),
) -> np.ndarray:
    """Disparity under every track in every frame (N,T) of `frames` (T,H,W,3) uint8. `keep` is
    given each of `kept_frames`, and its map.

    The preset's `motion.disparity` is "reference", which repeats both quirks that the published
    weights were trained with, or "plain", which looks where the points are.
    """
    hw, mode = (frames.shape[1], frames.shape[2]), engines.preset.motion.disparity
    found = np.empty(tracks.xy.shape[:2], np.float32)

    def look(start: int, answer: Answer) -> None:
        for t, disparity in enumerate(answer.get()["disparity"], start):
            of_frame = depth.resize(disparity, hw)
            if keep and t in kept_frames:
                keep(t, depth.to_unit_range(of_frame))
            found[:, t] = _disparity_of(of_frame, tracks.xy[:, t], hw, mode)

    start = 0
    with aside(resident.is_on_gpu(engines), ANSWERS_WAITING) as do:
        for answer in depth.started(engines, frames):
            if progress:
                progress(start, len(frames))
            do(look, start, answer)
            start += answer.arrays["disparity"].shape[0]
    return found


def _disparity_of(
    disparity: np.ndarray, xy_px: np.ndarray, hw: tuple[int, int], mode: str
) -> np.ndarray:
    """Of one raw map (H,W) under points (N,2). Of quirk A only points are rescaled and saturated:
    a map that spans [0,1] does so still when it is saturated.
    """
    if mode == "plain":
        return lookup(depth.to_unit_range(disparity)[None], xy_px[:, None], hw)[:, 0]
    height, width = disparity.shape
    values = disparity.reshape(-1)[geometry.misplaced_index(xy_px, hw, (height, width))]
    low, high = (extreme.reshape(1) for extreme in depth.extremes(disparity))
    return saturated(depth.rescale(values, low, high))


def saturated(disparity: np.ndarray) -> np.ndarray:
    """Quirk A: disparity through a 16-bit image, which cuts fractions off, read back clipped at
    255; so 1 but in the farthest 0.4 %.
    """
    stored = np.floor(65535 * disparity)
    clipped: np.ndarray = np.minimum(stored, 255).astype(np.float32) / 255
    return clipped


def lookup(disparity: np.ndarray, xy_px: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Bilinear lookup, borders repeated; maps may differ from `hw` in size."""
    frames, height, width = disparity.shape
    xy = geometry.resized_xy(xy_px.astype(np.float64), hw, (height, width))
    x = xy[..., 0].clip(0, width - 1)
    y = xy[..., 1].clip(0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    t = np.arange(frames)
    above = disparity[t, top, left] * (1 - across) + disparity[t, top, right] * across
    below = disparity[t, bottom, left] * (1 - across) + disparity[t, bottom, right] * across
    values: np.ndarray = above * (1 - down) + below * down
    return values
