"""Masks end where the picture has guided_filter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.overlap import iou
from samotion.cues import guided_filter
from samotion.geometry import box_around

HW = (240, 320)


def _disc(
    radius_px: float, hw: tuple[int, int] = HW, at: tuple[float, float] = (0.5, 0.5)
) -> np.ndarray:
    y, x = np.mgrid[: hw[0], : hw[1]]
    return (x - at[1] * hw[1]) ** 2 + (y - at[0] * hw[0]) ** 2 < radius_px**2


def _picture(disc: np.ndarray) -> np.ndarray:
    """A reddish disc before a greenish ground, both with grain."""
    grain = np.random.default_rng(0).normal(0, 6, (*disc.shape, 3))
    return (
        (np.where(disc[..., None], (170, 90, 80), (90, 140, 90)) + grain)
        .clip(0, 255)
        .astype(np.uint8)
    )


def _coarse(mask: np.ndarray, cell_px: int = 10) -> np.ndarray:
    """Logits as a net that answers per cell gives them."""
    height, width = mask.shape
    cells = cv2.resize(
        mask.astype(np.float32), (width // cell_px, height // cell_px), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(8 * (cells - 0.5), (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("hw", [HW, (720, 960)])
def test_a_coarse_mask_is_drawn_to_the_edge(hw: tuple[int, int]) -> None:
    disc = _disc(hw[0] / 8, hw)
    off = _coarse(np.roll(disc, hw[0] // 80, axis=1), hw[0] // 24)
    filtered = guided_filter.refine_mask(_picture(disc), off)
    assert filtered.shape == hw and filtered.dtype == np.float32
    before, after = iou(off > 0, disc), iou(filtered > 0, disc)
    assert after > 0.95 > 0.9 > before


def test_where_the_picture_is_flat_the_mask_stays() -> None:
    disc = _disc(30)
    filtered = guided_filter.refine_mask(np.full((*HW, 3), 128, np.uint8), _coarse(disc))
    assert iou(filtered > 0, _coarse(disc) > 0) > 0.95


def test_what_is_far_from_the_mask_and_looks_alike_stays_out() -> None:
    disc, twin = _disc(20, at=(0.5, 0.3)), _disc(20, at=(0.5, 0.7))
    filtered = guided_filter.refine_mask(_picture(disc | twin), _coarse(disc))
    assert (filtered[twin] == -1).all() and iou(filtered > 0, disc) > 0.95


def test_masks_at_the_border_and_tiny_ones_hold() -> None:
    for disc in (_disc(25, at=(0.0, 1.0)), _disc(1.2), np.ones(HW, bool)):
        filtered = guided_filter.refine_mask(
            _picture(disc), np.where(disc, 5, -5).astype(np.float32)
        )
        assert np.isfinite(filtered).all() and iou(filtered > 0, disc) > 0.6


def test_nothing_stays_nothing() -> None:
    nothing = np.full(HW, -3, np.float32)
    np.testing.assert_array_equal(guided_filter.refine_mask(_picture(_disc(9)), nothing), nothing)


def test_the_fit_is_the_mean_of_least_squares_in_the_windows_around() -> None:
    rng = np.random.default_rng(1)
    picture, mask = rng.random((9, 9, 3), np.float32), rng.random((9, 9), np.float32)
    every = [_in_window(picture, mask, y, x) for y in range(2, 7) for x in range(2, 7)]
    np.testing.assert_allclose(
        guided_filter._fit(picture, mask, 2)[4, 4], np.mean(every, axis=0), rtol=1e-2, atol=1e-3
    )


def _in_window(picture: np.ndarray, mask: np.ndarray, y: int, x: int) -> np.ndarray:
    """Slopes and intercept in the 5 x 5 px around a px."""
    part = (slice(y - 2, y + 3), slice(x - 2, x + 3))
    colours, wanted = (
        picture[part].reshape(-1, 3).astype(np.float64),
        mask[part].ravel().astype(np.float64),
    )
    spread = np.cov(colours.T, bias=True) + guided_filter.EPSILON * np.eye(3)
    slopes = np.linalg.solve(spread, ((colours - colours.mean(0)) * wanted[:, None]).mean(0))
    return np.append(slopes, wanted.mean() - slopes @ colours.mean(0))


@pytest.mark.parametrize(
    ("hw", "radius_px", "wanted"),
    [
        (HW, 4, (-0.5152, 0.5847, 0.2379)),
        ((60, 80), 20, (0.3156, 0.8641, 0.079)),
        ((480, 640), 90, (0.513, 0.8312, 0.0618)),
    ],
)
def test_masks_are_filtered_with_the_numbers_chosen(
    hw: tuple[int, int], radius_px: float, wanted: tuple[float, float, float]
) -> None:
    disc = _disc(radius_px, hw)
    filtered = guided_filter.refine_mask(_picture(disc), _coarse(np.roll(disc, 2, axis=1), 4))
    part = filtered[box_around(disc.astype(np.uint8), 2)]
    told = part.mean(), part.std(), np.abs(np.diff(part, axis=1)).mean()
    np.testing.assert_allclose(told, wanted, atol=5e-4)


def test_a_speck_in_the_corner_of_a_long_picture_holds() -> None:
    picture = np.zeros((60, 6000, 3), np.uint8)
    logits = np.full(picture.shape[:2], -5, np.float32)
    logits[0, 0] = 5
    assert np.isfinite(guided_filter.refine_mask(picture, logits)).all()
