"""Which groups of tracks move by themselves: logistic regression on features of the group.

Single tracks are ambiguous: a still object in front of others has some tracks with high scores
too, and ground dragged along with a moving object makes small groups beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.cues.contact import Affinities
from samotion.cues.motion_map import logits
from samotion.cues.motion_residuals import LONG_SIDE_PX, STILL_SCORE
from samotion.cues.parallax import plane_residual_ratio
from samotion.cues.scene_residual import scene_residual_ratio
from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
MIN_SPEED_PX = 0.05  # per frame, added to all speeds before the logarithm
NO_LARGER_GROUP = -3.0  # the affinities to a larger group, where there is none
# By samotion_training.fit_objects: log odds that a group is the largest one on a moving object, of
# its `group_features`; and that it is on one at all, if only on a part, of the first three of them.
LARGEST_WEIGHTS, LARGEST_BIAS = np.array([0.39, 1.19, 0.69, -0.52, 0.72, -0.62, -0.87]), -5.33
MOTION_WEIGHTS, MOTION_BIAS = np.array([0.67, 1.37, 0.94]), 0.42
CLIP_LOG_ODDS = 1.2  # of motion, that some group must exceed, or nothing moves in the clip
GROUP_LOG_ODDS = -2.0  # of being the largest, that a moving group exceeds


def moving_groups(
    groups: list[Array], affinities: Affinities, tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> list[tuple[Array, float]]:
    """Those of `groups` of tracks that move by themselves, each with the probability that it does;
    none, unless some group certainly does.

    Groups come largest first, `affinities` are between them; `scores` (N,) are of all tracks.
    """
    if not groups:
        return []
    features = group_features(groups, affinities, tracks, scores, hw)
    of_motion = features[:, : len(MOTION_WEIGHTS)] @ MOTION_WEIGHTS + MOTION_BIAS
    if not (of_motion > CLIP_LOG_ODDS).any():
        return []
    of_largest = features @ LARGEST_WEIGHTS + LARGEST_BIAS
    probabilities = 1 / (1 + np.exp(-of_motion))
    judged = zip(groups, probabilities.tolist(), of_largest)
    return [(group, probability) for group, probability, odds in judged if odds > GROUP_LOG_ODDS]


def group_features(
    groups: list[Array], affinities: Affinities, tracks: Tracks, scores: Array, hw: tuple[int, int]
) -> Array:
    """Features of groups of tracks (S,7).

    Mean score logit; plane residual ratio (parallax.py); scene residual ratio (scene_residual.py);
    log speed in the picture; log number of tracks; largest mean log odds, and least contact
    discontinuity, to a larger group: high for its parts.
    """
    xy, score_logits = tracks.xy * np.float32(LONG_SIDE_PX / max(hw)), logits(scores)
    evidence = xy, tracks.visible, scores < STILL_SCORE, groups, hw
    plane, scene = plane_residual_ratio(*evidence), scene_residual_ratio(*evidence)
    speeds = _log_speeds(xy, groups)
    rows = []
    for i, group in enumerate(groups):
        log_odds = _largest(affinities.log_odds[i, :i])
        contact = _largest(-affinities.discontinuity[i, :i])
        score, count = score_logits[group].mean(), np.log(len(group))
        rows.append((score, plane[i], scene[i], speeds[i], count, log_odds, contact))
    return np.array(rows).reshape(len(groups), len(LARGEST_WEIGHTS))


def _log_speeds(xy: Array, groups: list[Array]) -> list[float]:
    """Logarithms of the mean speeds of groups of tracks xy (N,T,2), in px per frame."""
    step_lengths = np.linalg.norm(np.diff(xy, axis=1), axis=-1)
    if not step_lengths.size:
        return [float(np.log(MIN_SPEED_PX))] * len(groups)
    return [np.log(step_lengths[group].mean() + MIN_SPEED_PX) for group in groups]


def _largest(values: Array) -> float:
    """The largest known of `values` (K,); NO_LARGER_GROUP where none is known."""
    largest = np.fmax.reduce(values, initial=np.nan)
    return float(np.nan_to_num(largest, nan=NO_LARGER_GROUP))
