"""Parallax in front of a plane explains the motion of a still object, not of a moving one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, GOING, HW, NEAR, STILL, plane_scene
from samotion.cues import parallax


def _log_ratios(xy: np.ndarray, still: np.ndarray = STILL) -> np.ndarray:
    """(N,) of the tracks, by the plane; none is hidden."""
    return _both_log_ratios(xy, still)[0]


def _both_log_ratios(xy: np.ndarray, still: np.ndarray = STILL) -> np.ndarray:
    """(2,N) of the tracks, by the plane and by still tracks; none is hidden."""
    ratios, _ = parallax.parallax_residuals(xy, np.ones(xy.shape[:2], bool), still, HW)
    return np.log(ratios)


@pytest.mark.parametrize("focal_px", [180.0, 256.0, 350.0])
def test_parallax_explains_a_near_object_and_not_a_moving_one(focal_px: float) -> None:
    logs = _log_ratios(plane_scene(focal_px=focal_px))
    assert logs[NEAR].max() < -1.5 and -0.3 < logs[GOING].mean() <= 0


def test_still_tracks_before_the_plane_tell_where_a_turning_camera_travels() -> None:
    """It turns against its travel: the plane hardly moves, and near objects go another way."""
    seen_as_still = STILL | np.isin(np.arange(240), NEAR[:10])
    others = NEAR[10:]
    by_plane, by_still = _both_log_ratios(plane_scene(rotation=-0.15), seen_as_still)
    assert by_plane[others].min() > -0.5 and by_still[others].max() < -2
    assert by_still[GOING].min() > -0.3


@pytest.mark.parametrize("rotation", [0.0, 0.1])
def test_a_camera_without_translation_explains_no_motion(rotation: float) -> None:
    xy = plane_scene(translation=0, rotation=rotation)
    assert (_log_ratios(xy)[GOING] > -0.1).all()


def test_an_object_that_goes_against_the_plane_is_not_explained() -> None:
    """The camera follows it, or it is farther than all else; neither is parallax of a near one."""
    xy = plane_scene(rotation=0)
    xy[GOING] = 2 * xy[GOING][:, :1] - xy[NEAR]
    assert (_log_ratios(xy)[GOING] == 0).all()


def test_what_is_left_is_measured_in_px_of_a_picture_of_one_size() -> None:
    """A track that goes one px a frame across all others, in a frame of twice the size."""
    xy = plane_scene(translation=0, rotation=0)
    xy[GOING] = xy[GOING][:, :1] + np.arange(FRAMES)[:, None] * [0.0, 1.0]
    visible = np.ones(xy.shape[:2], bool)
    for scale in (1, 2):
        hw = scale * HW[0], scale * HW[1]
        ratios, residual_px = parallax.parallax_residuals(scale * xy, visible, STILL, hw)
        of_256 = parallax.WINDOW_FRAMES * parallax.LONG_SIDE_PX / max(HW)
        np.testing.assert_allclose(residual_px[GOING], of_256, rtol=0.05)
        np.testing.assert_allclose(ratios[0, GOING], 1, atol=0.01)
        assert (residual_px[STILL] < 0.2).all()


def test_tracks_off_the_plane_are_outliers_of_its_homography() -> None:
    every = np.ones(240, bool)
    with_all, with_still = (_log_ratios(plane_scene(), still) for still in (every, STILL))
    np.testing.assert_allclose(with_all, with_still, atol=0.1)


def test_without_a_plane_or_where_a_track_is_hidden_nothing_is_explained() -> None:
    xy, visible = plane_scene(), np.ones((240, FRAMES), bool)
    few = np.arange(240) < parallax.MIN_INLIERS - 1
    assert (_both_log_ratios(xy, few) == 0).all()
    visible[NEAR] = False
    ratios, residual_px = parallax.parallax_residuals(xy, visible, STILL, HW)
    assert (ratios[:, NEAR] == 1).all() and (residual_px[NEAR] == 0).all()
    assert (residual_px[GOING] > 0).all()
    assert (_both_log_ratios(xy[:, :1]) == 0).all(), "one frame shows no motion at all"
    assert _both_log_ratios(xy[:0], STILL[:0]).shape == (2, 0)


@pytest.mark.parametrize("across_px", [0.0, 1e-9])
@pytest.mark.parametrize("along_px", [0.0, 1.0])
def test_a_line_or_a_point_is_no_plane(along_px: float, across_px: float) -> None:
    xy = plane_scene()
    direction = np.array([along_px, across_px])
    xy[STILL] = 50 + np.arange(200)[:, None, None] * direction * np.ones((1, FRAMES, 1))
    assert np.isfinite(_both_log_ratios(xy)).all()


def test_points_that_the_homography_takes_behind_the_camera_do_not_count() -> None:
    xy = plane_scene(translation=9)
    xy[NEAR] += 4000
    assert np.isfinite(_both_log_ratios(xy)).all()
