"""Does a half-precision graph answer as its PyTorch source does, as far as masks need it?

Rounding to float16 is no mistake, so the limits are those of use: pixels for tracks, a part of the range for
disparity, angles for features. Other outputs are judged by the error of the middle object or frame, of all examples:
SAM 2 chooses one of several masks, and where two are equally good rounding alone may choose the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from samotion.contract import SIGNATURES
from samotion.errors import ParityError

from samotion_export.graph import Array, Graph
from samotion_export.verify import Parity, difference, merge, open_session

# By output: measures and the most each may be. px are those of the tracker's 256.
LIMITS: dict[str, dict[str, float]] = {
    "tracks": {"median_px": 0.05, "far_share": 0.01},
    "disparity": {"relative": 0.01},
    "features": {"cosine_loss": 1e-3},
}
OTHERS = {"rms": 0.02}
FAR_PX = 0.5


def compare(graph: Graph, path: Path, answers: Sequence[Mapping[str, Array]]) -> Parity:
    """Run `path` on onnxruntime's CPU on every example and measure how far it is from PyTorch's `answers`.

    Per output the largest absolute difference and its part of the range, each measure of `LIMITS` and its limit.
    Raises ParityError for the first output beyond a limit.
    """
    signature = SIGNATURES[graph.name]
    session = open_session(path)
    parity: Parity = {}
    pairs: dict[str, list[tuple[Array, Array]]] = {name: [] for name in signature.output_names}
    for example, answer in zip(graph.examples, answers):
        outputs = session.run(list(signature.output_names), dict(zip(signature.input_names, example)))
        for name, got in zip(signature.output_names, outputs):
            merge(parity, name, difference(graph, name, got, answer[name]))
            pairs[name].append((got, answer[name]))
    for name, figures in parity.items():
        figures["relative"] = figures["max_abs"] / max(figures["range"], 1e-12)
        _judge(graph.name, name, figures, pairs[name])
    return parity


def _judge(engine: str, name: str, figures: dict[str, float], pairs: Sequence[tuple[Array, Array]]) -> None:
    figures |= _measures(name, pairs)
    for measure, limit in LIMITS.get(name, OTHERS).items():
        figures[f"{measure}_limit"] = limit
        if figures[measure] > limit:
            raise ParityError(
                f"{engine}: output {name!r} in half precision is {figures[measure]:.2g} off ({measure}), limit"
                f" {limit:.2g}; nothing was written for it; use --precision fp32"
            )


def _measures(name: str, pairs: Sequence[tuple[Array, Array]]) -> dict[str, float]:
    if name == "tracks":
        px = np.concatenate([np.linalg.norm(got - want, axis=-1).ravel() for got, want in pairs])
        return {"median_px": float(np.median(px)), "far_share": float((px > FAR_PX).mean())}
    if name == "features":
        return {"cosine_loss": max(float((1 - _cosine(got, want)).max()) for got, want in pairs)}
    if name == "disparity":
        return {}
    return {"rms": float(np.median(np.concatenate([_rms(got, want) for got, want in pairs])))}


def _cosine(a: Array, b: Array) -> Array:
    cosine: Array = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12)
    return cosine


def _rms(got: Array, want: Array) -> Array:
    """Per row of the first axis: the root mean square error over that of `want`, or over 1 where that is less."""
    flat = (len(want), -1)
    error, size = (np.sqrt(np.square(x.reshape(flat), dtype=np.float64).mean(1)) for x in (got - want, want))
    relative: Array = error / np.maximum(size, 1.0)
    return relative


def worst(parity: Parity) -> tuple[str, str]:
    """The output and measure nearest to its limit."""
    ratios = {
        (name, key.removesuffix("_limit")): figures[key.removesuffix("_limit")] / limit
        for name, figures in parity.items()
        for key, limit in figures.items()
        if key.endswith("_limit")
    }
    return max(ratios, key=lambda pair: ratios[pair])
