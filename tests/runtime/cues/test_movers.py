"""Which groups move is decided by features of the whole group."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import GOING, HW, NEAR, PLANE, STILL, always_visible, plane_scene
from samotion.cues import movers, parallax, scene_residual
from samotion.cues.contact import Affinities

SCORES = np.where(STILL, 0.1, 0.9)
HIGHER_SCORES = np.where(STILL, 0.1, 0.999)


def _affinities(count: int, **known: dict[tuple[int, int], float]) -> Affinities:
    """NaN but for the pairs given for `log_odds` and `discontinuity`."""
    matrices = np.full((2, count, count), np.nan)
    for matrix, name in zip(matrices, Affinities._fields):
        for (i, j), value in known.get(name, {}).items():
            matrix[i, j] = matrix[j, i] = value
    return Affinities(*matrices)


def test_group_features_are_what_they_are_said_to_be() -> None:
    xy = plane_scene()
    affinities = _affinities(
        3,
        log_odds={(0, 1): 2.0, (0, 2): -4.0, (1, 2): 0.5},
        discontinuity={(0, 1): 1.5, (0, 2): 0.25},
    )
    features = movers.group_features(
        [PLANE, NEAR, GOING], affinities, always_visible(xy), SCORES, HW
    )
    score, plane, scene, speed, count, log_odds, contact = features.T
    np.testing.assert_allclose(score, np.log(9) * np.array([-1, 1, 1]), rtol=1e-3)
    for residual_ratio in (plane, scene):
        assert residual_ratio[1] < -1.5 and residual_ratio[2] > -0.5
    mean_step = np.linalg.norm(np.diff(xy[GOING], axis=1), axis=-1).mean()
    assert speed[2] == pytest.approx(np.log(mean_step + movers.MIN_SPEED_PX), rel=1e-3)
    np.testing.assert_allclose(np.exp(count), [200, 20, 20])
    # no group is larger than the first
    np.testing.assert_allclose(log_odds, [movers.NO_LARGER_GROUP, 2, 0.5])
    np.testing.assert_allclose(contact, [movers.NO_LARGER_GROUP, -1.5, -0.25])


def test_affinity_to_a_larger_group_speaks_against_a_group() -> None:
    tracks = always_visible(plane_scene())

    def odds(affinities: Affinities) -> float:
        features = movers.group_features([NEAR, GOING], affinities, tracks, SCORES, HW)
        return float((features @ movers.LARGEST_WEIGHTS)[1])

    part = _affinities(2, log_odds={(0, 1): 0}, discontinuity={(0, 1): 0})
    separate = _affinities(2, log_odds={(0, 1): -2}, discontinuity={(0, 1): 2})
    assert odds(part) < odds(separate)


def test_parallax_speaks_against_motion_and_scores_for_it() -> None:
    tracks = always_visible(plane_scene())

    def odds(group: np.ndarray, scores: np.ndarray) -> float:
        features = movers.group_features([group], _affinities(1), tracks, scores, HW)
        count = len(movers.MOTION_WEIGHTS)
        return float((features[:, :count] @ movers.MOTION_WEIGHTS)[0])

    assert odds(NEAR[:10], SCORES) < odds(GOING, SCORES) < odds(GOING, HIGHER_SCORES)


def test_uncertain_groups_are_kept_beside_a_certain_one_only() -> None:
    """And what parallax explains is kept beside neither."""
    tracks = always_visible(plane_scene())
    uncertain, certain = GOING[:10], GOING[10:]
    low = np.where(STILL, 0.1, 0.6)
    one_high = np.where(np.isin(np.arange(240), certain), 0.99, low)
    for scores, kept in ((low, []), (one_high, [uncertain, certain])):
        candidates = [NEAR, uncertain, certain]
        found = movers.moving_groups(candidates, _affinities(3), tracks, scores, HW)
        assert [group.tolist() for group, _ in found] == [group.tolist() for group in kept]
        assert [0 < confidence < 1 for _, confidence in found] == [True] * len(kept)


def test_groups_without_residual_ratios_are_judged_by_the_other_features() -> None:
    tracks = always_visible(plane_scene()[190:])  # ten still tracks are too few
    scores = np.full(50, 0.9)
    features = movers.group_features([np.arange(30, 40)], _affinities(1), tracks, scores, HW)
    assert features[0, 1:3].tolist() == [parallax.UNKNOWN, scene_residual.UNKNOWN]
    assert np.isfinite(features).all()
    one_frame = always_visible(plane_scene()[190:, :1])
    features = movers.group_features([np.arange(3)], _affinities(1), one_frame, scores, HW)
    assert np.isfinite(features).all()


def test_no_groups_are_no_moving_groups() -> None:
    tracks = always_visible(plane_scene())
    assert movers.moving_groups([], _affinities(0), tracks, np.full(240, 0.5), HW) == []
