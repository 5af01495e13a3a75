"""Scene residuals: a still position explains a still object's motion, not a moving one's."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, HW
from helpers.space_tracks import GOING, NEAR, STILL, space_cameras, space_scene
from samotion.cues import scene_residual


def _ratios(
    xy: np.ndarray, still: np.ndarray = STILL, groups: list[np.ndarray] | None = None
) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    groups = [NEAR, GOING] if groups is None else groups
    return scene_residual.scene_residual_ratio(xy, visible, still, groups, HW)


@pytest.mark.parametrize("zoom", [0.0, 0.1])
def test_a_still_position_explains_a_near_object_and_not_a_moving_one(zoom: float) -> None:
    near, going = _ratios(space_scene(space_cameras(zoom=zoom)))
    assert near < -1.5 and -0.7 < going <= 0


@pytest.mark.parametrize("of_assumed", [0.6, 1.3])
def test_the_focal_length_need_not_be_known(of_assumed: float) -> None:
    focal_px = of_assumed * scene_residual.FOCAL * max(HW)
    near, going = _ratios(space_scene(space_cameras(rotation=0.2), focal_px=focal_px))
    assert near < -1.5 and -0.7 < going <= 0


def test_a_camera_without_translation_explains_no_motion() -> None:
    xy = space_scene(space_cameras(translation=0))
    assert _ratios(xy, groups=[GOING])[0] > -0.3


def test_a_few_moving_tracks_among_the_still_ones_are_outliers() -> None:
    xy = space_scene(space_cameras())
    with_movers, without = np.arange(160) < 143, np.arange(160) < 140
    np.testing.assert_allclose(_ratios(xy, with_movers), _ratios(xy, without), atol=0.05)


def test_positions_of_invisible_tracks_do_not_count() -> None:
    xy = space_scene(space_cameras())
    visible = np.random.default_rng(1).random((160, FRAMES)) > 0.3
    xy[~visible] = -1000
    near, going = scene_residual.scene_residual_ratio(xy, visible, STILL, [NEAR, GOING], HW)
    assert near < -1.5 and going > -0.7


@pytest.mark.parametrize("frames", [1, 2, 23, 24, 25, 36, 60, 1000])
def test_few_windows_of_one_length_span_the_clip(frames: int) -> None:
    windows = scene_residual._windows(frames)
    assert len(windows) <= scene_residual.MAX_WINDOWS
    assert windows[0].start == 0 and windows[-1].stop == frames
    lengths = {window.stop - window.start for window in windows}
    assert lengths == {min(frames, scene_residual.WINDOW_FRAMES)}


def test_where_no_cameras_fit_the_ratio_is_unknown() -> None:
    xy, unknown = space_scene(space_cameras()), [scene_residual.UNKNOWN] * 2
    walks = np.cumsum(np.random.default_rng(1).normal(0, 2, xy.shape), axis=1)
    assert _ratios(xy + walks).tolist() == unknown
    few = np.arange(160) < scene_residual.MIN_STILL_TRACKS - 1
    assert _ratios(xy, few).tolist() == unknown
    assert _ratios(xy[:, : scene_residual.MIN_VISIBLE_FRAMES - 1]).tolist() == unknown
    assert _ratios(xy, groups=[]).tolist() == []


def test_a_group_that_is_hardly_visible_is_unknown() -> None:
    xy = space_scene(space_cameras())
    visible = np.ones(xy.shape[:2], bool)
    visible[NEAR, scene_residual.MIN_VISIBLE_FRAMES - 1 :] = False
    ratios = scene_residual.scene_residual_ratio(xy, visible, STILL, [NEAR], HW)
    assert ratios.tolist() == [scene_residual.UNKNOWN]
