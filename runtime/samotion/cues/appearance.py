"""What an object looks like: a model of its colours and places, learnt where a whole clip shows it
surely.

Tracks are sparse and the motion map has holes where an object is as plain as what it moves past.
But all frames together show its colours, and each frame can be asked for them cell by cell.
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
WAVES = 256
KERNEL_LAB = 33.0  # of CIELAB in 8 bits: colours this far apart are hardly alike
KERNEL_HEIGHTS = 0.42  # of the frame's height: the same for places
RIDGE = 1e-2  # 1e-4 to 1e-2 are within 0.005 of J
SURE = 1.0  # logits nearer to 0 teach nothing
CHUNK = 1024  # points at a time, so that their waves stay near the caches
SAMPLES = 10_000  # cells of each side learnt from, spread over the frames


@dataclass(frozen=True)
class Look:
    """A linear classifier on random waves of colour and place: near 1 for the object, near -1
    for the rest.
    """

    weights: Array  # (WAVES,)
    offset: float

    def __call__(self, points: Array) -> Array:
        """How much each of points (..., 5) belongs to the object."""
        return alike(points, [self])[..., 0]


def alike(points: Array, looks: Sequence[Look]) -> Array:
    """How much each of points (..., 5) belongs to each of K objects: (..., K)."""
    x = points.reshape(-1, points.shape[-1])
    weights = np.stack([look.weights for look in looks], axis=-1)
    found = [_seen(x[at : at + CHUNK]) @ weights for at in range(0, len(x), CHUNK)]
    offsets = np.array([look.offset for look in looks], np.float32)
    return np.asarray(np.concatenate(found) + offsets).reshape(*points.shape[:-1], len(looks))


def _seen(x: Array) -> Array:
    """Random waves (n, WAVES) of points (n, 5)."""
    waves, phases = _waves()
    found = x @ waves
    found += phases
    return np.asarray(np.cos(found, out=found))


@lru_cache(maxsize=1)
def _waves() -> tuple[Array, Array]:
    """Directions (5, WAVES) and phases (WAVES,), always the same."""
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(DIMENSIONS, WAVES)).astype(np.float32)
    return waves, rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)


def learn(points: list[Array], evidence: list[Array]) -> Look | None:
    """A look from frames' points (GH,GW,5) and logits (GH,GW) of being the object, of which only
    the sure ones teach.

    None where they show the object alone, or nothing of it.
    """
    if not points:
        return None
    x, logits = (
        np.concatenate([p.reshape(-1, p.shape[-1]) for p in points]),
        np.concatenate(evidence, axis=None),
    )
    sides = [_thinned(np.flatnonzero(side)) for side in (logits > SURE, logits < -SURE)]
    if not all(map(len, sides)):
        return None
    chosen = np.concatenate(sides)
    return fit(x[chosen], logits[chosen] > 0)


def _thinned(index: Array) -> Array:
    return index[:: max(1, -(-len(index) // SAMPLES))]


def fit(x: Array, y: Array) -> Look:
    """Ridge regression of y (n,) bool, as 1 and -1, on waves of x (n, 5); both sides weigh the
    same.
    """
    seen = _seen(x)
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum()).astype(np.float32)[:, None]
    centre = (weight * seen).sum(0)
    seen = seen - centre
    weighted = (weight * seen).T
    target = np.where(y, 1, -1).astype(np.float32)
    weights = np.linalg.solve(
        weighted @ seen + RIDGE * np.eye(WAVES, dtype=np.float32), weighted @ target
    )
    return Look(weights, -float(centre @ weights))


def points_of(image: Array) -> Array:
    """Colour and place of each cell of a small image (GH,GW,3) uint8 RGB, in units of their
    kernels: (GH,GW,5).
    """
    rows, columns = image.shape[:2]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) / KERNEL_LAB
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / (KERNEL_HEIGHTS * rows)
    return np.dstack([lab, x, y])
