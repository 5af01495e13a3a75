"""How far an output may be from another that rounds otherwise, as far as masks need it.

Rounding to float16, or adding in another order, is no mistake, so the limits are those of use:
pixels for tracks, a part of the range for disparity, angles for features. Other outputs are judged
by the error of the middle object or frame, of all examples: SAM 2 chooses one of several masks, and
where two are equally good rounding alone may choose the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

# By output: measures and the most each may be. px are those of the tracker's 256.
LIMITS: dict[str, dict[str, float]] = {
    "tracks": {"median_px": 0.05, "far_share": 0.01},
    "disparity": {"relative": 0.01},
    "features": {"cosine_loss": 1e-3},
}
OTHERS = {"rms": 0.02}
FAR_PX = 0.5


def limits(output: str) -> Mapping[str, float]:
    """The measures of an output, and the most each may be."""
    return LIMITS.get(output, OTHERS)


def measures(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The measures of an output over pairs of an answer and the wanted one; `relative`, a part of
    the range, is left to `differences`.
    """
    if name == "tracks":
        px = np.concatenate([np.linalg.norm(got - want, axis=-1).ravel() for got, want in pairs])
        return {"median_px": float(np.median(px)), "far_share": float((px > FAR_PX).mean())}
    if name == "features":
        return {"cosine_loss": max(float((1 - _cosines(got, want)).max()) for got, want in pairs)}
    if name == "disparity":
        return {}
    return {"rms": float(np.median(np.concatenate([_rms(got, want) for got, want in pairs])))}


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine: np.ndarray = (a * b).sum(-1) / np.maximum(
        np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12
    )
    return cosine


def _rms(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Per row of the first axis: the root mean square error over that of `want`, or over 1 where
    that is less.
    """
    flat = (len(want), -1)
    error, size = (
        np.sqrt(np.square(x.reshape(flat), dtype=np.float64).mean(1)) for x in (got - want, want)
    )
    relative: np.ndarray = error / np.maximum(size, 1.0)
    return relative


def differences(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """All figures of an output: the largest difference, plainly and as a part of the range, the
    cosine of all numbers, and what it is judged by.
    """
    got, want = (
        np.concatenate([np.ravel(pair[k]).astype(np.float64) for pair in pairs]) for k in (0, 1)
    )
    worst = float(np.abs(got - want).max(initial=0.0))
    span = float(np.ptp(want)) if want.size > 1 else float(np.abs(want).max(initial=0.0))
    lengths = float(np.linalg.norm(got) * np.linalg.norm(want))
    cosine = float(got @ want) / lengths if lengths else float(np.array_equal(got, want))
    found = {"max_abs": worst, "relative": worst / max(span, 1e-12), "cosine": cosine}
    return {**found, **measures(name, pairs)}


def excess(name: str, figures: Mapping[str, float]) -> str | None:
    """What of an output is beyond its limit, in words; None: nothing."""
    for measure, limit in limits(name).items():
        found = figures.get(measure, math.nan)
        if not found <= limit:
            return f"{name!r} is {found:.2g} off ({measure}, limit {limit:.2g})"
    return None
