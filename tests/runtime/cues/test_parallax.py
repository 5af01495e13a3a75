"""What stands before a plane goes as the camera makes it; what goes by itself does not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, GOING, HW, NEAR, STILL, plane_scene
from samotion.cues import parallax


def _ratios(
    xy: np.ndarray, still: np.ndarray = STILL, sets: list[np.ndarray] | None = None
) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    return parallax.unexplained(xy, visible, still, [NEAR, GOING] if sets is None else sets, HW)


def test_a_near_thing_is_explained_and_a_mover_is_not() -> None:
    near, going = _ratios(plane_scene())
    assert near < -1.5 and -0.5 < going <= 0


@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_a_camera_that_stays_explains_no_motion(turn: float) -> None:
    assert (_ratios(plane_scene(way=0, turn=turn), sets=[GOING]) > -0.1).all()


def test_tracks_that_do_not_show_the_plane_do_not_hinder() -> None:
    every = np.ones(240, bool)
    np.testing.assert_allclose(_ratios(plane_scene(), every), _ratios(plane_scene()), atol=0.1)


def test_the_focal_length_need_not_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for focal in (0.75, 1.4):
        monkeypatch.setattr(parallax, "FOCAL", focal)
        near, going = _ratios(plane_scene())
        assert near < -0.8 < going


def test_without_a_plane_or_a_track_nothing_is_known() -> None:
    xy, visible = plane_scene(), np.ones((240, FRAMES), bool)
    few = np.arange(240) < parallax.FEWEST - 1
    assert (_ratios(xy, few) == parallax.UNKNOWN).all()
    visible[NEAR] = False
    near, going = parallax.unexplained(xy, visible, STILL, [NEAR, GOING], HW)
    assert near == parallax.UNKNOWN < going
    assert (_ratios(xy[:, :1]) == 0).all(), "one frame shows no motion at all"
    assert _ratios(xy, sets=[]).shape == (0,)


@pytest.mark.parametrize("across_px", [0.0, 1e-9])
def test_a_line_or_a_point_is_no_plane(across_px: float) -> None:
    for along_px in (0.0, 1.0):
        xy = plane_scene()
        xy[STILL] = 50 + np.arange(200)[:, None, None] * np.array([along_px, across_px]) * np.ones(
            (1, FRAMES, 1)
        )
        assert np.isfinite(_ratios(xy)).all()


def test_tracks_that_the_plane_would_take_behind_the_camera_say_nothing() -> None:
    xy = plane_scene(way=9)
    xy[NEAR] += 4000
    assert np.isfinite(_ratios(xy)).all()
