"""Parallax: whether the camera's translation explains the motion of a track, as that of a still
point before a plane (Irani and Anandan, 1998); docs/method.md, section 7.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
LONG_SIDE_PX = 256  # of the picture that lengths in px belong to
WINDOW_FRAMES = 3  # between the two frames of a homography
STRIDE_FRAMES = 2  # between the starts of windows
INLIER_PX = 1.0  # largest distance of a plane's tracks from its homography
MIN_INLIERS = 25
# of the homography's third coordinate, 1 in the picture's middle: points below it pass behind the
# camera
MIN_DEPTH = 0.1
FLOOR_PX2 = 0.1  # added to both mean squares of a ratio: those below it mean nothing


def parallax_residuals(
    xy: Array, visible: Array, still: Array, hw: tuple[int, int]
) -> tuple[Array, Array]:
    """What parallax leaves of the off-plane displacement of tracks: its ratio (N,) in (0,1] to all
    of it, near 0 where a track goes where the plane goes, only farther; and its root mean square
    (N,) px.

    xy (N,T,2) px of frames of size `hw`; visible (N,T); `still` (N,) bool marks tracks that the
    plane may be fitted to. Ratios of 1 and 0 px where no plane is found.
    """
    px = (xy.astype(np.float64) - np.array(hw[::-1]) / 2) * (LONG_SIDE_PX / max(hw))
    windows = list(_windows(px, visible, still))
    if not windows:
        return np.ones(len(xy)), np.zeros(len(xy))
    seen, off_plane, of_plane = map(np.array, zip(*windows))
    of_plane_px2 = np.square(of_plane).sum(axis=(0, 2)).clip(FLOOR_PX2)
    factor = ((off_plane * of_plane).sum(axis=(0, 2)) / of_plane_px2).clip(0)
    residual = off_plane - factor[:, None] * of_plane
    count = seen.sum(axis=0).clip(1)
    left_px2, all_px2 = (np.square(px).sum(axis=(0, 2)) / count for px in (residual, off_plane))
    return np.sqrt((left_px2 + FLOOR_PX2) / (all_px2 + FLOOR_PX2)), np.sqrt(left_px2)


def _windows(px: Array, visible: Array, still: Array) -> Iterator[tuple[Array, Array, Array]]:
    """The windows of the clip in which a plane is found: the tracks (N,) whose displacement shows;
    and px (N,2) of each, else 0: its displacement beside the plane, and the plane's at its place.

    px (N,T,2) are the tracks, from the picture's middle.
    """
    length = visible.shape[1]
    for start in range(0, max(1, length - WINDOW_FRAMES), STRIDE_FRAMES):
        end = min(start + WINDOW_FRAMES, length - 1)
        in_both = visible[:, start] & visible[:, end]
        before, after = px[:, start], px[:, end]
        homography = _plane(before[still & in_both], after[still & in_both])
        if homography is not None:
            predicted = np.column_stack([before, np.ones(len(before))]) @ homography.T
            depth = predicted[:, 2:]
            on_plane = predicted[:, :2] / depth.clip(MIN_DEPTH)
            seen = in_both & (depth[:, 0] > MIN_DEPTH)
            yield seen, (after - on_plane) * seen[:, None], (on_plane - before) * seen[:, None]


def _plane(before: Array, after: Array) -> Array | None:
    """The homography (3,3) of the plane that most of some points (M,2) px lie in; None where there
    is none.
    """
    if len(before) < MIN_INLIERS:
        return None
    homography, inliers = cv2.findHomography(before, after, cv2.RANSAC, INLIER_PX)
    found = homography is not None and inliers.sum() >= MIN_INLIERS
    return homography if found else None
