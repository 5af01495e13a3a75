"""Does an exported graph answer as its PyTorch source does?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from samotion.contract import SIGNATURES
from samotion.errors import ParityError

from samotion_export.graph import Graph

Parity = dict[str, dict[str, float]]


def compare(graph: Graph, path: Path, answers: Sequence[Mapping[str, np.ndarray]]) -> Parity:
    """Run `path` on onnxruntime's CPU on every example and compare with PyTorch's `answers`.

    Per output the largest absolute difference, PyTorch's range (max - min), the two's ratio and the
    tolerance. Raises ParityError for the first output beyond its tolerance.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parity: Parity = {}
    for name, got, expected in compared(graph, session, answers):
        merge(parity, name, difference(graph, name, got, expected))
    for name, figures in parity.items():
        _judge(graph, name, figures)
    return parity


def compared(
    graph: Graph, session: Any, answers: Sequence[Mapping[str, np.ndarray]]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each output of a graph on each example: its name, onnxruntime's answer and PyTorch's."""
    signature = SIGNATURES[graph.name]
    names = list(signature.output_names)
    for example, answer in zip(graph.examples, answers, strict=True):
        outputs = session.run(names, dict(zip(signature.input_names, example)))
        for name, got in zip(names, outputs):
            yield name, got, answer[name]


def difference(graph: Graph, name: str, got: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """The figures of one output. Raises ParityError for another shape, type, or a number that is
    not finite.
    """
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ParityError(
            f"{graph.name}: output {name!r} is {got.dtype}{list(got.shape)},"
            f" PyTorch gives {expected.dtype}{list(expected.shape)}"
        )
    wide = expected.astype(np.float64)
    if not (np.isfinite(wide).all() and np.isfinite(got).all()):
        raise ParityError(
            f"{graph.name}: output {name!r} holds numbers that are not finite: the weights are"
            " damaged, or too large for half precision (--precision fp32 then)"
        )
    if wide.size == 0:
        return {"max_abs": 0.0, "range": 0.0}
    return {"max_abs": float(np.abs(got - wide).max()), "range": float(wide.max() - wide.min())}


def merge(parity: Parity, name: str, figures: Mapping[str, float]) -> None:
    """Keep the worst of all examples."""
    known = parity.setdefault(name, dict(figures))
    for key, value in figures.items():
        known[key] = max(known[key], value)


def _judge(graph: Graph, name: str, figures: dict[str, float]) -> None:
    figures["relative"] = figures["max_abs"] / max(figures["range"], 1e-12)
    figures["tolerance"] = graph.tolerance[name]
    error = figures["relative" if graph.relative else "max_abs"]
    if error > graph.tolerance[name]:
        of = " of its range" if graph.relative else ""
        raise ParityError(
            f"{graph.name}: output {name!r} differs from PyTorch by {error:.2g}{of}, tolerance"
            f" {graph.tolerance[name]:.2g}; nothing was written for it"
        )
