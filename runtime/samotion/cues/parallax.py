"""Whether parallax may be all that a set of tracks shows (plane and parallax, Irani and Anandan,
1998).

A plane of the still scene goes from frame to frame by a homography, and that tells how the camera
turned and where it went. What stands before the plane departs from it, in a direction known at each
place, by as much as it is nearer: one number for a set of tracks, the same in all frames. What goes
by itself hardly keeps to that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.cues.motion_map import LONG_SIDE_PX

Array = np.ndarray[Any, Any]
FOCAL = 1.0  # of the picture's longer side; 0.75 tells as much
WINDOW, STEP = 8, 4  # frames between which the plane's motion is found, and between the windows
PLANE_PX = 1.0  # tracks this near to a homography are of its plane
FEWEST = 25  # of them
FACING = 0.2  # least cosine between the plane's normal and the camera's axis
# inverse depths less the plane's, in units of it
NEARNESS = np.append(0, np.geomspace(0.05, 4, 30))
LEAST_SCALE = 1e-6  # of a homography that is one
# of where the plane would take a ray, one in the mean: others would go behind the camera
LEAST_DEPTH = 0.1
FLOOR_PX2 = 0.1
UNKNOWN = -0.7  # where no plane is found: as in the median of sets


class Plane(NamedTuple):
    """How the plane goes in one window: a homography (3,3) of rays; the camera's way (3,), the
    plane's normal (3,).
    """

    homography: Array
    way: Array
    normal: Array


class Beside(NamedTuple):
    """Tracks in one window: which are seen at both ends (N,) bool, and px (N,2) each: by how much
    they went otherwise than the plane, and would for each unit of nearness.
    """

    seen: Array
    gone: Array
    way: Array


def unexplained(
    xy: Array, visible: Array, still: Array, sets: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of what parallax leaves of the motion of `sets` of tracks beside a
    plane, to all of it.

    xy (N,T,2) in px of a picture LONG_SIDE_PX wide, of frames of size `hw`; visible (N,T); `still`
    (N,) bool marks tracks that may show the plane. Very negative: the camera's motion alone
    explains it.
    """
    windows = _windows(xy, visible, still, hw)
    return np.array([_ratio(one, windows) for one in sets], np.float64)


def _ratio(one: Array, windows: list[Beside]) -> float:
    means = [
        (at.gone[here].mean(0), at.way[here].mean(0))
        for at in windows
        if len(here := one[at.seen[one]])
    ]
    if not means:
        return UNKNOWN
    gone, way = np.array(means).swapaxes(0, 1)
    left = ((gone - NEARNESS[:, None, None] * way) ** 2).sum(axis=-1).mean(axis=-1).min()
    return log_ratio(left, (gone**2).sum(axis=-1).mean())


def log_ratio(left: float, whole: float) -> float:
    """Logarithm of what an explanation leaves of a motion, to the whole of it, from their mean
    squares in px2.
    """
    return float(np.log((left + FLOOR_PX2) / (whole + FLOOR_PX2)) / 2)


def rays_of(xy: Array, hw: tuple[int, int], px: float) -> Array:
    """Directions (...,2), as x and y of (x,y,1), of places xy (...,2) in px of a picture
    LONG_SIDE_PX wide.

    `hw` is the size of the frames, `px` what one px is in those directions.
    """
    return np.asarray(
        (xy.astype(np.float64) - np.array(hw[::-1]) * (LONG_SIDE_PX / max(hw) / 2)) * px
    )


def _windows(xy: Array, visible: Array, still: Array, hw: tuple[int, int]) -> list[Beside]:
    """The windows of the clip in which a plane is found; of the ways that fit, those with one
    normal for all.
    """
    px = 1 / (FOCAL * LONG_SIDE_PX)
    rays = rays_of(xy, hw, px)
    length, found = visible.shape[1], []
    for start in range(0, max(1, length - WINDOW), STEP):
        end = min(start + WINDOW, length - 1)
        seen = visible[:, start] & visible[:, end]
        if planes := _planes(rays[:, start], rays[:, end], still & seen, PLANE_PX * px):
            found.append((seen, rays[:, start], rays[:, end], planes))
    facing = _common([planes for *_, planes in found])
    windows = []
    for seen, before, after, planes in found:
        plane = max(planes, key=lambda one: float(one.normal @ facing))
        with_plane = np.column_stack([before, np.ones(len(before))]) @ plane.homography.T
        seen = seen & (with_plane[:, 2] > LEAST_DEPTH)
        there = with_plane[:, :2] / with_plane[:, 2:].clip(LEAST_DEPTH)
        windows.append(
            Beside(seen, (after - there) / px, (plane.way[:2] - plane.way[2] * there) / px)
        )
    return windows


def _planes(before: Array, after: Array, shown: Array, near: float) -> list[Plane]:
    """How the plane that most of the tracks `shown` (N,) bool lie in may go; two ways at most
    fit a homography.
    """
    if shown.sum() < FEWEST:
        return []
    homography, on_it = cv2.findHomography(before[shown], after[shown], cv2.RANSAC, near)
    if homography is None or on_it.sum() < FEWEST:
        return []
    scale = np.linalg.svd(homography, compute_uv=False)[1]
    if scale < LEAST_SCALE:  # all of them in a line
        return []
    homography = homography / scale
    on_plane = before[shown][on_it[:, 0] > 0]
    if np.median(on_plane @ homography[2, :2] + homography[2, 2]) < 0:
        homography = -homography
    _, _, ways, normals = cv2.decomposeHomographyMat(homography, np.eye(3))
    planes = [
        Plane(homography, way[:, 0], n[:, 0]) for way, n in zip(ways, normals) if n[2, 0] > FACING
    ]
    # a camera that only turned has no way
    return planes or [Plane(homography, np.zeros(3), np.zeros(3))]


def _common(windows: list[list[Plane]]) -> Array:
    """The normal (3,) that some plane of each window has nearly; zeros without windows."""
    normals = [np.array([plane.normal for plane in planes]) for planes in windows]
    if not normals:
        return np.zeros(3)
    every = np.concatenate(normals)
    return np.asarray(
        every[np.sum([(one @ every.T).max(axis=0) for one in normals], axis=0).argmax()]
    )
