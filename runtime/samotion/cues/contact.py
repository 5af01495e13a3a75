"""Contact discontinuity: how differently two groups of tracks move where they meet.

Each group gets an affine motion. Limbs of one body carry their joint to the same place, however
they turn; objects that pass each other carry the point between them to different places.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from samotion.cues.motion_map import sampled_frames
from samotion.cues.rigid import median_of_finite

Array = np.ndarray[Any, Any]
INTERVAL_FRAMES = 4  # between the two frames that a motion is measured from
RIDGE_PX2 = 30.0  # ridge penalty: of few tracks, or near ones, little but a translation is known


class Affinities(NamedTuple):
    """How much groups of tracks belong together, each (S,S), NaN where no frame shows both.

    `log_odds`: mean of their tracks' log odds of being of one object. `discontinuity`: logarithm
    of their contact discontinuity in px.
    """

    log_odds: Array
    discontinuity: Array


def contact_discontinuity(xy: Array, visible: Array, groups: list[Array]) -> Array:
    """Distances (S,S) between the places to which two groups carry their contact point, in px per
    INTERVAL_FRAMES.

    xy (N,T,2) in px of a picture about 256 px wide, visible (N,T). The contact point is the middle
    between the groups' nearest tracks. Medians over the clip; NaN for groups never seen together.
    """
    length = visible.shape[1]
    interval = min(INTERVAL_FRAMES, length - 1)
    if not interval or not groups:
        return np.full((len(groups), len(groups)), np.nan)
    measured = []
    for start in sampled_frames(length - interval):
        end = start + interval
        visible_in_both = visible[:, start] & visible[:, end]
        members = [group[visible_in_both[group]] for group in groups]
        measured.append(_between_two_frames(xy[:, start], xy[:, end], members))
    per_interval = INTERVAL_FRAMES / interval
    return np.asarray(median_of_finite(measured) * per_interval)


def _between_two_frames(before: Array, after: Array, groups: list[Array]) -> Array:
    """The discontinuities (S,S) px of tracks that go from `before` (N,2) to `after`; NaN for
    empty groups.
    """
    count = len(groups)
    centres, translations = np.full((2, count, 2), np.nan)
    linear = np.zeros((count, 2, 2))
    for i, group in enumerate(groups):
        if len(group):
            displacement = after[group] - before[group]
            centres[i], translations[i], linear[i] = _affine_motion(before[group], displacement)
    offsets = _contact_points(before, groups) - centres[:, None]
    carried = translations[:, None] + np.einsum("ijc,icd->ijd", offsets, linear)
    difference = carried - carried.swapaxes(0, 1)
    return np.asarray(np.linalg.norm(difference, axis=-1))


def _affine_motion(points: Array, displacement: Array) -> tuple[Array, Array, Array]:
    """Centre (2,), translation (2,) and linear part (2,2) of displacements (M,2), by ridge
    regression.
    """
    centre = points.mean(axis=0).astype(np.float64)
    translation = displacement.mean(axis=0).astype(np.float64)
    offsets = points - centre
    gram = offsets.T @ offsets + RIDGE_PX2 * np.eye(2)
    linear = np.linalg.solve(gram, offsets.T @ (displacement - translation))
    return centre, translation, linear


def _contact_points(points: Array, groups: list[Array]) -> Array:
    """The middles (S,S,2) between the nearest `points` (N,2) of two groups; NaN for empty ones."""
    count = len(groups)
    contacts = np.full((count, count, 2), np.nan)
    for i, j in itertools.combinations(range(count), 2):
        a, b = points[groups[i]], points[groups[j]]
        if not len(a) or not len(b):
            continue
        squared_distance = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        nearest_a, nearest_b = divmod(squared_distance.argmin(), len(b))
        contacts[i, j] = contacts[j, i] = (a[nearest_a] + b[nearest_b]) / 2
    return contacts
