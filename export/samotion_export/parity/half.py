"""Does a half-precision graph answer as its PyTorch source does, as far as masks need it?

Rounding to float16 is no mistake, so the limits are those of use: see
`samotion.backends.proof.measures`.

onnxruntime's CPU has no float16 products: it casts around them, and then drops every pair of casts
that meet, and with them the rounding. `open_strictly` keeps the two apart, so that every node's
answer is rounded as on a GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from samotion.backends.proof.measures import limits, measures
from samotion.errors import ParityError

from samotion_export.graph import Graph
from samotion_export.parity.verify import Parity, compared, difference, merge


def compare(graph: Graph, path: Path, answers: Sequence[Mapping[str, np.ndarray]]) -> Parity:
    """As `measure`. Raises ParityError for the first output beyond a limit."""
    parity = measure(graph, path, answers)
    for name, figures in parity.items():
        _judge(graph.name, name, figures)
    return parity


def measure(graph: Graph, path: Path, answers: Sequence[Mapping[str, np.ndarray]]) -> Parity:
    """Run `path` on onnxruntime's CPU on every example and measure how far it is from PyTorch's
    `answers`.

    Per output the largest absolute difference and its part of the range, each of its
    measures, and its limit.
    """
    parity: Parity = {}
    pairs = defaultdict[str, list[tuple[np.ndarray, np.ndarray]]](list)
    for name, got, expected in compared(graph, open_strictly(path), answers):
        merge(parity, name, difference(graph, name, got, expected))
        pairs[name].append((got, expected))
    for name, figures in parity.items():
        figures["relative"] = figures["max_abs"] / max(figures["range"], 1e-12)
        figures |= measures(name, pairs[name])
        figures |= {f"{measure}_limit": limit for measure, limit in limits(name).items()}
    return parity


def open_strictly(path: Path) -> Any:
    """A graph on onnxruntime's CPU that rounds every float16 tensor, overflow included."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        _with_rounding(onnx.load(str(path))).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["EliminateIdentity"],
    )


def _with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with an Identity after every node that gives float16."""
    values = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    halves = {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16}
    nodes = []
    for node in model.graph.node:
        rounded = [name for name in node.output if name in halves]
        node.output[:] = [f"{name}/exact" if name in halves else name for name in node.output]
        nodes.append(node)
        nodes += [onnx.helper.make_node("Identity", [f"{name}/exact"], [name]) for name in rounded]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _judge(engine: str, name: str, figures: Mapping[str, float]) -> None:
    for measure, limit in limits(name).items():
        if figures[measure] > limit:
            raise ParityError(
                f"{engine}: output {name!r} in half precision is {figures[measure]:.2g} off"
                f" ({measure}), limit"
                f" {limit:.2g}; nothing was written for it; use --precision fp32"
            )


def worst(parity: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
    """The output and measure nearest to its limit."""
    ratios = {
        (name, key.removesuffix("_limit")): figures[key.removesuffix("_limit")] / limit
        for name, figures in parity.items()
        for key, limit in figures.items()
        if key.endswith("_limit")
    }
    return max(ratios, key=lambda pair: ratios[pair])
