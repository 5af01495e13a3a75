"""Coarse masks: tracks inside an object draw it, and errors stay local."""

from __future__ import annotations

import numpy as np
import pytest
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
    outside = [[-50.0, 10.0], [10.0, 5000.0], [HW[1], 10.0]]
    more = np.concatenate([xy, outside]).astype(np.float32)
    labels = np.concatenate([positive, [True] * 3])
    assert np.abs(_drawn(more, labels) - _drawn(xy, positive)).max() == 0


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(60, (-5.0058, 2.6117, 0.0093, 0.0119)), (40_000, (-5.1441, 2.6354, 0.0486, 0.0467))],
)
def test_masks_are_drawn_as_those_that_the_net_was_trained_on(
    count: int, wanted: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(3)
    xy = rng.uniform(0, HW[::-1], (count, 2))
    xy[1:9] = xy[0]  # several in a cell
    shares = (np.hypot(*(xy - xy[0]).T) < 60) * rng.uniform(0.5, 1, count)
    logits = _drawn(xy, shares)
    down, across = (np.abs(np.diff(logits, axis=axis)).mean() for axis in (0, 1))
    np.testing.assert_allclose((logits.mean(), logits.std(), down, across), wanted, atol=1e-3)


def test_a_picture_of_one_row_of_cells_is_drawn() -> None:
    for hw in ((8, 800), (800, 8)):
        assert splat(np.zeros((0, 2)), np.zeros((1, 0)), hw).shape == (1, *hw)
