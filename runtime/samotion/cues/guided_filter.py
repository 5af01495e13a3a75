"""Masks drawn to the edges of the picture by a guided filter (He, Sun and Tang, ECCV 2010);
docs/method.md, section 7.8.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from samotion.geometry import box_around

Array = np.ndarray[Any, Any]
LONG_SIDE_PX = 456  # frames are filtered at most this large
RADIUS = 0.0175  # of the frame's long side: how far from the mask's outline an edge may be
RADIUS_OF_SIZE = 0.3  # of the square root of the mask's area, at most
# the filter's regularisation: a variance of colours in [0,1] below this is no edge. 2e-3 costs
# 0.004 of J on DAVIS
EPSILON = 3e-4
# the colours whose products are averaged: red red, red green and so on
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def refine_mask(frame: Array, logits: Array) -> Array:
    """Logits (H,W) float32 of a mask, positive on it, as a filtered copy in about [-1,1] that ends
    where colours do.

    `frame` (H,W,3) uint8. Where the mask is farther than two radii away the answer is -1.
    """
    mask = logits > 0
    if not mask.any():
        return logits
    side_px = float(np.sqrt(np.count_nonzero(mask)))
    radius_px = max(1.0, min(RADIUS * max(mask.shape), RADIUS_OF_SIZE * side_px))
    near = box_around(mask.view(np.uint8), int(2 * radius_px) + 2)
    picture = frame[near].astype(np.float32) / 255
    # fitted to both shrunk
    scale, full = min(1.0, LONG_SIDE_PX / max(mask.shape)), picture.shape[1::-1]
    size = [max(2, round(side * scale)) for side in full]
    small_picture, small_mask = (
        cv2.resize(one, size, interpolation=cv2.INTER_AREA)
        for one in (picture, np.tanh(logits[near]))
    )
    linear = cv2.resize(_fit(small_picture, small_mask, max(1, round(radius_px * scale))), full)
    filtered = np.full_like(logits, -1)
    filtered[near] = (linear[..., :3] * picture).sum(axis=-1) + linear[..., 3]
    return filtered


def _fit(picture: Array, mask: Array, radius_px: int) -> Array:
    """(H,W,4): the mask (H,W) as a linear function of the colours (H,W,3) nearby, three slopes
    and the intercept.
    """
    side_px = 2 * radius_px + 1

    def mean(values: Array) -> Array:
        """Means of the square windows around each px; fastest of one channel at a time."""
        return np.asarray(cv2.blur(values, (side_px, side_px)))

    colours, mean_mask = cv2.split(picture), mean(mask)
    means = [mean(colour) for colour in colours]
    with_mask = [mean(colour * mask) - own * mean_mask for colour, own in zip(colours, means)]
    covariance = [
        mean(colours[i] * colours[j]) - means[i] * means[j] + EPSILON * (i == j) for i, j in PAIRS
    ]
    slopes = _solve(covariance, with_mask)
    intercept = mean_mask - sum(slope * own for slope, own in zip(slopes, means))
    return np.dstack([mean(one) for one in (*slopes, intercept)])


def _solve(covariance: list[Array], right: list[Array]) -> list[Array]:
    """The solutions (H,W) of symmetric 3 x 3 systems, `covariance` by PAIRS, by cofactors."""
    rr, rg, rb, gg, gb, bb = covariance
    of_r = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    of_g = of_r[1], rr * bb - rb * rb, rb * rg - rr * gb
    of_b = of_r[2], of_g[2], rr * gg - rg * rg
    determinant = rr * of_r[0] + rg * of_r[1] + rb * of_r[2]
    return [
        sum(cofactor * one for cofactor, one in zip(cofactors, right)) / determinant
        for cofactors in (of_r, of_g, of_b)
    ]
