"""Objects as groups of tracks: average linkage of pairwise log odds (Bailoni et al., CVPR 2022);
docs/method.md, section 7.4.
"""

from __future__ import annotations

import numpy as np

from samotion.cues.motion_map import MotionMaps, most_between
from samotion.cues.parallax import LONG_SIDE_PX
from samotion.presets import Prompting
from samotion.tracks.records import Tracks

# Log odds of being of one object, of two tracks by their `pairwise_features`: by
# samotion_training.fit_objects, but its bias, 5.47, is raised, for a part too many costs an object
# more than a neighbour's. Of two parts by their `part_features`: chosen to join what is hardly seen
# together, and little else; weights of -6 to -20 are within 0.01 of an object's IoU.
PAIR_WEIGHTS, PAIR_BIAS = np.array([0.38, -1.67, -0.2, -3.52]), 5.85
PART_WEIGHTS, PART_BIAS = np.array([0.55, -6.0]), 1.0
FLOOR_PX = 0.1  # added to lengths before their logarithm
SAMPLED_FRAMES = 12  # in which tracks are compared with each other, spread over the clip


def objects(log_odds: np.ndarray, visible: np.ndarray) -> list[np.ndarray]:
    """Groups of tracks, visible (P,T), of which those that are seen in turn are joined; `log_odds`
    (P,P) of being of one object, NaN for tracks never visible together.
    """
    parts = average_linkage(log_odds)
    of_parts = part_features(parts, log_odds, visible) @ PART_WEIGHTS + PART_BIAS
    return [
        np.sort(np.concatenate([parts[k] for k in group])) for group in average_linkage(of_parts)
    ]


def part_features(parts: list[np.ndarray], log_odds: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Features (S,S,2) of pairs of parts: the mean log odds of their tracks, NaN where no frame
    shows two of them; and how much of both is in view at a time, as the mean over the frames of the
    product of the shares of their tracks.
    """
    member = np.zeros((len(log_odds), len(parts)))
    for k, part in enumerate(parts):
        member[part, k] = 1
    counts = member.T @ np.isfinite(log_odds) @ member
    sums = member.T @ np.nan_to_num(log_odds) @ member
    means = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    shown = member.T @ visible / member.sum(axis=0)[:, None]
    return np.dstack([means, shown @ shown.T / visible.shape[1]])


def partition(
    tracks: Tracks,
    moving: np.ndarray,
    candidates: np.ndarray,
    hw: tuple[int, int],
    maps: MotionMaps,
    prompting: Prompting,
) -> list[np.ndarray]:
    """Groups of tracks that belong together, of the `candidates` (P,), largest first; at least
    `min_object_tracks` of each are in `moving`.
    """
    log_odds = pairwise_log_odds(tracks, candidates, hw, maps)
    groups = [candidates[own] for own in objects(log_odds, tracks.visible[candidates])]
    needed = prompting.min_object_tracks
    kept = [group for group in groups if np.isin(group, moving).sum() >= needed]
    return sorted(kept, key=len, reverse=True)


def pairwise_log_odds(
    tracks: Tracks, candidates: np.ndarray, hw: tuple[int, int], maps: MotionMaps
) -> np.ndarray:
    """Log odds (P,P) of being of one object, NaN for tracks never visible together; arguments as
    of `pairwise_features`.
    """
    pairs, features = pairwise_features(tracks, candidates, hw, maps)
    log_odds = np.full((len(candidates), len(candidates)), np.nan)
    log_odds[pairs] = log_odds[pairs[::-1]] = features @ PAIR_WEIGHTS + PAIR_BIAS
    return log_odds


def pairwise_features(
    tracks: Tracks, candidates: np.ndarray, hw: tuple[int, int], maps: MotionMaps
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The pairs (Q,), (Q,) of `candidates` (P,) visible together, and their features (Q,4).

    In how many frames they are visible together; their distance, in mean spacings of all visible
    tracks; the standard deviation of their offset; the surest boundary of an object between them.
    """
    first, second = np.triu_indices(len(candidates), 1)
    # frames, distance in spacings, offset in px, its square, boundary
    sums = np.zeros((len(first), 6))
    last = tracks.visible.shape[1] - 1
    for frame in np.unique(np.linspace(0, last, SAMPLED_FRAMES, dtype=int)).tolist():
        in_frame, xy = tracks.visible[candidates, frame], tracks.xy[candidates, frame]
        together = np.flatnonzero(in_frame[first] & in_frame[second])
        a, b = xy[first[together]], xy[second[together]]
        distance_px = np.linalg.norm(a - b, axis=1)
        spacing_px = np.sqrt(hw[0] * hw[1] / max(1, tracks.visible[:, frame].sum()))
        boundary = most_between(maps.boundary(frame), a, b, hw)
        seen, spacings = np.ones(len(a)), distance_px / spacing_px
        sums[together] += np.column_stack([seen, spacings, a - b, distance_px**2, boundary])
    known = sums[:, 0] > 0
    first, second, frames = first[known], second[known], sums[known, 0]
    spacings, *mean_offset, squared_px2, boundary = sums[known, 1:].T / frames
    variance_px2 = squared_px2 - np.square(mean_offset).sum(axis=0)
    deviation_px = np.sqrt(variance_px2.clip(0)) * LONG_SIDE_PX / max(hw)
    columns = np.log1p(frames), np.log1p(spacings), np.log(deviation_px + FLOOR_PX), boundary
    return (first, second), np.column_stack(columns)


def average_linkage(log_odds: np.ndarray) -> list[np.ndarray]:
    """Groups of indices, of symmetric log odds (P,P) of being together, NaN where nothing is known.

    The two groups with the highest mean of the log odds between them become one, as long as there
    is a positive mean.
    """
    indices = np.arange(len(log_odds))
    if not len(indices):
        return []
    owner, sums, counts = indices.copy(), np.nan_to_num(log_odds), np.isfinite(log_odds) * 1.0
    counts[indices, indices] = 0
    means = np.where(counts, sums, -np.inf)
    best = means.argmax(axis=1)  # of each group, the one to join
    while True:
        highest = means[indices, best]
        a = int(highest.argmax())
        if highest[a] <= 0:
            return [np.flatnonzero(owner == k) for k in np.unique(owner)]
        b = best[a]
        owner[owner == b] = a
        for table in (sums, counts):
            table[a] += table[b]
            table[:, a] = table[a]
        counts[a, a] = counts[b] = counts[:, b] = 0
        means[a] = means[:, a] = np.where(counts[a], sums[a] / np.maximum(counts[a], 1), -np.inf)
        means[b] = means[:, b] = -np.inf
        stale = (best == a) | (best == b) | (indices == a)
        best[stale] = means[stale].argmax(axis=1)
        best[means[:, a] > means[indices, best]] = a
