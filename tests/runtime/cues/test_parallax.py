"""Parallax in front of a plane explains the motion of a still object, not of a moving one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, GOING, HW, NEAR, STILL, plane_scene
from samotion.cues import parallax


def _residuals(
    xy: np.ndarray, still: np.ndarray = STILL, groups: list[np.ndarray] | None = None
) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    groups = [NEAR, GOING] if groups is None else groups
    return parallax.parallax_residual(xy, visible, still, groups, HW)


@pytest.mark.parametrize("focal_px", [180.0, 256.0, 350.0])
def test_parallax_explains_a_near_object_and_not_a_moving_one(focal_px: float) -> None:
    near, going = _residuals(plane_scene(focal_px=focal_px))
    assert near < -1.5 and -0.3 < going <= 0


@pytest.mark.parametrize("rotation", [0.0, 0.1])
def test_a_camera_without_translation_explains_no_motion(rotation: float) -> None:
    xy = plane_scene(translation=0, rotation=rotation)
    assert (_residuals(xy, groups=[GOING]) > -0.1).all()


def test_an_object_that_goes_against_the_plane_is_not_explained() -> None:
    """The camera follows it, or it is farther than all else; neither is parallax of a near one."""
    xy = plane_scene(rotation=0)
    xy[GOING] = 2 * xy[GOING][:, :1] - xy[NEAR]
    assert _residuals(xy, groups=[GOING]) == 0


def test_tracks_off_the_plane_are_outliers_of_its_homography() -> None:
    every = np.ones(240, bool)
    with_all, with_still = (_residuals(plane_scene(), still) for still in (every, STILL))
    np.testing.assert_allclose(with_all, with_still, atol=0.1)


def test_without_a_plane_or_a_visible_track_the_residual_is_unknown() -> None:
    xy, visible = plane_scene(), np.ones((240, FRAMES), bool)
    few = np.arange(240) < parallax.MIN_INLIERS - 1
    assert (_residuals(xy, few) == parallax.UNKNOWN).all()
    visible[NEAR] = False
    near, going = parallax.parallax_residual(xy, visible, STILL, [NEAR, GOING], HW)
    assert near == parallax.UNKNOWN < going
    assert (_residuals(xy[:, :1]) == 0).all(), "one frame shows no motion at all"
    assert _residuals(xy, groups=[]).shape == (0,)


@pytest.mark.parametrize("across_px", [0.0, 1e-9])
@pytest.mark.parametrize("along_px", [0.0, 1.0])
def test_a_line_or_a_point_is_no_plane(along_px: float, across_px: float) -> None:
    xy = plane_scene()
    direction = np.array([along_px, across_px])
    xy[STILL] = 50 + np.arange(200)[:, None, None] * direction * np.ones((1, FRAMES, 1))
    assert np.isfinite(_residuals(xy)).all()


def test_points_that_the_homography_takes_behind_the_camera_do_not_count() -> None:
    xy = plane_scene(translation=9)
    xy[NEAR] += 4000
    assert np.isfinite(_residuals(xy)).all()
