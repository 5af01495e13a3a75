"""A graph to export: a module, its name in the contract, and real-looking inputs to trace and compare it on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from samotion.contract import DYNAMIC, SIGNATURES, Tensor

OPSET = 17
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Graph:
    """One engine to be.

    `module` takes and gives tensors in the contract's order. `examples` are at least two sets of inputs that differ
    in every dynamic size: the first is traced, all are compared. `tolerance` maps each output to the largest
    absolute difference from PyTorch that float32 may show, or `relative` to the output's own range.
    """

    name: str
    module: torch.nn.Module
    examples: tuple[tuple[Array, ...], ...]
    tolerance: Mapping[str, float]
    relative: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)


def export_onnx(graph: Graph, path: Path) -> None:
    """Trace `graph` at opset 17 into `path`, with the contract's names and dimensions on every input and output."""
    signature = SIGNATURES[graph.name]
    tensors = (*signature.inputs, *signature.outputs)
    dynamic = {t.name: {i: d for i, d in enumerate(t.dims) if d in DYNAMIC} for t in tensors}
    example = tuple(torch.from_numpy(a.copy()) for a in graph.examples[0])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            example,
            str(path),
            input_names=list(signature.input_names),
            output_names=list(signature.output_names),
            dynamic_axes={name: axes for name, axes in dynamic.items() if axes},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [OPSET]
    _name_dims(model, graph)
    onnx.save(model, str(path))


def shapes_of(graph: Graph) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
    """The contract's dims of every input and output with the preset's letters replaced by their sizes."""
    signature = SIGNATURES[graph.name]
    outputs = run_module(graph, graph.examples[0])
    example = dict(zip(signature.input_names, graph.examples[0]))
    return (
        {t.name: _dims(t, example[t.name].shape) for t in signature.inputs},
        {t.name: _dims(t, outputs[t.name].shape) for t in signature.outputs},
    )


def run_module(graph: Graph, inputs: tuple[Array, ...]) -> dict[str, Array]:
    """What PyTorch answers."""
    with torch.no_grad():
        outputs = graph.module.eval()(*(torch.from_numpy(a.copy()) for a in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: o.numpy() for name, o in zip(SIGNATURES[graph.name].output_names, outputs)}


def _dims(tensor: Tensor, shape: tuple[int, ...]) -> list[int | str]:
    return [dim if dim in DYNAMIC else size for dim, size in zip(tensor.dims, shape)]


def _name_dims(model: onnx.ModelProto, graph: Graph) -> None:
    """The exporter invents names and sizes for output dimensions; write the contract's over them."""
    inputs, outputs = shapes_of(graph)
    for values, dims in ((model.graph.input, inputs), (model.graph.output, outputs)):
        for value in values:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in dims[value.name]:
                dim = shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
                else:
                    dim.dim_param = size
