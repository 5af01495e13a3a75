"""Plane residuals: parallax in front of a plane explains a still object, not a moving one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, GOING, HW, NEAR, STILL, plane_scene
from samotion.cues import parallax


def _ratios(
    xy: np.ndarray, still: np.ndarray = STILL, groups: list[np.ndarray] | None = None
) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    groups = [NEAR, GOING] if groups is None else groups
    return parallax.plane_residual_ratio(xy, visible, still, groups, HW)


def test_parallax_explains_a_near_object_and_not_a_moving_one() -> None:
    near, going = _ratios(plane_scene())
    assert near < -1.5 and -0.5 < going <= 0


@pytest.mark.parametrize("rotation", [0.0, 0.1])
def test_a_camera_without_translation_explains_no_motion(rotation: float) -> None:
    xy = plane_scene(translation=0, rotation=rotation)
    assert (_ratios(xy, groups=[GOING]) > -0.1).all()


def test_tracks_off_the_plane_are_outliers_of_its_homography() -> None:
    every = np.ones(240, bool)
    np.testing.assert_allclose(_ratios(plane_scene(), every), _ratios(plane_scene()), atol=0.1)


@pytest.mark.parametrize("of_assumed", [0.7, 1.35])
def test_the_focal_length_need_not_be_known(of_assumed: float) -> None:
    focal_px = of_assumed * parallax.FOCAL * max(HW)
    near, going = _ratios(plane_scene(focal_px=focal_px))
    assert near < -1.5 and -0.5 < going <= 0


def test_without_a_plane_or_a_visible_track_the_ratio_is_unknown() -> None:
    xy, visible = plane_scene(), np.ones((240, FRAMES), bool)
    few = np.arange(240) < parallax.MIN_INLIERS - 1
    assert (_ratios(xy, few) == parallax.UNKNOWN).all()
    visible[NEAR] = False
    near, going = parallax.plane_residual_ratio(xy, visible, STILL, [NEAR, GOING], HW)
    assert near == parallax.UNKNOWN < going
    assert (_ratios(xy[:, :1]) == 0).all(), "one frame shows no motion at all"
    assert _ratios(xy, groups=[]).shape == (0,)


@pytest.mark.parametrize("across_px", [0.0, 1e-9])
@pytest.mark.parametrize("along_px", [0.0, 1.0])
def test_a_line_or_a_point_is_no_plane(along_px: float, across_px: float) -> None:
    xy = plane_scene()
    direction = np.array([along_px, across_px])
    xy[STILL] = 50 + np.arange(200)[:, None, None] * direction * np.ones((1, FRAMES, 1))
    assert np.isfinite(_ratios(xy)).all()


def test_points_that_the_homography_takes_behind_the_camera_do_not_count() -> None:
    xy = plane_scene(translation=9)
    xy[NEAR] += 4000
    assert np.isfinite(_ratios(xy)).all()
