"""How far each track is from anything that a still scene could show.

Seen by an affine camera, the tracks of a still scene lie in a subspace of few dimensions however
the camera moves: three for a plane, four for any scene (Tomasi and Kanade, 1992). Still things that
stand out by parallax alone are in the subspace of the others; things that move by themselves are
not. Perspective adds a little to every track, so what is left of a track is compared with what is
usually left of still ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samotion.tracks.tracking import Tracks

Array = np.ndarray[Any, Any]
DIMENSIONS = (3, 4, 5)  # of the subspace
WINDOW, STEP = 8, 4  # frames looked at together: perspective shows more in longer ones
FEWEST = 20  # still tracks that tell the subspace
SEEN = 6  # fewest frames of a window in which a track is compared
ROUNDS, KEPT = 4, 0.8  # the subspace is fitted again to the still tracks that lie nearest to it
FLOOR_PX = 0.05


def unexplained(xy: Array, tracks: Tracks, still: Array) -> Array:
    """Log ratios (N,3): what subspaces of three, four and five dimensions leave of a track, to what
    of still ones.

    xy (N,T,2) are the positions of `tracks` in px of a picture about 256 px wide; `still` (N,) bool
    marks tracks that show the subspace. Medians over windows of the clip; NaN for tracks that are
    never compared.
    """
    count, length = tracks.visible.shape
    window = min(WINDOW, length)
    found = [
        _in_window(
            xy[:, start : start + window].reshape(count, 2 * window),
            tracks.visible[:, start : start + window],
            still,
        )
        for start in range(0, length - window + 1, STEP)
    ]
    return median_of_known(found)


def median_of_known(found: list[Array]) -> Array:
    """The median of arrays of one shape, element by element, over those that are finite there;
    NaN where none is.
    """
    median = np.ma.median(np.ma.masked_invalid(np.stack(found)), axis=0)  # type: ignore[no-untyped-call]
    return np.asarray(median.filled(np.nan))


def _in_window(xy: Array, visible: Array, still: Array) -> Array:
    """The log ratios (N,3) in one window; xy (N,2W), visible (N,W)."""
    ratios = np.full((len(xy), len(DIMENSIONS)), np.nan, np.float32)
    sure = np.flatnonzero(still & visible.all(axis=1))
    compared = np.flatnonzero(visible.sum(axis=1) >= min(SEEN, visible.shape[1]))
    if len(sure) < FEWEST:
        return ratios
    mean, axes = _subspace(xy[sure].astype(np.float64))
    weight = np.repeat(visible[compared], 2, axis=1).astype(np.float64)
    away = xy[compared] - mean
    usual_of = np.isin(compared, sure)
    for k, dimensions in enumerate(DIMENSIONS):
        left = _left(away, weight, axes[: dimensions - 1].T)  # the mean is one dimension
        ratios[compared, k] = np.log((left + FLOOR_PX) / (np.median(left[usual_of]) + FLOOR_PX))
    return ratios


def _subspace(xy: Array) -> tuple[Array, Array]:
    """The mean (2W,) of xy (N,2W) and their axes (K,2W), strongest first; those far from it do
    not count.
    """
    near = np.ones(len(xy), bool)
    for _ in range(ROUNDS):
        mean = xy[near].mean(axis=0)
        axes = np.linalg.svd(xy[near] - mean, full_matrices=False)[2]
        away, scene = xy - mean, axes[: DIMENSIONS[1] - 1]
        left = ((away - away @ scene.T @ scene) ** 2).sum(axis=1)
        near = left <= np.quantile(left, KEPT)
    return mean, axes


def _left(away: Array, weight: Array, axes: Array) -> Array:
    """Px (P,) per frame that axes (2W,K) leave of `away` (P,2W), fitted where `weight` (P,2W) is
    1.
    """
    grams = np.einsum("pt,ta,tb->pab", weight, axes, axes) + 1e-6 * np.eye(axes.shape[1])
    along = np.linalg.solve(grams, np.einsum("pt,ta->pa", weight * away, axes)[..., None])[..., 0]
    rest = weight * (away - along @ axes.T) ** 2
    free = np.maximum(weight.sum(axis=1) - axes.shape[1] - 1, 1)
    return np.asarray(np.sqrt(2 * rest.sum(axis=1) / free))
