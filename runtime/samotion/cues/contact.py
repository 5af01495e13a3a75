"""How differently sets of tracks move where they meet.

Limbs of one body move alike at their joint, however they turn; things that pass each other do not.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from samotion.cues.motion_map import looks
from samotion.cues.rigid import median_of_known

Array = np.ndarray[Any, Any]
STEP = 4  # frames between which motions are compared
RIDGE_PX2 = 30.0  # what few tracks, or near ones, show of turning and growing counts little


class Ties(NamedTuple):
    """What sets of tracks show of being of one object, each (S,S), NaN where no frame shows both.

    `alike`: the log odds of their tracks, in the mean. `apart`: the log of the px that `apart`
    measures.
    """

    alike: Array
    apart: Array


def apart(xy: Array, visible: Array, sets: list[Array]) -> Array:
    """How far apart (S,S) two of `sets` of tracks carry a place between them, in px per STEP
    frames.

    xy (N,T,2) in px of a picture about 256 px wide, visible (N,T). The place is the middle between
    their nearest tracks, and each set has an affine motion of its own. Medians over the clip; NaN
    for sets never seen together.
    """
    length = visible.shape[1]
    step = min(STEP, length - 1)
    if not step or not sets:
        return np.full((len(sets), len(sets)), np.nan)
    found = []
    for start in looks(length - step):
        seen = visible[:, start] & visible[:, start + step]
        found.append(_in_step(xy[:, start], xy[:, start + step], [one[seen[one]] for one in sets]))
    return np.asarray(median_of_known(found) * (STEP / step))


def _in_step(before: Array, after: Array, sets: list[Array]) -> Array:
    """How far apart (S,S) px they carry a place in one step of tracks from `before` (N,2) to
    `after`; NaN if empty.
    """
    centres, shifts = np.full((2, len(sets), 2), np.nan)
    slopes = np.zeros((len(sets), 2, 2))
    middles = np.full((len(sets), len(sets), 2), np.nan)
    shown = [i for i, one in enumerate(sets) if len(one)]
    for i in shown:
        places, steps = before[sets[i]], after[sets[i]] - before[sets[i]]
        centres[i], shifts[i] = places.mean(axis=0), steps.mean(axis=0)
        around = places - centres[i]
        slopes[i] = np.linalg.solve(
            around.T @ around + RIDGE_PX2 * np.eye(2), around.T @ (steps - shifts[i])
        )
    for i, j in itertools.combinations(shown, 2):
        a, b = before[sets[i]], before[sets[j]]
        nearest = ((a[:, None] - b[None]) ** 2).sum(axis=-1).argmin()
        middles[i, j] = middles[j, i] = (a[nearest // len(b)] + b[nearest % len(b)]) / 2
    carried = shifts[:, None] + np.einsum("ijc,icd->ijd", middles - centres[:, None], slopes)
    return np.asarray(np.linalg.norm(carried - carried.swapaxes(0, 1), axis=-1))
