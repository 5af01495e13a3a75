"""Graphs whose weights lie in safetensors files beside them, so that each number is stored once.

Every large tensor of a graph becomes a pointer into such a file and the few nodes that make it from
what is stored. onnxruntime folds those nodes when it opens the graph, and then computes the same to
the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from samotion_export.bundle.stored import Source, Stored, find, narrowed

LEAST = 64  # numbers; smaller tensors stay in the graph
LEAST_TABLE = 4096  # numbers; what is smaller and made from no weight stays in the graph too
# In the order of `Source`, each with the name of its second input.
OPERATORS = {"Gather": "order", "Mul": "factor", "Reshape": "shape"}
Step = tuple[str, str | None, dict[str, Any]]  # operator, name of its second input, attributes


def load(path: Path) -> onnx.ModelProto:
    """A graph with its constants among its initializers."""
    model = onnx.load(str(path))
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        if [a.name for a in node.attribute] == ["value"]:
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            model.graph.node.remove(node)
    return model


def tables_of(
    models: Mapping[str, onnx.ModelProto], stored: Sequence[Stored]
) -> dict[str, np.ndarray]:
    """The large tensors that no weight gives, each once, in the smallest type that holds it."""
    found: dict[bytes, tuple[str, np.ndarray]] = {}
    for graph, model in models.items():
        for name, array in _large(model):
            if array.size >= LEAST_TABLE and find(array, stored) is None:
                found.setdefault(array.tobytes(), (f"{graph}.{name}", array))
    return {name: _smallest(array) for name, array in found.values()}


def share(model: onnx.ModelProto, stored: Sequence[Stored]) -> None:
    """Let the graph read its large tensors from `stored`, which lie beside it."""
    sources = {name: source for name, array in _large(model) if (source := find(array, stored))}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in sources]
    tensors, nodes = kept, list[NodeProto]()
    for name, source in sources.items():
        more, steps = _parts(name, source)
        tensors += more
        nodes += steps
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend(nodes)


def _large(model: onnx.ModelProto) -> Iterator[tuple[str, np.ndarray]]:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST:
            yield tensor.name, numpy_helper.to_array(tensor)


def _smallest(array: np.ndarray) -> np.ndarray:
    for dtype in (np.uint8, np.float16):
        narrow = narrowed(array, dtype)
        if narrow is not None:
            return narrow
    return array


def _parts(name: str, source: Source) -> tuple[list[TensorProto], list[NodeProto]]:
    """The tensors and nodes that make `name` from what is stored."""
    inputs = {"order": source.order, "factor": source.factor}
    inputs["shape"] = None if source.final is None else np.array(source.final)
    steps: list[Step] = (
        [("Cast", None, {"to": TensorProto.FLOAT})] if source.dtype is not np.float32 else []
    )
    steps += [(op, key, {}) for op, key in OPERATORS.items() if inputs[key] is not None]
    steps += [("Transpose", None, {"perm": [1, 0]})] if source.transposed else []
    arrays = {f"{name}/{key}": array for key, array in inputs.items() if array is not None}
    pointer = _pointer(f"{name}/stored" if steps else name, source)
    return [pointer, *(numpy_helper.from_array(a, n) for n, a in arrays.items())], _chain(
        name, steps
    )


def _chain(name: str, steps: Sequence[Step]) -> list[NodeProto]:
    """The steps as nodes, from `name`/stored to `name`."""
    nodes, before = [], f"{name}/stored"
    for place, (op, key, attributes) in enumerate(steps, 1):
        after = name if place == len(steps) else f"{name}/{op.lower()}"
        inputs = [before] if key is None else [before, f"{name}/{key}"]
        nodes.append(helper.make_node(op, inputs, [after], f"{name}/{op}", **attributes))
        before = after
    return nodes


def _pointer(name: str, source: Source) -> TensorProto:
    """A tensor whose numbers lie in a file beside the graph."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(source.dtype))
    tensor = TensorProto(
        name=name, data_type=kind, dims=source.shape, data_location=TensorProto.EXTERNAL
    )
    length = int(np.prod(source.shape)) * np.dtype(source.dtype).itemsize
    for key, value in (("location", source.file), ("offset", source.offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
