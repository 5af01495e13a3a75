"""Parallax is what a still scene shows; own motion is not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import always_visible
from samotion.cues import rigid

FRAMES = 24


def _scene(own_px: float) -> np.ndarray:
    """Tracks (130,T,2) before a camera that drifts and sways: 100 of a slanted ground, 20 near,
    10 that go.
    """
    rng = np.random.default_rng(0)
    depth = np.concatenate([np.zeros(100), np.full(20, 2.5), np.full(10, 1.5)])
    start = rng.uniform(20, 230, (130, 2))
    depth[:100] = 1 + start[:100, 1] / 230
    time = np.arange(FRAMES)
    camera = np.stack([1.5 * time, 8 * np.sin(time / 5)], axis=-1)
    xy = start[:, None] - camera / depth[:, None, None]
    xy[120:] += own_px * np.stack([np.cos(time / 2), np.sin(time / 3)], axis=-1) * 4
    return (xy + rng.normal(0, 0.05, xy.shape)).astype(np.float32)


@pytest.mark.parametrize("hidden", [0, 1])
def test_what_stands_out_by_parallax_is_explained_and_what_goes_is_not(hidden: int) -> None:
    xy = _scene(own_px=2)
    tracks = always_visible(xy)
    tracks.visible[::3, 5:7] = not hidden
    found = rigid.unexplained(xy, tracks, np.arange(130) < 100)
    assert found.shape == (130, 3) and np.isfinite(found).all()
    of_scene = found[:, 1]
    assert np.median(of_scene[120:]) > 2 > 1 > np.median(of_scene[100:120])
    assert np.abs(np.median(of_scene[:100])) < 0.3


def test_without_enough_still_tracks_nothing_is_said() -> None:
    xy = _scene(own_px=2)
    assert np.isnan(rigid.unexplained(xy, always_visible(xy), np.arange(130) < 19)).all()


def test_short_clips_and_unseenalways_visible() -> None:
    xy = _scene(own_px=2)[:, :4]
    tracks = always_visible(xy)
    tracks.visible[3] = False
    found = rigid.unexplained(xy, tracks, np.arange(130) < 100)
    assert np.isnan(found[3]).all() and np.isfinite(found[np.arange(130) != 3]).all()
