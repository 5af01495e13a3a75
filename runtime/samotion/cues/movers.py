"""How probable it is that a group of tracks moves by itself: logistic regression on features of the
group.

Single tracks are ambiguous: a still object in front of others has some tracks with high scores
too, and ground dragged along with a moving object makes small groups beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.cues.motion_map import logits
from samotion.cues.motion_residuals import LONG_SIDE_PX, STILL_SCORE
from samotion.cues.parallax import plane_residual_ratio
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
SURE_SCORE = 0.8
OF_TRACKS = 1700  # so that the number of tracks followed changes nothing
# By samotion_training.fit_objects: log odds of moving, of `group_features`. The bias, -0.59 as
# fitted, is lowered, so that no more of the clips in which nothing moves raise an alarm than then.
MOTION_WEIGHTS, MOTION_BIAS = np.array([0.25, 0.29, 1.71]), -0.8


def confidences(
    groups: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> list[float]:
    """How probable it is that each of some `groups` of tracks moves by itself; `scores` (N,) are
    of all tracks.
    """
    log_odds = group_features(groups, tracks, scores, hw) @ MOTION_WEIGHTS + MOTION_BIAS
    probabilities: list[float] = (1 / (1 + np.exp(-log_odds))).tolist()
    return probabilities


def group_features(
    groups: list[Array], tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> Array:
    """Features of groups of tracks (S,3): mean score logit; root of the number of tracks with sure
    scores, of `OF_TRACKS`, for evidence grows with it; plane residual ratio (parallax.py).
    """
    xy, score_logits = tracks.xy * np.float32(LONG_SIDE_PX / max(hw)), logits(scores)
    means = np.array([score_logits[group].mean() for group in groups], np.float64)
    sure = [np.count_nonzero(scores[group] > SURE_SCORE) for group in groups]
    plane = plane_residual_ratio(xy, tracks.visible, scores < STILL_SCORE, groups, hw)
    sure_of_all = np.array(sure) * (OF_TRACKS / max(1, len(scores)))
    return np.column_stack([means, np.sqrt(sure_of_all), plane])
