"""Which sets of tracks are things that move by themselves: log odds from what the tracks of a set
show together.

Tracks one by one are unsure: a still thing that stands out by parallax has some with high scores
too, and what a mover drags along makes small sets beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.cues import bundle_adjustment as bundle
from samotion.cues import parallax
from samotion.cues.contact import Ties
from samotion.cues.motion_map import LONG_SIDE_PX, STILL, logits
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
SLOWEST_PX = 0.05  # per frame
NO_LARGER = -3.0  # stands for the ties to a larger set, where there is none
# Log odds, by samotion_training.fit_objects: that a set is the largest on a mover, from `traits`;
# and that it is on one at all, if only as a part, from the first three of them.
WEIGHTS, BIAS = np.array([0.39, 1.19, 0.69, -0.52, 0.72, -0.62, -0.87]), -5.33
ON_ONE, ON_ONE_BIAS = np.array([0.67, 1.37, 0.94]), 0.42
# of the second for one set of a clip, or nothing moves; of the first for each mover
SURE, LEAST = 1.2, -2.0


def choose(
    sets: list[Array], ties: Ties, tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> list[Array]:
    """Those of `sets` of tracks that are movers; none, where no set surely is.

    The sets come largest first, `ties` are between them; `scores` (N,) are of all tracks.
    """
    if not sets:
        return []
    shown = traits(sets, ties, tracks, scores, hw)
    if not (shown[:, : len(ON_ONE)] @ ON_ONE + ON_ONE_BIAS > SURE).any():
        return []
    return [one for one, odds in zip(sets, shown @ WEIGHTS + BIAS) if odds > LEAST]


def traits(
    sets: list[Array], ties: Ties, tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> Array:
    """What sets of tracks show (S,7).

    How high their scores are; how little of their motion the parallax of something still explains,
    beside a plane (see parallax.py) and in the scene as a whole (bundle.py); how fast they go
    through the picture; how many tracks they have; and how much they are like a larger set, and how
    near they stay to one: its part, rather than a thing by itself.
    """
    xy, odds = tracks.xy * np.float32(LONG_SIDE_PX / max(hw)), logits(scores)
    seen = xy, tracks.visible, scores < STILL, sets, hw
    own_motion = np.column_stack([parallax.unexplained(*seen), bundle.unexplained(*seen)])
    steps = np.linalg.norm(np.diff(xy, axis=1), axis=-1)
    rows = []
    for i, one in enumerate(sets):
        speed = np.log(steps[one].mean() + SLOWEST_PX) if steps.size else np.log(SLOWEST_PX)
        alike, near = (
            np.fmax.reduce(side[i, :i], initial=np.nan) for side in (ties.alike, -ties.apart)
        )
        part = np.nan_to_num([alike, near], nan=NO_LARGER)
        rows.append((odds[one].mean(), *own_motion[i], speed, np.log(len(one)), *part))
    return np.array(rows).reshape(len(sets), len(WEIGHTS))
