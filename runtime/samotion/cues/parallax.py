"""Parallax: whether the camera's translation explains the motion of a track, as that of a still
point before a plane (Irani and Anandan, 1998); docs/method.md, section 7.6.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

LONG_SIDE_PX = 256  # of the picture that lengths in px belong to
WINDOW_FRAMES = 3  # between the two frames of a homography
STRIDE_FRAMES = 2  # between the starts of windows
INLIER_PX = 1.0  # largest distance of a plane's tracks from its homography
MIN_INLIERS = 25
# of the homography's third coordinate, 1 in the picture's middle: points below it pass behind the
# camera
MIN_DEPTH = 0.1
FLOOR_PX2 = 0.1  # added to both mean squares of a ratio: those below it mean nothing
ROUNDS = 4  # of reweighting; with ten the travel drifts from the plane's own too often
OUTLIER_PX = 0.5  # scale of Cauchy's weights: still tracks with larger residuals lose theirs
RIDGE, TINY = 1e-2, 1e-9  # of least squares, relative and absolute


def parallax_residuals(
    xy: np.ndarray, visible: np.ndarray, still: np.ndarray, hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What parallax leaves of the off-plane displacement of tracks: its ratios (2,N) in (0,1] to
    all of it, and the root mean square (N,) px of what the first leaves.

    For the first the camera travels as the plane's own displacement says: near 0 where a track goes
    where the plane goes, only farther. For the second it travels as the still tracks beside the
    plane say, since a camera that turns as well moves the plane otherwise.

    xy (N,T,2) px of frames of size `hw`; visible (N,T); `still` (N,) bool marks tracks that the
    plane may be fitted to. Ratios of 1 and 0 px where no plane is found.
    """
    px = (xy.astype(np.float64) - np.array(hw[::-1]) / 2) * (LONG_SIDE_PX / max(hw))
    windows = list(_windows(px, visible, still))
    if not windows:
        return np.ones((2, len(xy))), np.zeros(len(xy))
    design, off_plane, of_plane = map(np.array, zip(*windows))
    seen = design[..., 0, 0]  # 1 for tracks that show in a window
    count = seen.sum(axis=0).clip(1)

    def mean_square(displacement: np.ndarray) -> np.ndarray:
        """(N,) of displacements (W,N,2), over the windows in which a track shows."""
        return np.asarray(np.square(displacement).sum(axis=(0, 2)) / count)

    travel = _fit(design, seen, np.ones(len(xy)), of_plane)
    by_plane, factor = _explain(design, travel, off_plane)
    by_still = by_plane
    for _ in range(ROUNDS):
        weight = seen * (still / (1 + mean_square(by_still) / OUTLIER_PX**2))
        travel = _fit(design, weight, factor, off_plane)
        by_still, factor = _explain(design, travel, off_plane)
    all_px2, *left_px2 = map(mean_square, (off_plane, by_plane, by_still))
    ratios = np.sqrt((np.array(left_px2) + FLOOR_PX2) / (all_px2 + FLOOR_PX2))
    return ratios, np.sqrt(left_px2[0])


def _fit(
    design: np.ndarray, weight: np.ndarray, factor: np.ndarray, displacement: np.ndarray
) -> np.ndarray:
    """Travel (W,3) of the camera in each window, by weighted least squares: tracks are displaced
    by `displacement` (W,N,2) px, a `factor` (N,) times the field that `design` (W,N,2,3) makes of
    it.
    """
    scaled = design * factor[:, None, None]
    weighted = scaled * weight[..., None, None]
    left = np.einsum("wnij,wnik->wjk", weighted, scaled)
    right = np.einsum("wnij,wni->wj", weighted, displacement)
    ridge = RIDGE * left[:, :1, :1] + TINY
    return np.linalg.solve(left + ridge * np.eye(3), right[..., None])[..., 0]


def _explain(
    design: np.ndarray, travel: np.ndarray, off_plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the camera's travel (W,3) leaves of displacements (W,N,2) px, and the factor (N,) of
    each track: how much nearer than the plane it is, not negative.
    """
    field = np.einsum("wnij,wj->wni", design, travel)
    energy_px2 = np.square(field).sum(axis=(0, 2)).clip(FLOOR_PX2)
    factor = ((off_plane * field).sum(axis=(0, 2)) / energy_px2).clip(0)
    return off_plane - factor[:, None] * field, factor


def _windows(
    px: np.ndarray, visible: np.ndarray, still: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The windows of the clip in which a plane is found, each as three arrays that are 0 for tracks
    that do not show there: the design (N,2,3) of `a - b p`, the displacement of a still point at p
    by the camera's travel a (2,) and b; and px (N,2), the tracks' displacement beside the plane,
    and the plane's at their places.

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
            seen = (in_both & (depth[:, 0] > MIN_DEPTH))[:, None]
            identity = np.broadcast_to(np.eye(2), (len(px), 2, 2))
            design = np.dstack([identity, -before[..., None] / LONG_SIDE_PX])
            yield design * seen[..., None], (after - on_plane) * seen, (on_plane - before) * seen


def _plane(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """The homography (3,3) of the plane that most of some points (M,2) px lie in; None where there
    is none.
    """
    if len(before) < MIN_INLIERS:
        return None
    homography, inliers = cv2.findHomography(before, after, cv2.RANSAC, INLIER_PX)
    found = homography is not None and inliers.sum() >= MIN_INLIERS
    return homography if found else None
