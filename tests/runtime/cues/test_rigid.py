"""Rank residuals: parallax lies in the subspace of still tracks, independent motion does not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.camera_tracks import always_visible
from samotion.cues import rigid

FRAMES = 24
STILL = np.arange(130) < 100


def _scene() -> np.ndarray:
    """Tracks (130,T,2) before a camera that drifts and sways: 100 of a slanted ground, 20 of a
    still object in front of it, 10 that move by themselves.
    """
    rng = np.random.default_rng(0)
    depth = np.concatenate([np.zeros(100), np.full(20, 2.5), np.full(10, 1.5)])
    start = rng.uniform(20, 230, (130, 2))
    depth[:100] = 1 + start[:100, 1] / 230
    time = np.arange(FRAMES)
    camera = np.stack([1.5 * time, 8 * np.sin(time / 5)], axis=-1)
    xy = start[:, None] - camera / depth[:, None, None]
    xy[120:] += 8 * np.stack([np.cos(time / 2), np.sin(time / 3)], axis=-1)
    return (xy + rng.normal(0, 0.05, xy.shape)).astype(np.float32)


@pytest.mark.parametrize("hidden", [0, 1])
def test_parallax_has_a_low_ratio_and_independent_motion_a_high_one(hidden: int) -> None:
    xy = _scene()
    tracks = always_visible(xy)
    tracks.visible[::3, 5:7] = not hidden
    ratios = rigid.rank_residual_ratio(xy, tracks, STILL)
    assert ratios.shape == (130, 3) and np.isfinite(ratios).all()
    rank_four = ratios[:, 1]
    assert np.median(rank_four[120:]) > 2 > 1 > np.median(rank_four[100:120])
    assert np.abs(np.median(rank_four[:100])) < 0.3


def test_too_few_still_tracks_give_nan() -> None:
    xy = _scene()
    ratios = rigid.rank_residual_ratio(xy, always_visible(xy), np.arange(130) < 19)
    assert np.isnan(ratios).all()


def test_short_clips_have_ratios_and_invisible_tracks_nan() -> None:
    xy = _scene()[:, :4]
    tracks = always_visible(xy)
    tracks.visible[3] = False
    ratios = rigid.rank_residual_ratio(xy, tracks, STILL)
    assert np.isnan(ratios[3]).all()
    assert np.isfinite(np.delete(ratios, 3, axis=0)).all()
