"""How probable it is that a group of tracks moves by itself; docs/method.md, section 7.5."""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.cues.motion_map import logits, probability
from samotion.cues.motion_residuals import STILL_SCORE
from samotion.cues.parallax import parallax_residual
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
# Log odds of moving, of `group_features`. samotion_training.fit_objects says 1.07, 4.55 and -1.18,
# by which parallax would explain some real objects away: here they keep a margin.
MOTION_WEIGHTS, MOTION_BIAS = np.array([0.9, 2.2]), -0.05


def confidences(
    groups: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> list[float]:
    """How probable it is that each of some `groups` of tracks moves by itself; `scores` (N,) are
    of all tracks.
    """
    log_odds = group_features(groups, tracks, scores, hw) @ MOTION_WEIGHTS + MOTION_BIAS
    probabilities: list[float] = probability(log_odds).tolist()
    return probabilities


def group_features(
    groups: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> Array:
    """Features of groups of tracks (S,2): mean score logit; parallax residual."""
    score_logits = logits(scores)
    means = np.array([score_logits[group].mean() for group in groups], np.float64)
    parallax = parallax_residual(tracks.xy, tracks.visible, scores < STILL_SCORE, groups, hw)
    return np.column_stack([means, parallax])
