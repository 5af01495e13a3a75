"""How probable it is that a group moves is decided by features of the whole group."""

from __future__ import annotations

import numpy as np
from helpers.camera_tracks import GOING, HW, NEAR, PLANE, STILL, always_visible, plane_scene
from samotion.cues import movers
from samotion.cues.motion_map import logits

SCORES = np.where(STILL, 0.1, 0.9)
LOWER_SCORES = np.where(STILL, 0.1, 0.7)


def test_group_features_are_what_they_are_said_to_be() -> None:
    tracks = always_visible(plane_scene())
    features = movers.group_features([PLANE, NEAR, GOING], tracks, SCORES, HW)
    np.testing.assert_allclose(features[:, 0], np.log(9) * np.array([-1, 1, 1]), rtol=1e-3)
    assert features[1, 1] < -1.5 and (features[2, 1:] > -0.5).all()


def test_parallax_speaks_against_motion_and_high_scores_for_it() -> None:
    tracks = always_visible(plane_scene())

    def confidence(group: np.ndarray, scores: np.ndarray) -> float:
        (found,) = movers.confidences([group], tracks, scores, HW)
        return found

    assert 0 < confidence(NEAR, SCORES) < confidence(GOING, SCORES)
    assert confidence(GOING, LOWER_SCORES) < confidence(GOING, SCORES) < 1
    log_odds = logits(np.array([confidence(group, SCORES) for group in (NEAR, GOING)]))
    np.testing.assert_allclose(log_odds, [-0.33, 2.15], atol=0.05)  # by the weights chosen


def test_groups_without_a_plane_are_judged_by_their_scores() -> None:
    tracks = always_visible(plane_scene()[190:])  # ten still tracks are too few
    scores = np.full(50, 0.9)
    features = movers.group_features([np.arange(30, 40)], tracks, scores, HW)
    assert (features[0, 1:] == 0).all()
    one_frame = always_visible(plane_scene()[190:, :1])
    assert np.isfinite(movers.group_features([np.arange(3)], one_frame, scores, HW)).all()


def test_no_groups_have_no_confidences() -> None:
    tracks = always_visible(plane_scene())
    assert movers.confidences([], tracks, np.full(240, 0.5), HW) == []
    assert movers.confidences([], always_visible(plane_scene()[:0]), np.zeros(0), HW) == []
