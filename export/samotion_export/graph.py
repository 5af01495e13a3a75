"""A graph to export: a module, its name in the contract, and real-looking inputs to trace and
compare it on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from samotion.contract import DYNAMIC, SIGNATURES, Tensor
from samotion.errors import EngineError

OPSET = 17


@dataclass(frozen=True)
class Graph:
    """One engine to be.

    `module` takes and gives tensors in the contract's order. `examples` are at least two sets of
    inputs that differ in every dynamic size: the first is traced, all are compared. `tolerance`
    maps each output to the largest absolute difference from PyTorch that float32 may show, or
    `relative` to the output's own range. `functions` stand for nodes outside ONNX's own set that
    the trace leaves behind; they are written in its place.
    """

    name: str
    module: torch.nn.Module
    examples: tuple[tuple[np.ndarray, ...], ...]
    tolerance: Mapping[str, float]
    relative: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[onnx.FunctionProto, ...] = ()


Shapes = tuple[dict[str, list[int | str]], dict[str, list[int | str]]]
MAX_ONNX_BYTES = 2**31 - 1  # protobuf's limit for one file


def export_onnx(graph: Graph, path: Path, shapes: Shapes | None = None) -> None:
    """Trace `graph` at opset 17 into `path`, with the contract's names and dimensions on every
    input and output.

    `shapes`: what `shapes_of` answers, where it is known already. Raises EngineError for a graph
    over 2 GB.
    """
    size = sum(
        t.nbytes for t in {t.data_ptr(): t for t in graph.module.state_dict().values()}.values()
    )
    if size > MAX_ONNX_BYTES:
        raise EngineError(
            f"{graph.name}: its weights take {size / 1e9:.2f} GB, but an ONNX file holds 2.14"
            f" GB at most"
        )
    _trace(graph, path)
    model = onnx.load(str(path))
    if graph.functions:
        model.functions.extend(graph.functions)
        model = onnx.inliner.inline_local_functions(model)
        for opset in [
            o for o in model.opset_import if o.domain in {f.domain for f in graph.functions}
        ]:
            model.opset_import.remove(opset)
    if (opsets := [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]) != [
        OPSET
    ]:
        raise EngineError(
            f"{graph.name}: the exporter wrote opset {opsets}, expected {OPSET}; install the"
            f" tested torch"
        )
    _name_dims(model, shapes or shapes_of(graph))
    onnx.save(model, str(path))


def _trace(graph: Graph, path: Path) -> None:
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


def shapes_of(graph: Graph, outputs: Mapping[str, np.ndarray] | None = None) -> Shapes:
    """The contract's dims of every input and output with the preset's letters replaced by their
    sizes.

    `outputs`: what PyTorch answers on the first example, where it is known already.
    """
    signature = SIGNATURES[graph.name]
    outputs = outputs or run_module(graph, graph.examples[0])
    example = dict(zip(signature.input_names, graph.examples[0]))
    return (
        {t.name: _dims(t, example[t.name].shape) for t in signature.inputs},
        {t.name: _dims(t, outputs[t.name].shape) for t in signature.outputs},
    )


def run_module(graph: Graph, inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """What PyTorch answers."""
    with torch.no_grad():
        outputs = graph.module.eval()(*(torch.from_numpy(a.copy()) for a in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: o.numpy() for name, o in zip(SIGNATURES[graph.name].output_names, outputs)}


def _dims(tensor: Tensor, shape: tuple[int, ...]) -> list[int | str]:
    return [dim if dim in DYNAMIC else size for dim, size in zip(tensor.dims, shape)]


def _name_dims(model: onnx.ModelProto, shapes: Shapes) -> None:
    """The exporter invents names and sizes for output dimensions; write the contract's over
    them.
    """
    for values, dims in zip((model.graph.input, model.graph.output), shapes):
        for value in values:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in dims[value.name]:
                dim = shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
                else:
                    dim.dim_param = size
