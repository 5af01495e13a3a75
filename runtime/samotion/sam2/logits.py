"""Mask logits of SAM 2: from the decoder's size to the frame's, and holes filled."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from samotion.geometry import box_around

# px of the decoder's mask (a quarter of SAM 2's image side); build_sam.py's fill_hole_area
HOLE_AREA = 8
FILLED = np.float32(0.1)  # the logit of a filled hole: just inside
MASK_LOGIT = 6.0  # of a mask that is a prompt
# a frame (H,W,3), the logits (H,W) of a mask on it -> better logits
Refine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def fill_holes(mask: np.ndarray, area: int) -> np.ndarray:
    """Logits (M,M) with holes of at most `area` px (8-connected) raised to just inside."""
    if area <= 0:
        return mask
    outside = (mask <= 0).view(np.uint8)
    # what goes on outside of this has more px than `area` in it, so that it is no hole
    around = box_around(1 - outside, area + 1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside[around], connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False  # label 0 is the mask itself
    if not small.any():
        return mask
    filled = mask.copy()
    filled[around][small[labels]] = FILLED
    return filled


def to_frame(mask: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Logits (M,M) at the frame's size, bilinearly."""
    return cv2.resize(mask, (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)
