"""Masks drawn to the edges of the picture by a guided filter (He, Sun and Tang, ECCV 2010).

A small SAM 2 answers with a logit per 4 px of its own 448, that is 8 px of 854: what is finer, the
picture has to say.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
LONG_SIDE_PX = 456  # frames are filtered at most this large
RADIUS = 0.0175  # of the frame's long side: how far from the mask's outline an edge may be
RADIUS_OF_SIZE = 0.3  # of the square root of the mask's area, at most
# variance of colours in [0,1] that counts as an edge; 2e-3 costs 0.004 of J on DAVIS
FLATTEST = 3e-4
SURE = 1.0  # logits beyond this are of one mind


def snap(frame: Array, logits: Array) -> Array:
    """Logits (H,W) float32 of a mask, positive on it, as a filtered copy in about [-1,1] that ends
    where colours do.

    `frame` (H,W,3) uint8. Where the mask is farther than two radii away the answer is -1.
    """
    on = logits > 0
    if not on.any():
        return logits
    radius_px = max(
        1.0, min(RADIUS * max(on.shape), RADIUS_OF_SIZE * float(np.sqrt(np.count_nonzero(on))))
    )
    place = _around(on, int(2 * radius_px) + 2)
    scale = min(1.0, LONG_SIDE_PX / max(on.shape))
    picture, mask = frame[place].astype(np.float32) / 255, np.tanh(logits[place] / SURE)
    height, width = mask.shape
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small_picture, small_mask = (
        cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (picture, mask)
    )
    linear = cv2.resize(
        _fit(small_picture, small_mask, max(1, round(radius_px * scale))), (width, height)
    )
    snapped = np.full_like(logits, -1)
    snapped[place] = (linear[..., :3] * picture).sum(axis=-1) + linear[..., 3]
    return snapped


def _around(on: Array, margin_px: int) -> tuple[slice, slice]:
    """The part of a frame that holds a mask (H,W) bool and so many px around it."""
    spans = (np.flatnonzero(on.any(axis=1 - axis)) for axis in (0, 1))
    top, left = (
        slice(max(0, int(span[0]) - margin_px), int(span[-1]) + 1 + margin_px) for span in spans
    )
    return top, left


def _fit(picture: Array, mask: Array, radius_px: int) -> Array:
    """(H,W,4): the mask (H,W) as a linear function of the colours (H,W,3) nearby, three slopes
    and what is added.
    """

    def mean(values: Array) -> Array:
        return np.asarray(cv2.blur(values, (2 * radius_px + 1,) * 2))

    colour, level = mean(picture), mean(mask)
    r, g, b = cv2.split(picture)
    squares = np.dstack(
        [mean(cv2.merge([r * r, r * g, r * b, g * g])), mean(cv2.merge([g * b, b * b]))]
    )
    of_means = [
        colour[..., i] * colour[..., j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    ]
    rr, rg, rb, gg, gb, bb = np.moveaxis(squares - np.dstack(of_means), -1, 0)
    rr, gg, bb = rr + FLATTEST, gg + FLATTEST, bb + FLATTEST
    with_mask = mean(picture * mask[..., None]) - colour * level[..., None]
    of_r = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb  # cofactors, a symmetric matrix
    of_g = of_r[1], rr * bb - rb * rb, rb * rg - rr * gb
    of_b = of_r[2], of_g[2], rr * gg - rg * rg
    determinant = rr * of_r[0] + rg * of_r[1] + rb * of_r[2]
    slopes = np.dstack(
        [
            sum(row[i] * with_mask[..., i] for i in range(3)) / determinant
            for row in (of_r, of_g, of_b)
        ]
    )
    return mean(np.dstack([slopes, level - (slopes * colour).sum(axis=-1)]))
