"""Coarse masks of one object from all that is known: its tracks' votes, the motion map, and what it looks like."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from samotion import looks
from samotion.coarse import LOGIT_MAX, coarse_mask
from samotion.guide import Guides
from samotion.motion_map import WORKERS, MotionMaps
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
VOTES = 0.5  # of the tracks' logits beside the motion map's; alone they count in full
LOOK_LOGITS = 7.0  # what a look is worth: 4 to 8 are within 0.01 of J


@dataclass(frozen=True)
class Sides:
    """Whose each track is, all (N,) bool: the object's own, other objects', or nobody knows."""

    own: Array
    rival: Array
    unsure: Array


def coarse_masks(
    tracks: Tracks, sides: Sides, frames: list[int], guides: Guides, maps: MotionMaps | None
) -> dict[int, Array]:
    """Logits (H,W) float32 in [-6,6] in each of `frames`, positive on the object."""
    shown = [None if maps is None else maps[t] for t in frames]
    with ThreadPoolExecutor(WORKERS) as pool:
        evidence = list(pool.map(lambda t, motion: _evidence(tracks, sides, t, guides, motion), frames, shown))
        points = list(pool.map(guides.points, frames))
        look = looks.learn(points, evidence)
        if look is not None:
            evidence = list(pool.map(lambda logits, x: logits + LOOK_LOGITS * look(x), evidence, points))
        return dict(zip(frames, pool.map(lambda logits: enlarged(logits, guides.hw), evidence)))


def _evidence(tracks: Tracks, sides: Sides, t: int, guides: Guides, motion: Array | None) -> Array:
    """What tracks and the motion map (MH,MW) of frame t say there, logits (GH,GW)."""
    guide = guides[t]
    hw = guide.shape[:2]
    cells = tracks.xy[:, t] * (np.array(hw[::-1]) / guides.hw[::-1]).astype(np.float32)
    known = tracks.visible[:, t] & (sides.own | ~sides.unsure)
    votes = coarse_mask(cells[known], sides.own[known], hw, guide)
    if motion is None:
        return votes
    moving = cv2.resize(motion, hw[::-1], interpolation=cv2.INTER_LINEAR)
    if (sides.rival & known).any():  # the map does not tell objects apart: each has what is nearer to its tracks
        movers = known & (sides.own | sides.rival)
        moving = np.minimum(moving, coarse_mask(cells[movers], sides.own[movers], hw))
    return np.asarray(VOTES * votes + moving)


def enlarged(logits: Array, hw: tuple[int, int]) -> Array:
    """Logits (GH,GW) as a coarse mask (H,W) in [-6,6]."""
    large = cv2.resize(logits.astype(np.float32), hw[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large.clip(-LOGIT_MAX, LOGIT_MAX))
