"""Compare an exported graph with its module, on inputs that the export never saw."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from samotion.contract import SIGNATURES
from samotion_export import half_precision as half
from samotion_export.graph import OPSET, Graph, export_onnx, run_module
from samotion_export.spelling import Spelling
from samotion_export.trt import operators


def check(graph: Graph, folder: Path, inputs: Iterable[tuple[Any, ...]] = ()) -> onnx.ModelProto:
    """Export `graph`, compare it on its own examples and on `inputs`, and give the model.

    Nothing but ONNX's own operators at the promised opset may be in it.
    """
    path = folder / f"{graph.name}.onnx"
    export_onnx(graph, path)
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    signature = SIGNATURES[graph.name]
    for arrays in (*graph.examples, *inputs):
        got = dict(
            zip(signature.output_names, session.run(None, dict(zip(signature.input_names, arrays))))
        )
        for name, expected in run_module(graph, arrays).items():
            allowed = graph.tolerance[name] * (np.ptp(expected) if graph.relative else 1)
            assert got[name].shape == expected.shape
            assert np.abs(got[name] - expected).max() <= allowed, [a.shape for a in arrays]
    return model


def check_for_tensorrt(model: onnx.ModelProto, name: str, spelling: Spelling) -> None:
    """Every TensorRT that is given graphs of this spelling takes the model in both precisions."""
    halved = [] if name in half.KEPT_NETS else [half.to_half(model, name)]
    versions = operators.VERSIONS if spelling is Spelling.CPU else operators.VERSIONS[1:]
    for version in versions:
        for each in (model, *halved):
            assert operators.problems(each, version) == []


def most_axes(model: onnx.ModelProto) -> int:
    """Of any array in a graph."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    return max(len(value.type.tensor_type.shape.dim) for value in known)
