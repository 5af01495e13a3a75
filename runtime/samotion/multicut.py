"""Objects as sets of moving tracks: a minimum cost multicut of what pairs of tracks show (Keuper et al., ICCV 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion import movers
from samotion.motion_map import LONG_SIDE_PX, MotionMaps, least_between, logits, looks
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, busiest_frame, surely_visible
from samotion.tracks import Tracks

Array = np.ndarray[Any, Any]
# Log odds that two tracks are of one object, from `traits` in their order; by samotion_training.fit_objects.
WEIGHTS = np.array([0.97, -0.64, -0.35, 0.31, -0.34])
BIAS = 0.36


def find(
    tracks: Tracks,
    scores: Array,
    moving: Array,
    likely: Array,
    hw: tuple[int, int],
    maps: MotionMaps | None,
    prompting: Prompting,
    max_objects: int,
) -> list[ObjectPrompt]:
    """Split the likely tracks (N,) bool into objects, largest first; `moving` (M,) are the sure ones among them.

    `scores` (N,) are the motion scores. Together an object's tracks must look like a mover's; see movers.py.
    """
    seen = surely_visible(tracks, prompting.min_confidence).visible
    sets = split(tracks, scores, moving, likely, hw, maps, prompting)
    sets = sorted(movers.choose(sets, tracks, scores, hw, maps), key=len, reverse=True)
    return [ObjectPrompt(i + 1, busiest_frame(seen[one]), one) for i, one in enumerate(sets[:max_objects])]


def split(
    tracks: Tracks,
    scores: Array,
    moving: Array,
    likely: Array,
    hw: tuple[int, int],
    maps: MotionMaps | None,
    prompting: Prompting,
) -> list[Array]:
    """Sets (P,) of likely tracks that belong together; `min_object_tracks` of each must be sure, or all there are."""
    pool = np.flatnonzero(likely)
    pairs, shown = traits(tracks.take(pool), scores[pool], hw, spacings(tracks.visible, hw), maps)
    log_odds = np.zeros((len(pool), len(pool)))
    log_odds[pairs] = log_odds[pairs[::-1]] = shown @ WEIGHTS + BIAS
    sets = [pool[one] for one in multicut(log_odds)]
    seen = surely_visible(tracks, prompting.min_confidence).visible
    needed = min(prompting.min_object_tracks, max(1, len(moving)))
    return [one for one in sets if np.isin(one, moving).sum() >= needed and seen[one].any()]


def spacings(visible: Array, hw: tuple[int, int]) -> Array:
    """(T,) px: the mean distance between the visible (N,T) of all tracks."""
    area: Array = hw[0] * hw[1] / np.maximum(1, visible.sum(axis=0))
    return np.sqrt(area)


def traits(
    tracks: Tracks, scores: Array, hw: tuple[int, int], spacing_px: Array, maps: MotionMaps | None
) -> tuple[tuple[Array, Array], Array]:
    """The pairs (Q,), (Q,) of tracks seen together, and what they show (Q,5).

    In how many frames they are seen together; how far apart, in spacings (T,) of tracks; by how much that changes; how
    little motion the maps show between them; how different their scores are.
    """
    count, length = tracks.visible.shape
    first, second = np.triu_indices(count, 1)
    together, spaced, square, between = np.zeros((4, len(first)))
    offset = np.zeros((len(first), 2))
    for t in looks(length):
        both = np.flatnonzero(tracks.visible[first, t] & tracks.visible[second, t])
        a, b = (tracks.xy[side[both], t] for side in (first, second))
        distance = np.linalg.norm(a - b, axis=1)
        together[both] += 1
        spaced[both] += distance / spacing_px[t]
        offset[both] += a - b
        square[both] += distance**2
        if maps is not None:
            between[both] += least_between(maps[t], a, b, hw)
    known = together > 0
    first, second, together = first[known], second[known], together[known]
    variance = square[known] / together - ((offset[known] / together[:, None]) ** 2).sum(axis=1)
    drift_px = np.sqrt(variance.clip(0)) * LONG_SIDE_PX / max(hw)
    odds = logits(scores)
    shown = (
        np.log1p(together),
        np.log1p(spaced[known] / together),
        np.log(drift_px + 0.1),
        between[known] / together,
        np.abs(odds[first] - odds[second]),
    )
    return (first, second), np.stack(shown, axis=-1)


def multicut(log_odds: Array) -> list[Array]:
    """Sets of indices that symmetric log odds (P,P) of being together speak for, by greedy additive edge contraction.

    The two sets with the largest sum of log odds between them become one, as long as there is a positive sum.
    """
    every = np.arange(len(log_odds))
    sums, owner = log_odds.astype(np.float64), every.copy()
    sums[every, every] = -np.inf
    best = sums.argmax(axis=1) if len(sums) else every
    while len(sums) and (peaks := sums[every, best]).max() > 0:
        a = int(peaks.argmax())
        b = best[a]
        owner[owner == b] = a
        sums[a] += sums[b]
        sums[:, a] = sums[a]
        sums[a, a] = sums[b] = sums[:, b] = -np.inf
        stale = (best == a) | (best == b) | (every == a)
        best[stale] = sums[stale].argmax(axis=1)
        best[sums[:, a] > sums[every, best]] = a
    return [np.flatnonzero(owner == k) for k in np.unique(owner)]
