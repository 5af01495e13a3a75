"""The appearance model of an object: a polynomial of colour and place, fitted to the cells of a
whole clip whose evidence is certain; docs/method.md, section 7.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import cv2
import numpy as np

NUMBERS, DEGREE = 5, 4  # three of colour and two of place
MONOMIALS = comb(NUMBERS + DEGREE, DEGREE)
LAB_SCALE = np.array([128, 50, 50], np.float32)  # of CIELAB in 8 bits, around 128
RIDGE = 3e-4  # of all but the constant; 1e-4 to 1e-3 are within 0.002 of J
MIN_LOGIT = 1.0  # of evidence, in either direction: cells nearer to 0 are not fitted to
CHUNK = 2048  # cells at a time, so that their monomials stay near the caches
MAX_SAMPLES = 10_000  # cells fitted to of either class, spread over the frames


def scores(cells: np.ndarray, models: Sequence[np.ndarray]) -> np.ndarray:
    """The scores (K,...) of cells (...,5) by each of K models: near 1 for the object, near -1 for
    the rest.
    """
    x, weights = cells.reshape(-1, NUMBERS), np.stack(models)
    chunks = np.array_split(x, 1 + len(x) // CHUNK)
    by_model = np.hstack([weights @ monomials(chunk) for chunk in chunks])
    return by_model.reshape(-1, *cells.shape[:-1])


def monomials(x: np.ndarray) -> np.ndarray:
    """Products (MONOMIALS,n) of up to DEGREE numbers of x (n,5); the first is 1."""
    numbers = np.vstack([np.ones(len(x), x.dtype), x.T])
    products = list(numbers[:, None])  # by their first factor
    for _ in range(1, DEGREE):
        products = [one * np.vstack(products[i:]) for i, one in enumerate(numbers)]
    return np.vstack(products)


def learn(cells: Sequence[np.ndarray], evidence: Sequence[np.ndarray]) -> np.ndarray:
    """A model from frames' cells (GH,GW,5) and logits (GH,GW) of being the object, fitted to those
    beyond MIN_LOGIT.

    One that scores 0 everywhere where they show the object alone, or nothing of it.
    """
    unknown = np.zeros(MONOMIALS, np.float32)
    if not cells:
        return unknown
    x = np.concatenate([frame.reshape(-1, NUMBERS) for frame in cells])
    logits = np.concatenate(evidence, axis=None)
    classes = [np.flatnonzero(sign * logits > MIN_LOGIT) for sign in (1, -1)]
    if not all(map(len, classes)):
        return unknown
    # at most MAX_SAMPLES of each, evenly spread
    chosen = np.concatenate([index[:: -(-len(index) // MAX_SAMPLES)] for index in classes])
    return fit(x[chosen], logits[chosen] > 0)


def fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A model, the weights float32 of the monomials: ridge regression of y (n,) bool, as 1 and
    -1, on x (n,5); both classes weigh the same.
    """
    terms = monomials(x)
    weighted = terms * np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())
    ridge = RIDGE * np.diag(np.arange(len(terms)) > 0)
    weights = np.linalg.solve(weighted @ terms.T + ridge, weighted @ np.where(y, 1.0, -1.0))
    return weights.astype(np.float32)


def colour_and_place(image: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    """Colour and place of each cell of an image (H,W,3) uint8 RGB, in about [-1,1]: (GH,GW,5)."""
    rows, columns = grid_hw
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    lab = (cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) - 128) / LAB_SCALE
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    return np.dstack([lab, x, y])
