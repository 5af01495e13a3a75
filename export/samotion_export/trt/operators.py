"""Does a graph hold only what TensorRT's ONNX parser takes? The table, with its sources, is
`operators.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto, TensorProto

VERSIONS = ("8.6", "10", "11")
MOST_DIMS = 8
_LETTERS: dict[Any, str] = {
    TensorProto.FLOAT: "F",
    TensorProto.FLOAT16: "F",
    TensorProto.BFLOAT16: "H",
    TensorProto.INT32: "I",
    TensorProto.INT64: "I",
    TensorProto.BOOL: "B",
    TensorProto.UINT8: "U",
}
# Inputs that say where or how, not what: their types are not those of the operator's data.
_AUXILIARY = {
    **{
        "Expand": (1,),
        "Gather": (1,),
        "GatherElements": (1,),
        "GatherND": (1,),
        "Pad": (1, 3),
        "Reshape": (1,),
    },
    **{
        "Resize": (1, 2, 3),
        "ScatterND": (1,),
        "Slice": (1, 2, 3, 4),
        "Split": (1,),
        "Squeeze": (1,),
        "Tile": (1,),
    },
    **{"Unsqueeze": (1,), "Where": (0,), "ReduceSum": (1,), "ConstantOfShape": (0,)},
}
# Auxiliary inputs that must be constants.
_CONSTANT = {
    **{
        "ReduceSum": (1,),
        "Slice": (3,),
        "Squeeze": (1,),
        "Unsqueeze": (1,),
        "InstanceNormalization": (1, 2),
    },
}


@cache
def table() -> dict[str, Any]:
    """What the parser of each version takes, by operator."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return loaded


def problems(model: onnx.ModelProto, version: str) -> list[str]:
    """What the parser of TensorRT `version` (one of VERSIONS) would refuse, one line for each
    node.
    """
    graph = _Graph(model)
    found = [
        f"opset {o.version} of {o.domain or 'ai.onnx'}; at most {table()['opset'][version]}"
        for o in model.opset_import
        if o.domain not in ("", "ai.onnx") or o.version > table()["opset"][version]
    ]
    for node in graph.nodes():
        found += [
            f"{node.op_type} {node.name}: {problem}"
            for problem in _node_problems(node, graph, version)
        ]
    return found


class _Graph:
    """Types, ranks and constants of a model's tensors, those of loop bodies included."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self.types: dict[str, int] = {}
        self.ranks: dict[str, int] = {}
        self.constants = set[str]()
        self.outputs = {o.name for o in self.proto.output}
        for part in self._graphs():
            for value in (*part.input, *part.output, *part.value_info):
                kind = value.type.tensor_type
                self.types[value.name] = kind.elem_type
                if kind.HasField("shape"):
                    self.ranks[value.name] = len(kind.shape.dim)
            for tensor in part.initializer:
                self.types[tensor.name], self.ranks[tensor.name] = (
                    tensor.data_type,
                    len(tensor.dims),
                )
                self.constants.add(tensor.name)
            for node in part.node:
                if node.op_type == "Constant" or (
                    node.op_type == "Identity" and node.input[0] in self.constants
                ):
                    self.constants.update(node.output)
        self.used = {name for node in self.nodes() for name in node.input} | self.outputs

    def _graphs(self) -> Iterator[onnx.GraphProto]:
        todo = [self.proto]
        while todo:
            part = todo.pop()
            yield part
            todo += [
                a.g
                for node in part.node
                for a in node.attribute
                if a.type == onnx.AttributeProto.GRAPH
            ]

    def nodes(self) -> Iterator[NodeProto]:
        for part in self._graphs():
            yield from part.node


def _node_problems(node: NodeProto, graph: _Graph, version: str) -> Iterator[str]:
    known = table()["operators"].get(node.op_type)
    if known is None:
        yield "not in the table of operators"
        return
    for i, name in enumerate(node.input):
        letter = _LETTERS.get(graph.types.get(name))
        if letter and i not in _AUXILIARY.get(node.op_type, ()) and letter not in known[version]:
            yield f"takes {TensorProto.DataType.Name(graph.types[name])}"
        if i in _CONSTANT.get(node.op_type, ()) and name and name not in graph.constants:
            yield f"input {i} is not a constant"
    if any(graph.ranks.get(name, 0) > MOST_DIMS for name in (*node.input, *node.output)):
        yield f"more than {MOST_DIMS} dimensions"
    if rule := _RULES.get(node.op_type):
        yield from rule(node, graph)


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next(
        (onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default
    )


def _cast(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if graph.types.get(node.input[0]) == TensorProto.UINT8:
        if _attribute(node, "to", 0) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            yield "uint8 must become float"
        if node.input[0] not in {i.name for i in graph.proto.input}:
            yield "uint8 is for network inputs and outputs only"
    if _attribute(node, "to", 0) == TensorProto.UINT8:
        if graph.types.get(node.input[0]) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            yield "uint8 comes of floats only"
        if node.output[0] not in graph.outputs:
            yield "uint8 is for network inputs and outputs only"


def _grid_sample(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if graph.ranks.get(node.input[0]) != 4:
        yield f"rank {graph.ranks.get(node.input[0])}, expected 4"
    if len({graph.types.get(name) for name in node.input}) > 1:
        yield "data and grid of different types"


def _instance_norm(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if not 3 <= graph.ranks.get(node.input[0], 3) <= 5:
        yield f"rank {graph.ranks[node.input[0]]}, expected 3 to 5"


def _layer_norm(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if any(name in graph.used for name in node.output[1:]):
        yield "only the first output is supported"


def _loop(node: NodeProto, graph: _Graph) -> Iterator[str]:
    if len(node.input) < 3:
        yield "no value is carried from round to round"


def _resize(node: NodeProto, graph: _Graph) -> Iterator[str]:
    mode = _attribute(node, "mode", b"nearest")
    if mode not in (b"nearest", b"linear"):
        yield f"mode {mode.decode()}"
    if _attribute(node, "antialias", 0):
        yield "antialiasing"


_RULES: dict[str, Callable[[NodeProto, _Graph], Iterator[str]]] = {
    "Cast": _cast,
    "GridSample": _grid_sample,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "Loop": _loop,
    "Resize": _resize,
}
