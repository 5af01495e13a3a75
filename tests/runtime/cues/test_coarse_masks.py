"""Coarse masks: tracks inside an object draw it, and errors stay local."""

from __future__ import annotations

import numpy as np
from helpers.overlap import iou
from samotion.cues.coarse_masks import LOGIT_MAX, splat

HW = (240, 426)


def _tracks(spacing_px: int) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = np.meshgrid(
        np.arange(spacing_px / 2, HW[1], spacing_px), np.arange(spacing_px / 2, HW[0], spacing_px)
    )
    xy = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)
    return xy, _inside(xy[:, 0], xy[:, 1])


def _inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x - 200) / 90) ** 2 + ((y - 120) / 60) ** 2 < 1


def _drawn(xy: np.ndarray, positive: np.ndarray) -> np.ndarray:
    return splat(xy, positive[None], HW)[0]


def _truth() -> np.ndarray:
    ys, xs = np.mgrid[: HW[0], : HW[1]]
    return _inside(xs, ys)


def test_dense_tracks_draw_the_object() -> None:
    for spacing_px, least in ((8, 0.93), (16, 0.85), (30, 0.7)):
        logits = _drawn(*_tracks(spacing_px))
        assert logits.shape == HW and logits.dtype == np.float32
        assert iou(logits > 0, _truth()) > least


def test_wrong_labels_stay_local() -> None:
    xy, positive = _tracks(12)
    wrong = np.random.default_rng(0).random(len(xy)) < 0.05
    assert iou(_drawn(xy, positive ^ wrong) > 0, _truth()) > 0.75


def test_places_without_tracks_follow_the_nearest_ones() -> None:
    xy, positive = _tracks(12)
    hole = np.hypot(xy[:, 0] - 200, xy[:, 1] - 120) < 35
    assert _drawn(xy[~hole], positive[~hole])[120, 200] > 0.7 * LOGIT_MAX


def test_nothing_positive_gives_nothing() -> None:
    xy, positive = _tracks(16)
    assert (_drawn(xy, np.zeros_like(positive)) < -0.99 * LOGIT_MAX).all()
    assert (_drawn(xy[:0], positive[:0]) == -LOGIT_MAX).all()


def test_points_outside_the_frame_do_not_count() -> None:
    xy, positive = _tracks(16)
    more = np.concatenate([xy, [[-50.0, 10.0], [10.0, 5000.0]]]).astype(np.float32)
    labels = np.concatenate([positive, [True, True]])
    assert np.abs(_drawn(more, labels) - _drawn(xy, positive)).max() == 0
