"""Edge features tell surfaces apart by motion and hue, and coarse masks end where they change."""

from __future__ import annotations

import numpy as np
import pytest
from samotion.cues.coarse_masks import coarse_mask
from samotion.cues.edge_features import LONG_SIDE, EdgeFeatures
from samotion.cues.track_flow import optical_flow
from samotion.tracks import resize_for_tracking

HW = (180, 320)
BOX = (slice(60, 130), slice(100, 210))


def _clip(seed: int, step_px: int, tint: int = 0) -> np.ndarray:
    """Two frames of one texture; a box of it moves by `step_px`, and is redder by `tint`."""
    rng = np.random.default_rng(seed)
    coarse = (
        rng.integers(90, 150, (HW[0] // 4, HW[1] // 4, 1)).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    )
    frames = np.stack([coarse, coarse]).astype(np.uint8)
    patch = rng.integers(90, 150, (70, 110, 1)).repeat(3, 2).astype(np.uint8)
    patch[..., 0] += tint
    frames[0][BOX] = patch
    frames[1][BOX[0], slice(100 + step_px, 210 + step_px)] = patch
    return frames


def _features(frames: np.ndarray) -> EdgeFeatures:
    return EdgeFeatures(frames, optical_flow(resize_for_tracking(frames)))


def _labelled(count: int) -> tuple[np.ndarray, np.ndarray]:
    xy = np.random.default_rng(1).uniform(0, 1, (count, 2)) * [HW[1], HW[0]]
    return xy, (xy[:, 1] >= 60) & (xy[:, 1] < 130) & (xy[:, 0] >= 100) & (xy[:, 0] < 210)


def _iou(logits: np.ndarray) -> float:
    truth = np.zeros(HW, bool)
    truth[BOX] = True
    return float(((logits > 0) & truth).sum() / ((logits > 0) | truth).sum())


@pytest.mark.parametrize(("step_px", "tint"), [(6, 0), (0, 55)])
def test_edge_features_sharpen_the_coarse_mask(step_px, tint):
    xy, inside = _labelled(150)
    features = _features(_clip(0, step_px, tint))[0]
    plain = _iou(coarse_mask(xy, inside, HW))
    bilateral = _iou(coarse_mask(xy, inside, HW, features))
    assert bilateral > plain + 0.03


def test_edge_features_fit_any_frame_and_the_last_one_too():
    for hw in ((180, 320), (320, 180), (17, 23), (1, 5)):
        features = _features(np.zeros((2, *hw, 3), np.uint8))
        assert all(
            max(features[t].shape[:2]) == LONG_SIDE and features[t].shape[2] == 4 for t in (0, 1)
        )
    assert np.isfinite(_features(np.zeros((1, 40, 60, 3), np.uint8))[0]).all()


def test_flat_edge_features_change_little():
    xy, inside = _labelled(300)
    flat = np.zeros((72, 128, 4), np.float32)
    assert abs(_iou(coarse_mask(xy, inside, HW, flat)) - _iou(coarse_mask(xy, inside, HW))) < 0.1
    assert (coarse_mask(xy[:0], inside[:0], HW, flat) < 0).all()
