"""The appearance model of an object: a classifier of colour and place, fitted to the cells of a
whole clip whose evidence is certain.

Tracks are sparse, and the motion map has holes where an object is as plain as what it moves past.
But all frames together show its colours, and each cell of a frame can be scored by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, Any]
DIMENSIONS = 5  # three of colour, two of place
# random Fourier features (Rahimi and Recht, 2007) of a Gaussian kernel; 600 are no better
FOURIER_FEATURES = 256
KERNEL_LAB = 33.0  # of CIELAB in 8 bits: the kernel's sigma for colours
KERNEL_HEIGHTS = 0.42  # of the frame's height: the same for places
RIDGE = 1e-2  # 1e-4 to 1e-2 are within 0.005 of J
MIN_LOGIT = 1.0  # of evidence, in either direction: cells nearer to 0 are not fitted to
CHUNK = 1024  # cells at a time, so that their features stay near the caches
MAX_SAMPLES = 10_000  # cells fitted to of either class, spread over the frames


@dataclass(frozen=True)
class AppearanceModel:
    """A linear classifier on random Fourier features of colour and place."""

    weights: Array  # (FOURIER_FEATURES,)
    offset: float

    def __call__(self, cells: Array) -> Array:
        """The appearance scores of cells (..., 5): near 1 for the object, near -1 for the rest."""
        return appearance_scores(cells, [self])[..., 0]


def appearance_scores(cells: Array, models: Sequence[AppearanceModel]) -> Array:
    """The scores of cells (..., 5) by each of K models: (..., K)."""
    x = cells.reshape(-1, cells.shape[-1])
    weights = np.stack([model.weights for model in models], axis=-1)
    offsets = np.array([model.offset for model in models], np.float32)
    chunks = []
    for start in range(0, len(x), CHUNK):
        features = random_fourier_features(x[start : start + CHUNK])
        chunks.append(features @ weights)
    scores = np.asarray(np.concatenate(chunks) + offsets)
    return scores.reshape(*cells.shape[:-1], len(models))


def random_fourier_features(x: Array) -> Array:
    """cos(x @ frequencies + phases): (n, FOURIER_FEATURES) of x (n, 5)."""
    frequencies, phases = _frequencies_and_phases()
    angles = x @ frequencies
    angles += phases
    return np.asarray(np.cos(angles, out=angles))


@lru_cache(maxsize=1)
def _frequencies_and_phases() -> tuple[Array, Array]:
    """Frequencies (5, FOURIER_FEATURES) and phases (FOURIER_FEATURES,), always the same."""
    rng = np.random.default_rng(0)
    frequencies = rng.normal(size=(DIMENSIONS, FOURIER_FEATURES)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, FOURIER_FEATURES).astype(np.float32)
    return frequencies, phases


def learn(cells: Sequence[Array], evidence: Sequence[Array]) -> AppearanceModel | None:
    """A model from frames' cells (GH,GW,5) and logits (GH,GW) of being the object, fitted to those
    beyond MIN_LOGIT.

    None where they show the object alone, or nothing of it.
    """
    if not cells:
        return None
    x = np.concatenate([frame.reshape(-1, frame.shape[-1]) for frame in cells])
    logits = np.concatenate(evidence, axis=None)
    positive = _subsample(np.flatnonzero(logits > MIN_LOGIT))
    negative = _subsample(np.flatnonzero(logits < -MIN_LOGIT))
    if not len(positive) or not len(negative):
        return None
    chosen = np.concatenate([positive, negative])
    return fit(x[chosen], logits[chosen] > 0)


def _subsample(index: Array) -> Array:
    """At most MAX_SAMPLES of the numbers `index`, evenly spread."""
    stride = max(1, -(-len(index) // MAX_SAMPLES))
    return index[::stride]


def fit(x: Array, y: Array) -> AppearanceModel:
    """Ridge regression of y (n,) bool, as 1 and -1, on the features of x (n, 5); both classes weigh
    the same.
    """
    features = random_fourier_features(x)
    positive_weight = 0.5 / y.sum()
    negative_weight = 0.5 / (~y).sum()
    sample_weight = np.where(y, positive_weight, negative_weight).astype(np.float32)[:, None]
    mean = (sample_weight * features).sum(0)
    centred = features - mean
    weighted = (sample_weight * centred).T
    ridge = RIDGE * np.eye(FOURIER_FEATURES, dtype=np.float32)
    target = np.where(y, 1, -1).astype(np.float32)
    weights = np.linalg.solve(weighted @ centred + ridge, weighted @ target)
    return AppearanceModel(weights, -float(mean @ weights))


def colour_and_place(image: Array) -> Array:
    """Colour and place of each cell of a small image (GH,GW,3) uint8 RGB, in units of their
    kernels: (GH,GW,5).
    """
    rows, columns = image.shape[:2]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) / KERNEL_LAB
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / (KERNEL_HEIGHTS * rows)
    return np.dstack([lab, x, y])
