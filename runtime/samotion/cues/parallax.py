"""Parallax residuals: whether the camera's translation explains the motion of a group of tracks, as
that of a still object before a plane (Irani and Anandan, 1998); docs/method.md, section 7.6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
UNKNOWN = -0.1  # where no plane is found: the median of groups


class Window(NamedTuple):
    """Two frames in which a plane is found: which tracks (N,) show their displacement; and px (N,2)
    of each: its displacement beside the plane, and the plane's at its place.
    """

    visible: Array
    off_plane: Array
    of_plane: Array


def parallax_residual(
    xy: Array, visible: Array, still: Array, groups: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of the off-plane displacement of groups of tracks that parallax leaves
    unexplained, to all of it.

    xy (N,T,2) px of frames of size `hw`; visible (N,T); `still` (N,) bool marks tracks that the
    plane may be fitted to. Very negative: the group goes where the plane goes, only farther.
    """
    px = (xy.astype(np.float64) - np.array(hw[::-1]) / 2) * (LONG_SIDE_PX / max(hw))
    windows = _windows(px, visible, still)
    return np.array([_residual(group, windows) for group in groups], np.float64)


def _residual(group: Array, windows: list[Window]) -> float:
    """The log ratio of one group, with the nearness that explains most."""
    means = [
        (window.off_plane[members].mean(axis=0), window.of_plane[members].mean(axis=0))
        for window in windows
        if len(members := group[window.visible[group]])
    ]
    if not means:
        return UNKNOWN
    off_plane, of_plane = np.array(means).swapaxes(0, 1)
    nearness = (off_plane * of_plane).sum() / max(np.square(of_plane).sum(), FLOOR_PX2)
    unexplained = off_plane - max(0, nearness) * of_plane
    left_px2, whole_px2 = (np.square(px).sum() / len(px) for px in (unexplained, off_plane))
    return float(np.log((left_px2 + FLOOR_PX2) / (whole_px2 + FLOOR_PX2)) / 2)


def _windows(px: Array, visible: Array, still: Array) -> list[Window]:
    """The windows of the clip in which a plane is found; px (N,T,2)."""
    length = visible.shape[1]
    windows = []
    for start in range(0, max(1, length - WINDOW_FRAMES), STRIDE_FRAMES):
        end = min(start + WINDOW_FRAMES, length - 1)
        in_both = visible[:, start] & visible[:, end]
        before, after = px[:, start], px[:, end]
        homography = _plane(before[still & in_both], after[still & in_both])
        if homography is not None:
            predicted = np.column_stack([before, np.ones(len(before))]) @ homography.T
            depth = predicted[:, 2:]
            on_plane = predicted[:, :2] / depth.clip(MIN_DEPTH)
            in_front = in_both & (depth[:, 0] > MIN_DEPTH)
            windows.append(Window(in_front, after - on_plane, on_plane - before))
    return windows


def _plane(before: Array, after: Array) -> Array | None:
    """The homography (3,3) of the plane that most of some points (M,2) px lie in; None where there
    is none.
    """
    if len(before) < MIN_INLIERS:
        return None
    homography, inliers = cv2.findHomography(before, after, cv2.RANSAC, INLIER_PX)
    found = homography is not None and inliers.sum() >= MIN_INLIERS
    return homography if found else None
