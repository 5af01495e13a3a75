"""Plane residuals: whether parallax in front of a plane explains the motion of a group of tracks
(plane and parallax, Irani and Anandan, 1998).

Between two frames a plane of the still scene moves by a homography, from which the camera's
rotation and translation follow. A still point in front of the plane is displaced beside that along
its epipolar direction, in proportion to its inverse depth relative to the plane: one number for a
group, the same in all frames. An independent motion hardly fits it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.cues.motion_residuals import LONG_SIDE_PX

Array = np.ndarray[Any, Any]
FOCAL = 1.0  # focal length in units of the picture's longer side; 0.75 tells as much
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


class Plane(NamedTuple):
    """A plane's motion in one window: homography (3,3) of rays, the camera's translation (3,), and
    the plane's normal (3,).
    """

    homography: Array
    translation: Array
    normal: Array


class Window(NamedTuple):
    """Two frames: rays (N,2) of the tracks before and after, `visible` (N,) in both, and the
    plane's possible motions.
    """

    visible: Array
    before: Array
    after: Array
    planes: list[Plane]


class Displacements(NamedTuple):
    """Of tracks in one window: `visible` (N,) bool in both frames; px (N,2) each of their
    off-plane displacement, and of what a unit of inverse depth would add.
    """

    visible: Array
    off_plane: Array
    per_inverse_depth: Array


def plane_residual_ratio(
    xy: Array, visible: Array, still: Array, groups: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of the off-plane displacement of groups of tracks that parallax leaves
    unexplained, to all of it.

    xy (N,T,2) in px of a picture LONG_SIDE_PX wide, of frames of size `hw`; visible (N,T); `still`
    (N,) bool marks tracks that the plane may be fitted to. Very negative: the camera's motion alone
    explains the group's.
    """
    px = 1 / (FOCAL * LONG_SIDE_PX)
    windows = _windows(rays_of(xy, hw, px), visible, still, INLIER_PX * px)
    normal = _common_normal([window.planes for window in windows])
    displacements = [_displacements(window, normal, px) for window in windows]
    return np.array([_ratio(group, displacements) for group in groups], np.float64)


def _ratio(group: Array, windows: list[Displacements]) -> float:
    """The log ratio of one group, with the inverse depth that explains most."""
    means = []
    for window in windows:
        members = group[window.visible[group]]
        if len(members):
            off_plane = window.off_plane[members].mean(0)
            means.append((off_plane, window.per_inverse_depth[members].mean(0)))
    if not means:
        return UNKNOWN
    off_plane, per_inverse_depth = np.array(means).swapaxes(0, 1)
    residuals = off_plane - INVERSE_DEPTHS[:, None, None] * per_inverse_depth
    residual = (residuals**2).sum(axis=-1).mean(axis=-1).min()
    whole = (off_plane**2).sum(axis=-1).mean()
    return float(np.log((residual + FLOOR_PX2) / (whole + FLOOR_PX2)) / 2)


def rays_of(xy: Array, hw: tuple[int, int], px: float) -> Array:
    """Rays (...,2), x and y of (x,y,1), through points xy (...,2) in px of a picture LONG_SIDE_PX
    wide.

    `hw` is the size of the frames, `px` what one px is in those directions.
    """
    half_px = LONG_SIDE_PX / max(hw) / 2  # of the picture, for each px of the frame
    centre = np.array(hw[::-1]) * half_px
    return np.asarray((xy.astype(np.float64) - centre) * px)


def _windows(rays: Array, visible: Array, still: Array, inlier_distance: float) -> list[Window]:
    """The windows of the clip in which a plane is found; rays (N,T,2)."""
    length = visible.shape[1]
    windows = []
    for start in range(0, max(1, length - WINDOW_FRAMES), STRIDE_FRAMES):
        end = min(start + WINDOW_FRAMES, length - 1)
        in_both = visible[:, start] & visible[:, end]
        before, after = rays[:, start], rays[:, end]
        fitted = still & in_both
        planes = _planes(before[fitted], after[fitted], inlier_distance)
        if planes:
            windows.append(Window(in_both, before, after, planes))
    return windows


def _displacements(window: Window, normal: Array, px: float) -> Displacements:
    """Displacements beside that plane of a window which agrees best with a `normal` (3,)."""
    plane = max(window.planes, key=lambda plane: float(plane.normal @ normal))
    homogeneous = np.column_stack([window.before, np.ones(len(window.before))])
    predicted = homogeneous @ plane.homography.T
    depth = predicted[:, 2]
    in_front = depth > MIN_DEPTH
    on_plane = predicted[:, :2] / depth[:, None].clip(MIN_DEPTH)
    epipolar = plane.translation[:2] - plane.translation[2] * on_plane
    return Displacements(window.visible & in_front, (window.after - on_plane) / px, epipolar / px)


def _planes(before: Array, after: Array, inlier_distance: float) -> list[Plane]:
    """Motions of the plane that most of some rays (M,2) lie in: at most two that fit its
    homography, none where there is no plane.
    """
    if len(before) < MIN_INLIERS:
        return []
    homography, inliers = cv2.findHomography(before, after, cv2.RANSAC, inlier_distance)
    if homography is None or inliers.sum() < MIN_INLIERS:
        return []
    scale = np.linalg.svd(homography, compute_uv=False)[1]
    if scale < MIN_SCALE:  # the rays lie in one line
        return []
    homography = homography / scale
    on_plane = before[inliers[:, 0] > 0]
    depth = on_plane @ homography[2, :2] + homography[2, 2]
    if np.median(depth) < 0:
        homography = -homography
    return _decomposed(homography)


def _decomposed(homography: Array) -> list[Plane]:
    """The planes facing the camera that a homography may come from."""
    _, _, translations, normals = cv2.decomposeHomographyMat(homography, np.eye(3))
    planes = [
        Plane(homography, translation[:, 0], normal[:, 0])
        for translation, normal in zip(translations, normals)
        if normal[2, 0] > MIN_FACING
    ]
    if planes:
        return planes
    return [Plane(homography, np.zeros(3), np.zeros(3))]  # a pure rotation has no translation


def _common_normal(windows: list[list[Plane]]) -> Array:
    """The normal (3,) that agrees best with one plane of each window; zeros without windows."""
    if not windows:
        return np.zeros(3)
    normals = [np.array([plane.normal for plane in planes]) for planes in windows]
    every = np.concatenate(normals)
    agreements = [(of_window @ every.T).max(axis=0) for of_window in normals]
    best = np.sum(agreements, axis=0).argmax()
    return np.asarray(every[best])
