"""Rank residuals: how far each track is from the subspace of a still scene.

Under an affine camera the tracks of a still scene lie in a subspace of few dimensions however the
camera moves: three for a plane, four for any scene (Tomasi and Kanade, 1992). Parallax lies in the
subspace; independent motion does not. Perspective adds a little to every track, so the residual of
a track is compared with the usual residual of still ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
RANKS = (3, 4, 5)  # dimensions of the subspace
SCENE_RANK = 4  # of any scene; the inliers of the fit are chosen by it
WINDOW_FRAMES = 8  # in longer windows perspective shows more
STRIDE_FRAMES = 4  # between the starts of windows
MIN_STILL_TRACKS = 20  # to fit a subspace to
MIN_VISIBLE_FRAMES = 6  # of a window, for a track to be compared
FIT_ROUNDS = 4  # of the trimmed fit
INLIER_SHARE = 0.8  # of the still tracks: those nearest to the subspace of the last round
FLOOR_PX = 0.05  # added to both residuals of a ratio: those below it mean nothing
RIDGE = 1e-6  # keeps the fit of a track defined


def rank_residual_ratio(xy: Array, tracks: Tracks, still: Array) -> Array:
    """Log ratios (N,3) of a track's residual to the median residual of still tracks, from
    subspaces of three, four and five dimensions.

    xy (N,T,2) are the positions of `tracks` in px of a picture about 256 px wide; `still` (N,) bool
    marks tracks that the subspace is fitted to. Medians over windows of the clip; NaN for tracks
    that are never compared.
    """
    count, length = tracks.visible.shape
    size = min(WINDOW_FRAMES, length)
    ratios = []
    for start in range(0, length - size + 1, STRIDE_FRAMES):
        window = slice(start, start + size)
        positions = xy[:, window].reshape(count, 2 * size)
        ratios.append(_in_window(positions, tracks.visible[:, window], still))
    finite = np.ma.masked_invalid(np.stack(ratios))
    return np.asarray(np.ma.median(finite, axis=0).filled(np.nan))  # type: ignore[no-untyped-call]


def _in_window(xy: Array, visible: Array, still: Array) -> Array:
    """The log ratios (N,3) in one window; xy (N,2W), visible (N,W)."""
    ratios = np.full((len(xy), len(RANKS)), np.nan, np.float32)
    fitted = np.flatnonzero(still & visible.all(axis=1))
    if len(fitted) < MIN_STILL_TRACKS:
        return ratios
    needed = min(MIN_VISIBLE_FRAMES, visible.shape[1])
    compared = np.flatnonzero(visible.sum(axis=1) >= needed)
    mean, axes = _subspace(xy[fitted].astype(np.float64))
    centred = xy[compared] - mean
    weights = np.repeat(visible[compared], 2, axis=1).astype(np.float64)
    is_still = np.isin(compared, fitted)
    for column, rank in enumerate(RANKS):
        basis = axes[: rank - 1].T  # the mean is one dimension
        residual = _residual_px(centred, weights, basis)
        usual = np.median(residual[is_still])
        ratios[compared, column] = np.log((residual + FLOOR_PX) / (usual + FLOOR_PX))
    return ratios


def _subspace(xy: Array) -> tuple[Array, Array]:
    """The mean (2W,) and principal axes (K,2W), strongest first, of those xy (N,2W) that are
    nearest to them: a trimmed fit.
    """
    inlier = np.ones(len(xy), bool)
    for _ in range(FIT_ROUNDS):
        mean = xy[inlier].mean(axis=0)
        axes = np.linalg.svd(xy[inlier] - mean, full_matrices=False)[2]
        basis = axes[: SCENE_RANK - 1]
        centred = xy - mean
        residual = centred - centred @ basis.T @ basis
        squared = (residual**2).sum(axis=1)
        inlier = squared <= np.quantile(squared, INLIER_SHARE)
    return mean, axes


def _residual_px(centred: Array, weights: Array, basis: Array) -> Array:
    """Residuals (P,) in px per frame of `centred` (P,2W) after a least squares fit of `basis`
    (2W,K), where `weights` (P,2W) are 1.
    """
    ridge = RIDGE * np.eye(basis.shape[1])
    normal = np.einsum("pt,ta,tb->pab", weights, basis, basis) + ridge
    right = np.einsum("pt,ta->pa", weights * centred, basis)
    coefficients = np.linalg.solve(normal, right[..., None])[..., 0]
    squared = weights * (centred - coefficients @ basis.T) ** 2
    degrees_of_freedom = weights.sum(axis=1) - basis.shape[1] - 1
    return np.asarray(np.sqrt(2 * squared.sum(axis=1) / np.maximum(degrees_of_freedom, 1)))
