"""What stands before a plane goes as the camera makes it; what goes by itself does not."""

from __future__ import annotations

import numpy as np
import pytest
from samotion import parallax

HW, FRAMES = (192, 256), 24
FOCAL_PX = 256.0
TIME = np.arange(FRAMES) / (FRAMES - 1)
PLANE, NEAR, GOING = np.arange(200), np.arange(200, 220), np.arange(220, 240)
STILL = np.arange(240) < 200


def _seen(way: float = 1.0, turn: float = 0.05) -> np.ndarray:
    """Tracks (240,T,2) of a slanted wall, of a thing before it and of a mover; the camera goes along and turns."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-6, 6, 240), rng.uniform(-4, 4, 240)
    points = np.stack([x, y, 10 + 0.3 * x], -1)
    for which, centre in ((NEAR, (-1.0, 0.5, 6.0)), (GOING, (1.5, -0.5, 7.0))):
        points[which] = np.array(centre) + rng.uniform(-0.6, 0.6, (20, 3)) * [1, 1, 0.1]
    frames = []
    for t in TIME:
        here = points - way * np.array([1.5 * t, 0.4 * np.sin(4 * t), 0.8 * t])
        here[GOING] += [0.2 * np.sin(9 * t), 1.5 * t, 0]
        cos, sin = np.cos(turn * t), np.sin(turn * t)
        here = here @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]).T
        frames.append(FOCAL_PX * here[:, :2] / here[:, 2:] + np.array(HW[::-1]) / 2)
    return np.stack(frames, axis=1) + rng.normal(0, 0.05, (240, FRAMES, 2))


def _ratios(xy: np.ndarray, still: np.ndarray = STILL, sets: list[np.ndarray] | None = None) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    return parallax.unexplained(xy, visible, still, [NEAR, GOING] if sets is None else sets, HW)


def test_a_near_thing_is_explained_and_a_mover_is_not() -> None:
    near, going = _ratios(_seen())
    assert near < -1.5 and -0.5 < going <= 0


@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_a_camera_that_stays_explains_no_motion(turn: float) -> None:
    assert (_ratios(_seen(way=0, turn=turn), sets=[GOING]) > -0.1).all()


def test_tracks_that_do_not_show_the_plane_do_not_hinder() -> None:
    every = np.ones(240, bool)
    np.testing.assert_allclose(_ratios(_seen(), every), _ratios(_seen()), atol=0.1)


def test_the_focal_length_need_not_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for focal in (0.75, 1.4):
        monkeypatch.setattr(parallax, "FOCAL", focal)
        near, going = _ratios(_seen())
        assert near < -0.8 < going


def test_without_a_plane_or_a_track_nothing_is_known() -> None:
    xy, visible = _seen(), np.ones((240, FRAMES), bool)
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
        xy = _seen()
        xy[STILL] = 50 + np.arange(200)[:, None, None] * np.array([along_px, across_px]) * np.ones((1, FRAMES, 1))
        assert np.isfinite(_ratios(xy)).all()


def test_tracks_that_the_plane_would_take_behind_the_camera_say_nothing() -> None:
    xy = _seen(way=9)
    xy[NEAR] += 4000
    assert np.isfinite(_ratios(xy)).all()
