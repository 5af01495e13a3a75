"""Which sets of tracks are things that move by themselves: log odds from what the tracks of a set show together.

Tracks one by one are unsure: a still thing that stands out by parallax has some with high scores too, and what a mover
drags along makes small sets beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion import rigid
from samotion.motion_map import LONG_SIDE_PX, MAP_MOST, STILL, MotionMaps, least_between, logits, looks
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
SLOWEST_PX = 0.05  # per frame
# Log odds, by samotion_training.fit_objects: that a set is the largest on a mover, from `traits`; and that it is on one
# at all, if only as a part, from the first two of them.
WEIGHTS, BIAS = np.array([0.44, -0.55, -0.32, 0.69, -0.19]), -3.7
ON_ONE, ON_ONE_BIAS = np.array([0.56, -0.48]), -0.52
SURE, LEAST = 0.6, -0.75  # of the second for one set of a clip, or nothing moves; of the first for each mover


def choose(
    sets: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int], maps: MotionMaps | None
) -> list[Array]:
    """Those of `sets` of tracks that are movers; none, where no set surely is. `scores` (N,) are of all tracks."""
    if not sets:
        return []
    shown = traits(sets, tracks, scores, hw, maps)
    if not (shown[:, : len(ON_ONE)] @ ON_ONE + ON_ONE_BIAS > SURE).any():
        return []
    return [one for one, odds in zip(sets, shown @ WEIGHTS + BIAS) if odds > LEAST]


def traits(sets: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int], maps: MotionMaps | None) -> Array:
    """What sets of tracks show (S,5).

    How high their scores are; how much more a fourth dimension explains of their motion (what stands out by parallax
    needs it, see rigid.py); how fast they go through the picture; how many tracks they have; and how much motion the
    maps show on the way to a larger set.
    """
    scale = np.float32(LONG_SIDE_PX / max(hw))
    xy, odds = tracks.xy * scale, logits(scores)
    left = rigid.unexplained(xy, tracks, scores < STILL)
    steps = np.linalg.norm(np.diff(xy, axis=1), axis=-1)
    rows = []
    for one in sets:
        known = left[one][np.isfinite(left[one, 0])]
        parallax = np.subtract(*np.median(known[:, :2], axis=0)) if len(known) else 0.0
        between = [_between(one, other, tracks, hw, maps) for other in sets if len(other) > len(one)]
        speed = np.log(steps[one].mean() + SLOWEST_PX) if steps.size else np.log(SLOWEST_PX)
        rows.append((odds[one].mean(), parallax, speed, np.log(len(one)), max(between, default=-MAP_MOST)))
    return np.array(rows).reshape(len(sets), len(WEIGHTS))


def _between(one: Array, other: Array, tracks: Tracks, hw: tuple[int, int], maps: MotionMaps | None) -> float:
    """The least motion that maps show between two sets where they are nearest, the median of some frames."""
    if maps is None:
        return -MAP_MOST
    least = []
    for t in looks(tracks.xy.shape[1]):
        a, b = (tracks.xy[side[tracks.visible[side, t]], t] for side in (one, other))
        if len(a) and len(b):
            distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
            i, j = np.unravel_index(distance.argmin(), distance.shape)
            least.append(least_between(maps[t], a[i][None], b[j][None], hw)[0])
    return float(np.median(least)) if least else -MAP_MOST
