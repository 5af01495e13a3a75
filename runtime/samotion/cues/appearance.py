"""The appearance model of an object: a classifier of colour and place, fitted to the cells of a
whole clip whose evidence is certain; docs/method.md, section 7.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
# random Fourier features (Rahimi and Recht, 2007) of a Gaussian kernel; 600 are no better
FOURIER_FEATURES = 256
_random = np.random.default_rng(0)
# of three numbers of colour and two of place
FREQUENCIES = _random.normal(size=(5, FOURIER_FEATURES)).astype(np.float32)
PHASES = _random.uniform(0, 2 * np.pi, FOURIER_FEATURES).astype(np.float32)
KERNEL_LAB = 33.0  # of CIELAB in 8 bits: the kernel's sigma for colours
KERNEL_HEIGHTS = 0.42  # of the frame's height: the same for places
RIDGE = 1e-2  # 1e-4 to 1e-2 are within 0.005 of J
MIN_LOGIT = 1.0  # of evidence, in either direction: cells nearer to 0 are not fitted to
CHUNK = 1024  # cells at a time, so that their features stay near the caches
MAX_SAMPLES = 10_000  # cells fitted to of either class, spread over the frames


def scores(cells: Array, models: Sequence[Array]) -> Array:
    """The scores (K,...) of cells (...,5) by each of K models: near 1 for the object, near -1 for
    the rest.
    """
    x = cells.reshape(-1, cells.shape[-1])
    weights = np.stack(models, axis=-1)
    chunks = [
        random_fourier_features(x[start : start + CHUNK]) @ weights[:-1]
        for start in range(0, len(x), CHUNK)
    ]
    by_cell: Array = np.concatenate(chunks) + weights[-1]
    return by_cell.T.reshape(-1, *cells.shape[:-1])


def random_fourier_features(x: Array) -> Array:
    """cos(x @ frequencies + phases): (n, FOURIER_FEATURES) of x (n, 5)."""
    return np.asarray(np.cos(x @ FREQUENCIES + PHASES))


def learn(cells: Sequence[Array], evidence: Sequence[Array]) -> Array:
    """A model from frames' cells (GH,GW,5) and logits (GH,GW) of being the object, fitted to those
    beyond MIN_LOGIT.

    One that scores 0 everywhere where they show the object alone, or nothing of it.
    """
    unknown = np.zeros(FOURIER_FEATURES + 1, np.float32)
    if not cells:
        return unknown
    x = np.concatenate([frame.reshape(-1, frame.shape[-1]) for frame in cells])
    logits = np.concatenate(evidence, axis=None)
    classes = [np.flatnonzero(sign * logits > MIN_LOGIT) for sign in (1, -1)]
    if not all(map(len, classes)):
        return unknown
    # at most MAX_SAMPLES of each, evenly spread
    chosen = np.concatenate([index[:: -(-len(index) // MAX_SAMPLES)] for index in classes])
    return fit(x[chosen], logits[chosen] > 0)


def fit(x: Array, y: Array) -> Array:
    """A model, FOURIER_FEATURES weights and an offset: ridge regression of y (n,) bool, as 1 and
    -1, on the features of x (n, 5); both classes weigh the same.
    """
    features = random_fourier_features(x)
    sample_weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum()).astype(np.float32)[:, None]
    mean = (sample_weight * features).sum(0)
    centred = features - mean
    weighted = (sample_weight * centred).T
    ridge = RIDGE * np.eye(FOURIER_FEATURES, dtype=np.float32)
    target = np.where(y, 1, -1).astype(np.float32)
    weights = np.linalg.solve(weighted @ centred + ridge, weighted @ target)
    return np.append(weights, -(mean @ weights))


def colour_and_place(image: Array, grid_hw: tuple[int, int]) -> Array:
    """Colour and place of each cell of an image (H,W,3) uint8 RGB, in units of their kernels:
    (GH,GW,5).
    """
    rows, columns = grid_hw
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / KERNEL_LAB
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / (KERNEL_HEIGHTS * rows)
    return np.dstack([lab, x, y])
