"""Plane residuals: whether parallax in front of a plane explains the motion of a group of tracks
(plane and parallax, Irani and Anandan, 1998); docs/method.md, section 7.6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
FOCAL = 1.0  # focal length in units of the picture's longer side; 0.75 tells as much
LONG_SIDE_PX = 256  # of the picture that lengths in px belong to
PX = 1 / (FOCAL * LONG_SIDE_PX)  # of rays, x and y of (x,y,1)
WINDOW_FRAMES = 8  # between the two frames of a homography
STRIDE_FRAMES = 4  # between the starts of windows
INLIER_PX = 1.0  # largest distance of a plane's tracks from its homography
MIN_INLIERS = 25
MIN_FACING = 0.2  # least cosine between the plane's normal and the optical axis
# tried for each group, relative to the plane, in units of the plane's inverse depth
INVERSE_DEPTHS = np.append(0, np.geomspace(0.05, 4, 30))
MIN_SCALE = 1e-6  # second singular value of a homography that is not degenerate
# of the homography's third coordinate, one in the mean: points below it pass behind the camera
MIN_DEPTH = 0.1
FLOOR_PX2 = 0.1  # added to both mean squares of a ratio: those below it mean nothing
UNKNOWN = -0.7  # where no plane is found: the median of groups


class Window(NamedTuple):
    """Two frames in which a plane is found: which tracks (N,) show their displacement; and of each
    of the P motions that may be behind the plane's, the plane's normal (P,3), and px (P,N,2,2):
    the displacements beside the plane, and what a unit of inverse depth would add.
    """

    visible: Array
    normals: Array
    displacements: Array


def plane_residual_ratio(
    xy: Array, visible: Array, still: Array, groups: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of the off-plane displacement of groups of tracks that parallax leaves
    unexplained, to all of it.

    xy (N,T,2) px of frames of size `hw`; visible (N,T); `still` (N,) bool marks tracks that the
    plane may be fitted to. Very negative: the camera's motion alone explains the group's.
    """
    rays = (xy.astype(np.float64) - np.array(hw[::-1]) / 2) / (FOCAL * max(hw))
    windows = _windows(rays, visible, still)
    if not windows:
        return np.full(len(groups), UNKNOWN)
    every = np.concatenate([window.normals for window in windows])
    agreements = [(window.normals @ every.T).max(axis=0) for window in windows]
    normal = every[np.sum(agreements, axis=0).argmax()]
    chosen = [
        (window.visible, window.displacements[(window.normals @ normal).argmax()])
        for window in windows
    ]
    return np.array([_ratio(group, chosen) for group in groups], np.float64)


def _ratio(group: Array, windows: list[tuple[Array, Array]]) -> float:
    """The log ratio of one group, with the inverse depth that explains most."""
    means = [
        displacements[members].mean(0)
        for visible, displacements in windows
        if len(members := group[visible[group]])
    ]
    if not means:
        return UNKNOWN
    off_plane, per_inverse_depth = np.array(means).swapaxes(0, 1)
    residuals = off_plane - INVERSE_DEPTHS[:, None, None] * per_inverse_depth
    residual = (residuals**2).sum(axis=-1).mean(axis=-1).min()
    whole = (off_plane**2).sum(axis=-1).mean()
    return float(np.log((residual + FLOOR_PX2) / (whole + FLOOR_PX2)) / 2)


def _windows(rays: Array, visible: Array, still: Array) -> list[Window]:
    """The windows of the clip in which a plane is found; rays (N,T,2)."""
    length = visible.shape[1]
    windows = []
    for start in range(0, max(1, length - WINDOW_FRAMES), STRIDE_FRAMES):
        end = min(start + WINDOW_FRAMES, length - 1)
        in_both = visible[:, start] & visible[:, end]
        before, after = rays[:, start], rays[:, end]
        fitted = still & in_both
        plane = _plane(before[fitted], after[fitted])
        if plane is not None:
            homography, translations, normals = plane
            predicted = np.column_stack([before, np.ones(len(before))]) @ homography.T
            depth = predicted[:, 2:]
            on_plane = predicted[:, :2] / depth.clip(MIN_DEPTH)
            epipolar = translations[:, None, :2] - translations[:, None, 2:] * on_plane
            both = np.broadcast_arrays(after - on_plane, epipolar)
            displacements = np.stack(both, axis=2) / PX
            windows.append(Window(in_both & (depth[:, 0] > MIN_DEPTH), normals, displacements))
    return windows


def _plane(before: Array, after: Array) -> tuple[Array, Array, Array] | None:
    """The homography (3,3) of the plane that most of some rays (M,2) lie in, and the translations
    (P,3) and normals (P,3) of at most two motions that fit it, the plane facing the camera; None
    where there is no plane.
    """
    if len(before) < MIN_INLIERS:
        return None
    homography, inliers = cv2.findHomography(before, after, cv2.RANSAC, INLIER_PX * PX)
    if homography is None or inliers.sum() < MIN_INLIERS:
        return None
    scale = np.linalg.svd(homography, compute_uv=False)[1]
    if scale < MIN_SCALE:  # the rays lie in one line
        return None
    homography = homography / scale
    on_plane = before[inliers[:, 0] > 0]
    depth = on_plane @ homography[2, :2] + homography[2, 2]
    if np.median(depth) < 0:
        homography = -homography
    _, _, *motions = cv2.decomposeHomographyMat(homography, np.eye(3))
    translations, normals = np.array(motions)[..., 0]
    facing = normals[:, 2] > MIN_FACING
    if not facing.any():  # a pure rotation has no translation
        return homography, np.zeros((1, 3)), np.zeros((1, 3))
    return homography, translations[facing], normals[facing]
