"""How good tracks and scores are: TAP-Vid's three measures, and the area under the ROC curve.

Definitions: Doersch et al., "TAP-Vid: A Benchmark for Tracking Any Point in a Video" (NeurIPS
2022): px of 256 x 256, thresholds of 1, 2, 4, 8 and 16 px, query frames left out ("strided": points
are followed both ways in time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from samotion import geometry
from samotion.tracks.records import Tracks

THRESHOLDS_PX = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class TrackScores:
    """All in [0,1]: average Jaccard, share of visible points within a threshold, share of right
    occlusion flags.
    """

    average_jaccard: float
    delta_avg: float
    occlusion_accuracy: float


def track_scores(
    xy: np.ndarray,
    visible: np.ndarray,
    true_xy: np.ndarray,
    true_visible: np.ndarray,
    counts: np.ndarray,
) -> TrackScores:
    """Compare tracks (N,T,2) px of 256 and their visible flags (N,T) with the truth, where `counts`
    (N,T) bool: not in the query's frame.
    """
    distance = np.linalg.norm(xy - true_xy, axis=-1)
    shown = true_visible & counts
    jaccards, deltas = [], []
    for threshold in THRESHOLDS_PX:
        near = distance < threshold
        hits = np.count_nonzero(near & shown & visible)
        false = np.count_nonzero(counts & visible & ~(true_visible & near))
        jaccards.append(_share(hits, np.count_nonzero(shown) + false))
        deltas.append(_share(np.count_nonzero(near & shown), np.count_nonzero(shown)))
    right = _share(np.count_nonzero((visible == true_visible) & counts), np.count_nonzero(counts))
    return TrackScores(float(np.mean(jaccards)), float(np.mean(deltas)), right)


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive (N,) bool scores above a negative, ties half; None without both
    kinds.
    """
    positives, negatives = np.count_nonzero(positive), np.count_nonzero(~positive)
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores
    above = rank[place][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def starts_on(tracks: Tracks, masks: np.ndarray) -> np.ndarray:
    """What masks (T, H, W), or labels, say at each track's query (N,)."""
    height, width = masks.shape[1:]
    x, y = geometry.nearest_pixel(tracks.query_xy.reshape(-1, 2), (height, width)).T
    values: np.ndarray = masks[tracks.query_frame.astype(int), y, x]
    return values
