"""How probable it is that a group of tracks moves by itself; docs/method.md, section 7.5."""

from __future__ import annotations

import numpy as np

from samotion.cues.motion_map import logits, probability
from samotion.cues.motion_residuals import STILL_SCORE
from samotion.cues.parallax import parallax_residuals
from samotion.tracks.records import Tracks

# Log odds of moving, of `group_features`. As fitted they are 0.81, 2.15, 1.54 and 0.52, by which
# more moving objects are lost; docs/experiments.md, "Travel told by still tracks".
MOTION_WEIGHTS, MOTION_BIAS = np.array([0.9, 1.2, 1.8]), 0.5


def confidences(
    groups: list[np.ndarray], tracks: Tracks, scores: np.ndarray, hw: tuple[int, int]
) -> list[float]:
    """How probable it is that each of some `groups` of tracks moves by itself; `scores` (N,) are
    of all tracks.
    """
    log_odds = group_features(groups, tracks, scores, hw) @ MOTION_WEIGHTS + MOTION_BIAS
    probabilities: list[float] = probability(log_odds).tolist()
    return probabilities


def group_features(
    groups: list[np.ndarray], tracks: Tracks, scores: np.ndarray, hw: tuple[int, int]
) -> np.ndarray:
    """Features of groups of tracks (S,3), the means of their tracks' score logits and log ratios
    of parallax residuals.
    """
    ratios, _ = parallax_residuals(tracks.xy, tracks.visible, scores < STILL_SCORE, hw)
    evidence = np.column_stack([logits(scores), *np.log(ratios)])
    return np.array([evidence[group].mean(axis=0) for group in groups]).reshape(-1, 3)
