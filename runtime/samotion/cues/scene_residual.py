"""Scene residuals: whether a still position in the scene explains the motion of a group of tracks.

Still tracks give the cameras of some frames by bundle adjustment. Tracks of a still object can be
triangulated in these cameras with small reprojection errors; those of a moving object hardly can.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from samotion.cues.bundle_adjustment import (
    INVERSE_DEPTH,
    INVERSE_DEPTH_SIGMA,
    MAX_INVERSE_DEPTH,
    RIDGE,
    adjust,
    gauss_newton,
)
from samotion.cues.cameras import MIN_DEPTH, Cameras, in_cameras, perspective
from samotion.cues.motion_residuals import LONG_SIDE_PX
from samotion.cues.parallax import log_ratio, rays_of

Array = np.ndarray[Any, Any]
FOCAL = 1.0  # focal length in units of the picture's longer side, to begin with
WINDOW_FRAMES, MAX_WINDOWS = 24, 6
MIN_STILL_TRACKS, MAX_STILL_TRACKS = 20, 150  # that cameras are estimated from
MAX_GROUP_TRACKS = 40  # that are triangulated
MIN_VISIBLE_FRAMES = 4  # of a track in a window
NOISE_PX = 0.3  # of a track
TRIANGULATION_ROUNDS = 6
CAUCHY_SCALE = 4  # of triangulation, in units of the noise
# mean loss of an observation, in squared noises; above it the cameras do not fit the window
MAX_LOSS = 1.7
UNKNOWN = -0.37  # where no cameras are found: the median of groups


class Window(NamedTuple):
    """Cameras of some frames, and rays (N,T,2) and visibility (N,T) of all tracks in them."""

    cameras: Cameras
    rays: Array
    visible: Array


def scene_residual_ratio(
    xy: Array, visible: Array, still: Array, groups: list[Array], hw: tuple[int, int]
) -> Array:
    """Log ratios (S,) <= 0 of the reprojection errors of groups of tracks at their best still
    position, to those at infinity, that is, with rotation alone.

    xy (N,T,2) in px of a picture LONG_SIDE_PX wide, of frames of size `hw`; visible (N,T); `still`
    (N,) bool marks tracks that cameras may be estimated from. Very negative: a still, near object
    would move just like that.
    """
    px = 1 / (FOCAL * LONG_SIDE_PX)
    rays = rays_of(xy, hw, px)
    windows, losses = [], []
    for frames in _windows(visible.shape[1]):
        window_rays, window_visible = rays[:, frames], visible[:, frames]
        fitted = _fitted_tracks(window_visible, still)
        if len(fitted) < MIN_STILL_TRACKS:
            continue
        cameras, loss = adjust(window_rays[fitted], window_visible[fitted], NOISE_PX * px)
        losses.append(loss)
        if loss > MAX_LOSS:
            continue
        windows.append(Window(cameras, window_rays, window_visible))
    if not losses or np.median(losses) > MAX_LOSS:
        return np.full(len(groups), UNKNOWN)
    return np.array([_ratio(group, windows, px) for group in groups], np.float64)


def _windows(frames: int) -> list[slice]:
    """Windows spread evenly over the clip, half of each in the next one where MAX_WINDOWS
    allows it.
    """
    length = min(frames, WINDOW_FRAMES)
    uncovered, stride = frames - length, max(1, length // 2)
    count = min(MAX_WINDOWS, 1 + -(-uncovered // stride))
    starts = np.linspace(0, uncovered, count).astype(int)
    return [slice(start, start + length) for start in starts]


def _fitted_tracks(visible: Array, still: Array) -> Array:
    """Still tracks (M,) that are visible (N,T) long enough to estimate cameras from."""
    needed = max(MIN_VISIBLE_FRAMES, visible.shape[1] // 4)
    long_enough = visible.sum(axis=1) >= needed
    return _evenly(np.flatnonzero(still & long_enough), MAX_STILL_TRACKS)


def _evenly(values: Array, most: int) -> Array:
    """At most so many of `values`, evenly spread."""
    if len(values) <= most:
        return values
    chosen = np.linspace(0, len(values) - 1, most).astype(int)
    return np.asarray(values[chosen])


def _ratio(group: Array, windows: list[Window], px: float) -> float:
    """The log ratio of one group over all windows that show it."""
    at_best: list[Array] = []
    at_infinity: list[Array] = []
    for cameras, rays, visible in windows:
        long_enough = visible[group].sum(axis=1) >= MIN_VISIBLE_FRAMES
        members = _evenly(group[long_enough], MAX_GROUP_TRACKS)
        if not len(members):
            continue
        observed = rays[members], visible[members]
        for fixed, squares in ((None, at_best), (0.0, at_infinity)):
            errors = reprojection_errors(cameras, *observed, NOISE_PX * px, fixed)
            squares.append(_squared_medians(errors / px))
    if not at_best:
        return UNKNOWN
    residual = float(np.concatenate(at_best).mean())
    return log_ratio(residual, float(np.concatenate(at_infinity).mean()))


def _squared_medians(errors: Array) -> Array:
    """Squares (F,) of the median error of tracks (N,T,2), NaN where invisible, in the frames that
    show any.
    """
    shows_any = ~np.isnan(errors[..., 0]).all(axis=0)
    medians = np.nanmedian(errors[:, shows_any], axis=0)
    return np.asarray((medians**2).sum(axis=-1))


def reprojection_errors(
    cameras: Cameras, rays: Array, visible: Array, noise: float, inverse_depth: float | None
) -> Array:
    """Reprojection errors (N,T,2) of triangulated tracks; NaN where they are not visible.

    rays (N,T,2), visible (N,T); `inverse_depth` of all tracks, None: each gets its best. In
    projective form triangulation is linear; observations are reweighted by the depth and the error
    of the round before.
    """
    rays = np.where(visible[..., None], rays, 0.0)
    rows = _projective_rows(cameras, rays, visible)
    weight = np.ones((*visible.shape, 1))
    for _ in range(TRIANGULATION_ROUNDS):
        derivative = weight[..., None] * rows[..., [0, 1, 3]]
        residual = -weight * rows[..., 2]
        points = _triangulated(derivative, residual, noise, inverse_depth)
        coordinates = in_cameras(cameras, points)
        errors = rays - perspective(cameras, coordinates)
        squared = (errors**2).sum(axis=-1, keepdims=True)
        robust = np.sqrt(1 / (1 + squared / (CAUCHY_SCALE * noise) ** 2))
        weight = robust / coordinates[..., 2:].clip(MIN_DEPTH)
    return np.where(visible[..., None], errors, np.nan)


def _projective_rows(cameras: Cameras, rays: Array, visible: Array) -> Array:
    """Rows (N,T,2,4) whose product with (x, y, 1, inverse depth) is an observation's error times
    its depth.
    """
    zoom = np.exp(cameras.zoom)[:, None, None]
    projection = np.concatenate([cameras.rotation, cameras.translation[..., None]], axis=-1)
    rows = zoom * projection[:, :2] - rays[..., None] * projection[:, None, 2]
    rows[~visible] = 0
    return np.asarray(rows)


def _triangulated(derivative: Array, residual: Array, noise: float, fixed: float | None) -> Array:
    """Points (N,3) by least squares, from Jacobians (N,T,2,3) and residuals (N,T,2); `fixed` is
    their inverse depth, None: unknown too.
    """
    if fixed is None:
        inverse_depth = _inverse_depths(derivative, residual, noise)
    else:
        inverse_depth = np.full(len(derivative), fixed)
    explained = derivative[..., 2] * inverse_depth[:, None, None]
    normal, right = gauss_newton(derivative[..., :2], residual - explained)
    xy = np.linalg.solve(normal + RIDGE * np.eye(2), right[..., None])[..., 0]
    return np.column_stack([xy, inverse_depth])


def _inverse_depths(derivative: Array, residual: Array, noise: float) -> Array:
    """The best inverse depths (N,); arguments as of `_triangulated`."""
    normal, right = gauss_newton(derivative, residual)
    precision = (noise / INVERSE_DEPTH_SIGMA / 2) ** 2
    normal[:, 2, 2] += precision
    right[:, 2] += precision * INVERSE_DEPTH
    points = np.linalg.solve(normal + RIDGE * np.eye(3), right[..., None])
    return np.asarray(points[:, 2, 0].clip(0, MAX_INVERSE_DEPTH))
