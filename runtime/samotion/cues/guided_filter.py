"""Masks drawn to the edges of the picture by a guided filter (He, Sun and Tang, ECCV 2010);
docs/method.md, section 7.8.
"""

from __future__ import annotations

import cv2
import numpy as np

from samotion.geometry import box_around

LONG_SIDE_PX = 304  # frames are filtered at most this large
RADIUS = 0.0175  # of the frame's long side: how far from the mask's outline an edge may be
RADIUS_OF_SIZE = 0.3  # of the square root of the mask's area, at most
# the filter's regularisation: a variance of colours in [0,1] below this is no edge. 2e-3 costs
# 0.004 of J on DAVIS
EPSILON = 3e-4
RIDGE = np.diag([EPSILON, EPSILON, EPSILON, 0]).astype(np.float32)


def refine_mask(frame: np.ndarray, logits: np.ndarray) -> np.ndarray:
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


def _fit(picture: np.ndarray, mask: np.ndarray, radius_px: int) -> np.ndarray:
    """(H,W,4): the mask (H,W) as a linear function of the colours (H,W,3) nearby, three slopes
    and the intercept.
    """
    side_px = 2 * radius_px + 1

    def mean(values: np.ndarray) -> np.ndarray:
        """Means (H,W,...) of the square windows around each px."""
        layers = values.reshape(*mask.shape, -1)
        return cv2.blur(layers, (side_px, side_px)).reshape(values.shape)

    with_one = np.dstack([picture, np.ones_like(mask)])
    left = mean(with_one[..., None] * with_one[..., None, :])
    right = mean((with_one * mask[..., None])[..., None])
    return mean(np.linalg.solve(left + RIDGE, right))[..., 0]
