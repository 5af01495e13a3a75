"""For TensorRT 10 and 11: SAM 2's attention over its memory in bfloat16, or in float32 where a GPU
has none.

A fused kernel sums over tens of thousands of keys, beyond float16's range. The graph beside an
engine keeps float16 there, for onnxruntime has no bfloat16 products on a CPU.
"""

from __future__ import annotations

import re

import onnx
from onnx import NodeProto, TensorProto, helper

# the products of samotion_export.sam2.fused's cross-attentions
PRODUCTS = re.compile(r"^/crosses\.\d+/core/MatMul(_1)?$")


def spelled(model: onnx.ModelProto, kind: int = TensorProto.BFLOAT16) -> onnx.ModelProto:
    """`model`, in half precision, with these products in another `kind` of numbers; casts that meet
    are one.
    """
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    changed = {node.output[0] for node in model.graph.node if PRODUCTS.match(node.name)}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.output and node.output[0] in changed:
            nodes += _product(node, casts, kind)
        else:
            if node.op_type == "Cast" and node.input[0] in changed:
                node.input[0] = _named(node.input[0])
            nodes.append(node)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


def has_any(model: onnx.ModelProto) -> bool:
    """Whether there are such products, in float16."""
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    return bool(halves) and any(PRODUCTS.match(node.name) for node in model.graph.node)


def _product(node: NodeProto, casts: dict[str, NodeProto], kind: int) -> list[NodeProto]:
    """A product between casts."""
    made = []
    for i, name in enumerate(node.input):
        source = casts[name].input[0] if name in casts else name
        node.input[i] = f"{_named(name)}/{node.name}"
        made.append(_cast(source, node.input[i], kind))
    answer = node.output[0]
    node.output[0] = _named(answer)
    return [*made, node, _cast(node.output[0], answer, TensorProto.FLOAT16)]


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)


def _named(name: str) -> str:
    return f"{name}/range"
