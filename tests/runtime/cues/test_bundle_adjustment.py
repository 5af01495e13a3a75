"""What has a place in a still scene goes as the camera makes it; what goes by itself has none."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import FRAMES, HW, TIME
from samotion.cues import bundle_adjustment as bundle

FOCAL_PX = 200.0
STILL, NEAR, GOING = np.arange(120), np.arange(120, 140), np.arange(140, 160)
SHOWS = np.arange(160) < 120
NOISE = 0.1 / FOCAL_PX


def _cameras(way: float = 1.0, turn: float = 0.05, zoom: float = 0.0) -> bundle.Cameras:
    start = bundle.Cameras(
        np.tile(np.eye(3), (FRAMES, 1, 1)), np.zeros((FRAMES, 3)), np.zeros(FRAMES)
    )
    ways = way * np.column_stack([1.5 * TIME, 0.4 * np.sin(4 * TIME), -0.5 * TIME])
    turns = turn * np.column_stack([np.sin(7 * TIME), TIME, 0 * TIME])
    return bundle.moved(start, np.column_stack([turns, ways, zoom * TIME]))


def _seen(cameras: bundle.Cameras, noise_px: float = 0.1) -> np.ndarray:
    """Tracks (160,T,2), px, of things at all depths, of one thing before most of them and of a
    mover.
    """
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.6, 0.6, (160, 2)), 1 / rng.uniform(4, 20, 160)])
    for which, centre in ((NEAR, (-0.1, 0.05)), (GOING, (0.15, -0.05))):
        points[which] = np.column_stack(
            [np.array(centre) + rng.uniform(-0.08, 0.08, (20, 2)), np.full(20, 1 / 6)]
        )
    rays = bundle.see(cameras, points)
    rays[GOING] += 0.12 * np.column_stack([np.sin(9 * TIME), TIME])
    return rays * FOCAL_PX + np.array(HW[::-1]) / 2 + rng.normal(0, noise_px, rays.shape)


def _ratios(
    xy: np.ndarray, shows: np.ndarray = SHOWS, sets: list[np.ndarray] | None = None
) -> np.ndarray:
    visible = np.ones(xy.shape[:2], bool)
    return bundle.unexplained(xy, visible, shows, [NEAR, GOING] if sets is None else sets, HW)


@pytest.mark.parametrize("zoom", [0.0, 0.1])
def test_a_near_thing_is_explained_without_any_plane_and_a_mover_is_not(zoom: float) -> None:
    near, going = _ratios(_seen(_cameras(zoom=zoom)))
    assert near < -1.5 and -0.7 < going <= 0


def test_the_focal_length_need_not_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for focal in (0.6, 1.3):
        monkeypatch.setattr(bundle, "FOCAL", focal)
        near, going = _ratios(_seen(_cameras(turn=0.2)))
        assert near < -1.5 and -0.7 < going <= 0


def test_a_camera_that_only_turns_explains_no_motion() -> None:
    assert _ratios(_seen(_cameras(way=0)), sets=[GOING])[0] > -0.3


def test_a_few_tracks_of_a_mover_among_what_seems_still_do_not_hinder() -> None:
    xy = _seen(_cameras())
    np.testing.assert_allclose(
        _ratios(xy, np.arange(160) < 143), _ratios(xy, np.arange(160) < 140), atol=0.05
    )


def test_tracks_come_and_go() -> None:
    xy, visible = _seen(_cameras()), np.random.default_rng(1).random((160, FRAMES)) > 0.3
    xy[~visible] = -1000
    near, going = bundle.unexplained(xy, visible, SHOWS, [NEAR, GOING], HW)
    assert near < -1.5 and going > -0.7


def test_long_clips_are_looked_at_in_a_few_windows() -> None:
    for frames in (1, 2, 23, 24, 25, 36, 60, 1000):
        windows = bundle._windows(frames)
        assert len(windows) <= bundle.MOST and windows[0].start == 0 and windows[-1].stop == frames
        assert {one.stop - one.start for one in windows} == {min(frames, bundle.WINDOW)}


def test_where_no_camera_is_found_nothing_is_known() -> None:
    xy, unknown = _seen(_cameras()), [bundle.UNKNOWN] * 2
    restless = xy + np.cumsum(np.random.default_rng(1).normal(0, 2, xy.shape), axis=1)
    assert _ratios(restless).tolist() == unknown
    assert _ratios(xy, np.arange(160) < bundle.FEWEST - 1).tolist() == unknown
    assert _ratios(xy[:, : bundle.SHORTEST - 1]).tolist() == unknown
    assert _ratios(xy, sets=[]).tolist() == []
    visible = np.ones(xy.shape[:2], bool)
    visible[NEAR, bundle.SHORTEST - 1 :] = False
    assert bundle.unexplained(xy, visible, SHOWS, [NEAR], HW).tolist() == unknown[:1]


def test_cameras_leave_what_the_tracks_are_off() -> None:
    rays = (_seen(_cameras(), noise_px=0.1)[STILL] - np.array(HW[::-1]) / 2) / FOCAL_PX
    cameras, left = bundle.adjust(rays, np.ones(rays.shape[:2], bool), NOISE)
    assert left < 1.7  # Cauchy's loss of two Gaussian numbers of spread one, less what was fitted
    turned = np.einsum("tij,tkj->tik", cameras.rotation, _cameras().rotation)
    apart = np.arccos(((np.trace(turned, axis1=1, axis2=2) - 1) / 2).clip(-1, 1))
    assert np.ptp(apart) < 0.01


def test_slopes_are_those_of_what_is_seen() -> None:
    cameras, step = _cameras(zoom=0.2), 1e-6
    points = np.column_stack(
        [np.random.default_rng(2).uniform(-0.5, 0.5, (9, 2)), np.linspace(0, 0.2, 9)]
    )
    by_camera, by_point = bundle.slopes(cameras, points)
    for k in range(7):
        by = np.zeros((FRAMES, 7))
        by[:, k] = step
        change = (
            bundle.see(bundle.moved(cameras, by), points) - bundle.see(cameras, points)
        ) / step
        np.testing.assert_allclose(by_camera[..., k], change, atol=1e-4)
    for k in range(3):
        there = points + step * (np.arange(3) == k)
        change = (bundle.see(cameras, there) - bundle.see(cameras, points)) / step
        np.testing.assert_allclose(by_point[..., k], change, atol=1e-4)
