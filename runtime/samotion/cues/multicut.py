"""Objects as groups of tracks: minimum cost multicuts of pairwise log odds (Keuper et al., ICCV
2015).

The first multicut makes an over-segmentation into parts, whose motions are known better than those
of single tracks; the second joins parts to objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from samotion.cues import movers
from samotion.cues.motion_map import MotionMaps, most_between, sampled_frames
from samotion.cues.motion_residuals import LONG_SIDE_PX
from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt, surely_visible
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
# By samotion_training.fit_objects: log odds of being of one object, of two tracks by their
# `pairwise_features`, and of two parts by their `part_features`. The biases, 5.47 and 0.25 as
# fitted, are raised: a part too many costs an object more than a neighbour's.
PAIR_WEIGHTS, PAIR_BIAS = np.array([0.38, -1.67, -0.2, -3.52]), 5.7
PART_WEIGHTS, PART_BIAS = np.array([0.55, -1.5]), 1.2
PART_MARGIN = 1.0  # by which log odds are lowered for the over-segmentation
FLOOR_PX = 0.1  # added to lengths before their logarithm
BUSY_SHARE = 0.2  # of a clip's frames


@dataclass(frozen=True)
class TrackGraph:
    """Tracks, visible (P,T), and edges between them.

    `log_odds` (P,P) are those of being of one object, NaN for tracks never visible together.
    """

    visible: Array
    log_odds: Array

    def over_segmentation(self) -> list[Array]:
        """Parts: groups of tracks that almost certainly belong together."""
        return multicut(np.nan_to_num(self.log_odds - PART_MARGIN))

    def objects(self) -> list[Array]:
        """Groups of tracks, made of parts that belong together."""
        parts = self.over_segmentation()
        log_odds = self.part_features(parts) @ PART_WEIGHTS + PART_BIAS
        roots = np.sqrt([len(part) for part in parts])
        joined = multicut(np.nan_to_num(log_odds) * np.outer(roots, roots))
        return [np.sort(np.concatenate([parts[k] for k in group])) for group in joined]

    def part_features(self, parts: list[Array]) -> Array:
        """Features (S,S,2) of pairs of parts: the mean log odds of their tracks, NaN where no frame
        shows two of them; and the share of the frames that show both parts.

        Parts that are seen together all the time had every chance to move as one. Those of one body
        are often seen in turn, for tracks get lost and are followed anew.
        """
        member = np.zeros((len(self.log_odds), len(parts)))
        for k, part in enumerate(parts):
            member[part, k] = 1
        counts = member.T @ np.isfinite(self.log_odds) @ member
        sums = member.T @ np.nan_to_num(self.log_odds) @ member
        log_odds = np.where(counts, sums / np.maximum(counts, 1), np.nan)
        shown = (member.T @ self.visible > 0).astype(np.float64)
        return np.dstack([log_odds, shown @ shown.T / self.visible.shape[1]])


def group(
    tracks: Tracks,
    scores: Array,
    moving: Array,
    candidates: Array,
    hw: tuple[int, int],
    maps: MotionMaps,
    prompting: Prompting,
) -> list[ObjectPrompt]:
    """What may move, largest first, of the `candidates` (N,) bool among the tracks.

    `moving` (M,) are tracks with high scores, `scores` (N,) those of all. How probable it is that
    an object's tracks move by themselves says movers.py.
    """
    groups = partition(tracks, moving, candidates, hw, maps, prompting)
    confidences = movers.confidences(groups, tracks, scores, hw)
    visible = surely_visible(tracks, prompting.min_confidence).visible
    return [
        ObjectPrompt(number, busiest_frame(visible[members]), members, confidence=confidence)
        for number, (members, confidence) in enumerate(zip(groups, confidences), start=1)
    ]


def busiest_frame(visible: Array) -> int:
    """Of the 20 % of frames with most visible points (N,T), the middle one in time; at least one
    must be visible.

    Among equals earlier frames come first. The published method rounds and sorts otherwise; see
    prompts.py.
    """
    counts = visible.sum(axis=0)
    busy_count = math.ceil(BUSY_SHARE * len(counts))
    busiest = np.argsort(-counts, kind="stable")[:busy_count]
    in_time = np.sort(busiest[counts[busiest] > 0])
    return int(in_time[len(in_time) // 2])


def partition(
    tracks: Tracks,
    moving: Array,
    candidates: Array,
    hw: tuple[int, int],
    maps: MotionMaps,
    prompting: Prompting,
) -> list[Array]:
    """Groups (P,) of candidate tracks that belong together, largest first.

    At least `min_object_tracks` of each, or all there are, are in `moving`.
    """
    indices = np.flatnonzero(candidates)
    spacing_px = mean_spacings_px(tracks.visible, hw)
    graph = track_graph(tracks.take(indices), hw, spacing_px, maps)
    visible = surely_visible(tracks, prompting.min_confidence).visible
    needed = min(prompting.min_object_tracks, max(1, len(moving)))

    def is_kept(members: Array) -> bool:
        enough = np.isin(indices[members], moving).sum() >= needed
        return bool(enough and visible[indices[members]].any())

    groups = [members for members in graph.objects() if is_kept(members)]
    groups.sort(key=len, reverse=True)
    return [indices[members] for members in groups]


def track_graph(
    tracks: Tracks, hw: tuple[int, int], spacing_px: Array, maps: MotionMaps
) -> TrackGraph:
    """The graph of all `tracks`; arguments as of `pairwise_features`."""
    pairs, features = pairwise_features(tracks, hw, spacing_px, maps)
    log_odds = np.full((len(tracks), len(tracks)), np.nan)
    log_odds[pairs] = log_odds[pairs[::-1]] = features @ PAIR_WEIGHTS + PAIR_BIAS
    return TrackGraph(tracks.visible, log_odds)


def mean_spacings_px(visible: Array, hw: tuple[int, int]) -> Array:
    """(T,) px: the mean distance between the visible (N,T) of all tracks."""
    area_px2: Array = hw[0] * hw[1] / np.maximum(1, visible.sum(axis=0))
    return np.sqrt(area_px2)


def pairwise_features(
    tracks: Tracks, hw: tuple[int, int], spacing_px: Array, maps: MotionMaps
) -> tuple[tuple[Array, Array], Array]:
    """The pairs (Q,), (Q,) of tracks visible together, and their features (Q,4).

    In how many frames they are visible together; their distance, in mean spacings (T,) of tracks;
    the standard deviation of their offset; the surest boundary of an object between them.
    """
    first, second = np.triu_indices(len(tracks), 1)
    # frames, distance in spacings, offset in px, its square, boundary
    sums = np.zeros((len(first), 6))
    for frame in sampled_frames(tracks.visible.shape[1]):
        in_frame = tracks.visible[:, frame]
        together = np.flatnonzero(in_frame[first] & in_frame[second])
        a, b = (tracks.xy[side[together], frame] for side in (first, second))
        distance_px = np.linalg.norm(a - b, axis=1)
        spacings = distance_px / spacing_px[frame]
        boundary = most_between(maps.boundary(frame), a, b, hw)
        one = np.ones(len(a))
        sums[together] += np.column_stack([one, spacings, a - b, distance_px**2, boundary])
    known = sums[:, 0] > 0
    first, second, frames = first[known], second[known], sums[known, 0]
    spacings, *mean_offset, squared_px2, boundary = sums[known, 1:].T / frames
    variance_px2 = squared_px2 - np.square(mean_offset).sum(axis=0)
    deviation_px = np.sqrt(variance_px2.clip(0)) * LONG_SIDE_PX / max(hw)
    columns = np.log1p(frames), np.log1p(spacings), np.log(deviation_px + FLOOR_PX), boundary
    return (first, second), np.column_stack(columns)


def multicut(log_odds: Array) -> list[Array]:
    """Groups of indices, of symmetric log odds (P,P) of being together, by greedy additive edge
    contraction.

    The two groups with the largest sum of log odds between them become one, as long as there is a
    positive sum.
    """
    indices = np.arange(len(log_odds))
    if not len(indices):
        return []
    sums, owner = log_odds.astype(np.float64), indices.copy()
    sums[indices, indices] = -np.inf
    best = sums.argmax(axis=1)  # of each group, the one to join
    while True:
        largest = sums[indices, best]
        a = int(largest.argmax())
        if largest[a] <= 0:
            return [np.flatnonzero(owner == k) for k in np.unique(owner)]
        b = best[a]
        owner[owner == b] = a
        _contract(sums, a, b)
        stale = (best == a) | (best == b) | (indices == a)
        best[stale] = sums[stale].argmax(axis=1)
        best[sums[:, a] > sums[indices, best]] = a


def _contract(sums: Array, a: int, b: int) -> None:
    """Moves the edges of node b to node a."""
    sums[a] += sums[b]
    sums[:, a] = sums[a]
    sums[a, a] = sums[b] = sums[:, b] = -np.inf
