"""Whether what a track shows really moves with it, or only looks as if it did.

Optical flow spreads from an object over smooth ground beside it, and tracks there go along. What they show tells: if
the ground around carried it, it would be found again where the ground went; what moves by itself would not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
LONG_SIDE_PX = 512
BLUR_PX = 0.8
PATCH_PX = 7
REACHES = (2, 4, 8)  # frames from one look to the other
EVERY = 2  # frames between looks
NEIGHBOURS = 12  # nearest still tracks, whose median motion is the ground's
MIN_MOVE_PX = 3.0  # a track must leave the ground by this much for a look to tell anything
CANDIDATE = 0.3  # tracks of lower scores do not move anyway
STILL = 0.5
NEUTRAL = 0.3  # log ratio of differences that says nothing: halos are about 0.1, objects 0.9 (medians)
MOST = 2.0  # log ratios beyond are as good as this


def weigh(scores: Array, tracks: Tracks, frames: Array, weight: float) -> Array:
    """Motion scores (N,) with what `frames` (T,H,W,3) uint8 RGB show taken into account.

    `weight` is what a log ratio of 1 adds to the logit of a score; 0 leaves the scores as they are. Tracks of which
    nothing can be told keep their scores.
    """
    candidates = np.flatnonzero(scores > CANDIDATE)
    if weight == 0 or not len(candidates):
        return scores
    ratio = log_ratios(tracks, frames, candidates, scores < STILL)
    told = np.isfinite(ratio)
    logits = _logit(scores[candidates[told]].astype(np.float64))
    weighed = scores.copy()
    weighed[candidates[told]] = _sigmoid(logits + weight * (ratio[told].clip(-MOST, MOST) - NEUTRAL))
    return weighed


def log_ratios(tracks: Tracks, frames: Array, candidates: Array, still: Array) -> Array:
    """For tracks `candidates` (M,), how much worse the ground's motion explains what they show than their own: (M,).

    The median over looks of log((1 + difference along the ground) / (1 + difference along the track)), differences in
    grey levels; NaN where no look tells anything. `still` (N,) bool are the tracks of the ground.
    """
    count = len(frames)
    scale = LONG_SIDE_PX / max(frames.shape[1:3])
    xy = tracks.xy * np.float32(scale)
    shown = lru_cache(maxsize=2 * max(REACHES) + 2)(lambda t: _small(frames[t], scale))
    looks = []
    for t in range(0, count, EVERY):
        for reach in REACHES:
            sides = [_look(shown, xy, tracks.visible, candidates, still, t, u) for u in (t + reach, t - reach)]
            looks.append(_better(*sides))
    ratio = np.full(len(candidates), np.nan)
    values = np.stack(looks, axis=1)
    told = np.isfinite(values).any(axis=1)
    ratio[told] = np.nanmedian(values[told], axis=1)
    return ratio


def _better(after: tuple[Array, Array], before: tuple[Array, Array]) -> Array:
    """Log ratios (M,) on the side in time on which the ground explains more: it is uncovered on one, if at all."""
    along_ground, along_track = (np.where(after[0] <= before[0], *pair) for pair in zip(after, before))
    with np.errstate(invalid="ignore"):
        ratio: Array = np.log((1 + along_ground) / (1 + along_track))
    return ratio


def _look(
    shown: Callable[[int], Array], xy: Array, visible: Array, candidates: Array, still: Array, t: int, u: int
) -> tuple[Array, Array]:
    """Mean differences (M,) between a patch at frame t and those at frame u, along the ground and along the track.

    Infinite, both, where nothing can be told.
    """
    found = np.full((2, len(candidates)), np.inf)
    if not 0 <= u < visible.shape[1]:
        return found[0], found[1]
    here = np.flatnonzero(visible[candidates, t] & visible[candidates, u])
    ground = np.flatnonzero(still & visible[:, t] & visible[:, u])
    if len(ground) < NEIGHBOURS or not len(here):
        return found[0], found[1]
    start, end = xy[candidates[here], t], xy[candidates[here], u]
    carried = start + _ground_motion(start, xy[ground, t], xy[ground, u])
    apart = np.linalg.norm(end - carried, axis=1) > MIN_MOVE_PX
    here, start, end, carried = here[apart], start[apart], end[apart], carried[apart]
    if len(here):
        first = _patches(shown(t), start)
        for row, place in zip(found, (carried, end)):
            row[here] = np.abs(_patches(shown(u), place) - first).mean(axis=(1, 2))
    return found[0], found[1]


def _ground_motion(xy: Array, start: Array, end: Array) -> Array:
    """The median motion of the nearest of points that went from `start` to `end` (G,2), for each of xy (n,2)."""
    distance = ((xy[:, None] - start[None]) ** 2).sum(axis=-1)
    nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    motion: Array = np.median((end - start)[nearest], axis=1)
    return motion


def _patches(image: Array, xy: Array) -> Array:
    """What image (h,w,3) shows around points (n,2): (n, PATCH_PX^2, 3) float32; its border goes on outside."""
    reach = np.arange(PATCH_PX, dtype=np.float32) - PATCH_PX // 2
    offsets = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    places = np.ascontiguousarray((xy[:, None] + offsets).transpose(2, 0, 1), np.float32)
    found: Array = cv2.remap(image, places[0], places[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found


def _small(frame: Array, scale: float) -> Array:
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return cv2.GaussianBlur(small, (0, 0), BLUR_PX).astype(np.float32)


def _logit(score: Array) -> Array:
    clipped = score.clip(1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _sigmoid(logit: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logit)))
