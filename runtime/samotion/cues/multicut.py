"""Objects as sets of moving tracks: a minimum cost multicut of what pairs of tracks show (Keuper et
al., ICCV 2015).

It is made twice: tracks that surely belong together are parts, and parts, whose motions are known
better than those of single tracks, are objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from samotion.cues import movers
from samotion.cues.contact import Ties, apart
from samotion.cues.motion_map import LONG_SIDE_PX, MotionMaps, least_between, logits, looks
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, surely_visible
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
# Log odds that two tracks are of one object, from `traits`, and that two parts are, from their
# `Ties`; each in their order, by samotion_training.fit_objects. To the bias for parts, 0.15 as
# fitted, 0.5 are added: what is torn apart costs more than what is joined (F of an object's tracks
# 0.54 without them, 0.56 with them).
WEIGHTS, BIAS = np.array([0.97, -0.64, -0.35, 0.31, -0.34]), 0.36
OF_PARTS, OF_PARTS_BIAS = np.array([0.6, -0.33]), 0.65
SURER = 1.0  # log odds less for two tracks to be of one part
FLOOR_PX = 0.1
BUSY_FRAMES = 0.2
# stands for the log of px, where no step shows two sets together though some frame does
NEVER_IN_STEP = 1.0


@dataclass(frozen=True)
class Pairs:
    """Tracks xy (P,T,2), px of a picture LONG_SIDE_PX wide, visible (P,T), and what every two of
    them show.

    `log_odds` (P,P) are those of being of one object, NaN for tracks never seen together.
    """

    xy: Array
    visible: Array
    log_odds: Array

    def parts(self) -> list[Array]:
        """Sets of tracks that surely belong together."""
        return multicut(np.nan_to_num(self.log_odds - SURER))

    def objects(self) -> list[Array]:
        """Sets of tracks, made of parts that belong together."""
        parts = self.parts()
        log_odds = np.stack(self.ties(parts), axis=-1) @ OF_PARTS + OF_PARTS_BIAS
        roots = np.sqrt([len(one) for one in parts])
        sets = multicut(np.nan_to_num(log_odds) * np.outer(roots, roots))
        return [np.sort(np.concatenate([parts[k] for k in one])) for one in sets]

    def ties(self, sets: list[Array]) -> Ties:
        """What `sets` of these tracks show."""
        within = np.zeros((len(self.xy), len(sets)))
        for k, one in enumerate(sets):
            within[one, k] = 1
        counts = within.T @ np.isfinite(self.log_odds) @ within
        alike = np.where(
            counts, within.T @ np.nan_to_num(self.log_odds) @ within / np.maximum(counts, 1), np.nan
        )
        gone = np.log(apart(self.xy, self.visible, sets) + FLOOR_PX)
        return Ties(alike, np.where(np.isnan(gone) & (counts > 0), NEVER_IN_STEP, gone))


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
    """Split the likely tracks (N,) bool into objects, largest first; `moving` (M,) are the sure
    ones among them.

    `scores` (N,) are the motion scores. Together an object's tracks must look like a mover's; see
    movers.py.
    """
    seen = surely_visible(tracks, prompting.min_confidence).visible
    sets, ties = split(tracks, scores, moving, likely, hw, maps, prompting)
    sets = movers.choose(sets, ties, tracks, scores, hw)
    return [
        ObjectPrompt(i + 1, busiest_frame(seen[one]), one)
        for i, one in enumerate(sets[:max_objects])
    ]


def busiest_frame(visible: Array) -> int:
    """Of the 20 % of frames with most visible points (N,T), the middle one in time; at least one
    must be visible.

    Among equals earlier frames come first. The published method rounds and sorts otherwise; see
    prompts.py.
    """
    counts = visible.sum(axis=0)
    busy = np.argsort(-counts, kind="stable")[: math.ceil(BUSY_FRAMES * len(counts))]
    busy = np.sort(busy[counts[busy] > 0])
    return int(busy[len(busy) // 2])


def split(
    tracks: Tracks,
    scores: Array,
    moving: Array,
    likely: Array,
    hw: tuple[int, int],
    maps: MotionMaps | None,
    prompting: Prompting,
) -> tuple[list[Array], Ties]:
    """Sets (P,) of likely tracks that belong together, largest first, and their ties.

    `min_object_tracks` of each are sure, or all there are.
    """
    pool = np.flatnonzero(likely)
    pairs = compare(tracks.take(pool), scores[pool], hw, spacings(tracks.visible, hw), maps)
    seen = surely_visible(tracks, prompting.min_confidence).visible
    needed = min(prompting.min_object_tracks, max(1, len(moving)))
    sets = [
        one
        for one in pairs.objects()
        if np.isin(pool[one], moving).sum() >= needed and seen[pool[one]].any()
    ]
    sets.sort(key=len, reverse=True)
    return [pool[one] for one in sets], pairs.ties(sets)


def compare(
    tracks: Tracks, scores: Array, hw: tuple[int, int], spacing_px: Array, maps: MotionMaps | None
) -> Pairs:
    """Every two of `tracks`; arguments as of `traits`."""
    pairs, shown = traits(tracks, scores, hw, spacing_px, maps)
    log_odds = np.full((len(tracks), len(tracks)), np.nan)
    log_odds[pairs] = log_odds[pairs[::-1]] = shown @ WEIGHTS + BIAS
    return Pairs(tracks.xy * (LONG_SIDE_PX / max(hw)), tracks.visible, log_odds)


def spacings(visible: Array, hw: tuple[int, int]) -> Array:
    """(T,) px: the mean distance between the visible (N,T) of all tracks."""
    area: Array = hw[0] * hw[1] / np.maximum(1, visible.sum(axis=0))
    return np.sqrt(area)


def traits(
    tracks: Tracks, scores: Array, hw: tuple[int, int], spacing_px: Array, maps: MotionMaps | None
) -> tuple[tuple[Array, Array], Array]:
    """The pairs (Q,), (Q,) of tracks seen together, and what they show (Q,5).

    In how many frames they are seen together; how far apart, in spacings (T,) of tracks; by how
    much that changes; how little motion the maps show between them; how different their scores are.
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
    """Sets of indices that symmetric log odds (P,P) of being together speak for, by greedy additive
    edge contraction.

    The two sets with the largest sum of log odds between them become one, as long as there is a
    positive sum.
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
