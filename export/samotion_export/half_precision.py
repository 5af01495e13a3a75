"""Half precision, written into the graph: weights and products in float16, float32 where float16
breaks.

The graph alone decides every type (TensorRT 10 and 11 build it strongly typed). Node by node, in
order:
- products (convolutions and matrix products) take and give float16. Those with an operand of at
  most `TINY` columns or rows stay float32: they carry coordinates, frequencies or scores, and cost
  nothing;
- norms compute in float32, and what follows them may be float16: their answers are of the order of
  1;
- tables that are looked up by an index are kept as float16: embeddings, and the tracker's 4 MB of
  zeros and ones;
- sums, powers, roots, exponentials, sines and samplings at coordinates stay float32, and so does
  softmax: summed in float16 over tens of thousands of keys it overflows;
- what no input's value decides (position encodings, made from shapes and constants) is computed in
  float32;
- everything else follows its inputs: float16 if all of them are, else float32. So coordinates,
  which arrive as float32 and are only added to, stay so. Inputs and outputs keep the contract's
  types. The motion net is not converted at all: rounding its weights alone costs 2e-2 in logits,
  and it is 1 % of the time. Written for a GPU its attention has half-precision products in either
  precision (motion/whole.py), which costs 3e-4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SUFFIXES: dict[int, str] = {FLOAT: "float", HALF: "half"}
TINY = 3
KEPT_NETS = ("motion",)
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
NORMS = frozenset({"LayerNormalization", "InstanceNormalization", "GlobalAveragePool"})
WIDE = frozenset(
    {
        *("Softmax", "GridSample", "Sin", "Cos", "Exp", "Log", "Pow", "Sqrt", "Reciprocal"),
        *("ReduceMean", "ReduceSum", "ReduceL2", "ReduceProd", "CumSum"),
    }
)
# take any type and give one that does not depend on it
UNTYPED = frozenset({"Shape", "Size", "Cast"})
DATA_INPUTS = {"Resize": (0,)}  # its scales are float32 whatever the data's type
# Products that stay float32 by name, by engine. Hiera's first convolution: what is added to float32
# stays float32, so its residual stream does, in which single channels reach hundreds.
FLOAT_NODES: dict[str, str] = {"sam2_image": r"/trunk/patch_embed/"}


def to_half(model: onnx.ModelProto, engine: str) -> onnx.ModelProto:
    """A copy of a float32 graph in half precision. Raises ValueError for a graph that holds
    others (Loop, If).
    """
    if any(
        a.type == onnx.AttributeProto.GRAPH for node in model.graph.node for a in node.attribute
    ):
        raise ValueError(
            f"{engine}: a graph with loops or branches cannot be converted to half precision"
        )
    result = _Conversion(model, engine).run()
    onnx.checker.check_model(result, full_check=True)
    return result


def precision_of(net: str, wanted: str) -> str:
    """The precision that a net's graphs have where `wanted` (fp32 or fp16) is asked for."""
    return "fp32" if net in KEPT_NETS else wanted


def convert(path: Path, engine: str) -> None:
    """Write the graph of a file again, in half precision."""
    onnx.save(to_half(onnx.load(str(path)), engine), str(path))


class _Conversion:
    """One pass over a graph. `kinds` holds the types of tensors that are no float32 by now."""

    def __init__(self, model: onnx.ModelProto, engine: str) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.float_nodes = re.compile(FLOAT_NODES.get(engine, "(?!)"))
        self.floats = _float_tensors(model)
        self.arrays, self.origins = _constants(self.model.graph)
        self.constant = _value_independent(self.model.graph, self.arrays)
        self.kinds = dict[str, int]()
        self.normed = set[str]()  # float32, but what follows them may be float16
        self.made = dict[tuple[str, int], str]()  # a tensor in another type: its name
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        nodes, others = (
            list(graph.node),
            [t for t in graph.initializer if t.name not in self.arrays],
        )
        for node in nodes:
            if not (node.op_type in ("Constant", "Identity") and node.output[0] in self.arrays):
                self._convert(node)
        self._restore_outputs(graph)
        for field, values in (
            (graph.node, self.nodes),
            (graph.initializer, [*others, *self.weights]),
        ):
            del field[:]
            field.extend(values)
        del graph.value_info[:]
        return self.model

    def _convert(self, node: NodeProto) -> None:
        data = [
            i
            for i in DATA_INPUTS.get(node.op_type, range(len(node.input)))
            if node.input[i] in self.floats
        ]
        kind = self._kind(node, [node.input[i] for i in data])
        for i, name in enumerate(node.input):
            if name in self.floats and not (node.op_type in UNTYPED and name in self.kinds):
                node.input[i] = self._as(name, kind if i in data else FLOAT)
        self.nodes.append(node)
        if node.op_type in NORMS:
            self.normed.update(node.output)
        elif kind != FLOAT and node.op_type not in UNTYPED:
            self.kinds.update((name, kind) for name in node.output if name in self.floats)

    def _kind(self, node: NodeProto, names: list[str]) -> int:
        """The type in which a node computes."""
        varying = [name for name in names if name not in self.constant]
        if (
            node.op_type == "Gather"
            and node.input[0] in self.arrays
            and self.arrays[node.input[0]].ndim > 1
        ):
            return HALF
        if (
            not varying
            or node.op_type in WIDE | NORMS | UNTYPED
            or self.float_nodes.search(node.name)
        ):
            return FLOAT
        if node.op_type in PRODUCTS:
            return FLOAT if any(self._is_tiny(node, name) for name in names[:2]) else HALF
        return HALF if (self.kinds.keys() | self.normed).issuperset(varying) else FLOAT

    def _is_tiny(self, node: NodeProto, name: str) -> bool:
        """Is this operand a constant with hardly any rows or columns (for a convolution: output
        channels)?
        """
        if name not in self.arrays:
            return False
        shape = self.arrays[name].shape
        sides = shape[:1] if node.op_type.startswith("Conv") else shape[-2:]
        return len(shape) > 1 and min(sides) <= TINY

    def _as(self, name: str, kind: int) -> str:
        """The name of a float tensor in the wanted type; a Cast or a converted constant is added
        where needed.
        """
        if name in self.arrays:
            return self._constant(self.origins[name], kind)
        if self.kinds.get(name, FLOAT) == kind:
            return name
        if (name, kind) not in self.made:
            self.made[name, kind] = self._cast(name, _renamed(name, kind), kind)
        return self.made[name, kind]

    def _constant(self, name: str, kind: int) -> str:
        if (name, kind) not in self.made:
            array = self.arrays[name]
            renamed = _renamed(name, kind) if kind == HALF else name
            self.weights.append(
                numpy_helper.from_array(_rounded(array) if kind == HALF else array, renamed)
            )
            self.made[name, kind] = renamed
        return self.made[name, kind]

    def _cast(self, source: str, target: str, kind: int) -> str:
        self.nodes.append(
            onnx.helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)
        )
        return target

    def _restore_outputs(self, graph: onnx.GraphProto) -> None:
        """Float outputs leave as float32 under their own names."""
        for output in graph.output:
            if output.name in self.kinds:
                inner = _renamed(output.name, HALF)
                for node in self.nodes:
                    for names in (node.input, node.output):
                        names[:] = [inner if name == output.name else name for name in names]
                self._cast(inner, output.name, FLOAT)
            elif output.name in self.arrays:
                self._constant(output.name, FLOAT)


def _renamed(name: str, kind: int) -> str:
    return f"{name}/{SUFFIXES[kind]}"


def _rounded(array: np.ndarray) -> np.ndarray:
    """To float16, what is too large becoming the largest: infinities would turn to NaN."""
    limit = float(np.finfo(np.float16).max)
    rounded: np.ndarray = array.clip(-limit, limit).astype(np.float16)
    return rounded


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {v.name for v in values if v.type.tensor_type.elem_type == FLOAT}
    return found | {t.name for t in graph.initializer if t.data_type == FLOAT}


def _constants(graph: onnx.GraphProto) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Float32 constants by name: initialisers, Constant nodes, and Identity nodes that only rename
    one.

    Also the name that each had first: weights that are used again (four refinements, say) are kept
    once.
    """
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == FLOAT}
    origins = {name: name for name in arrays}
    for node in graph.node:
        name = node.output[0] if node.output else ""
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None and value.data_type == FLOAT:
                arrays[name], origins[name] = numpy_helper.to_array(value), name
        elif node.op_type == "Identity" and node.input[0] in arrays:
            arrays[name], origins[name] = arrays[node.input[0]], origins[node.input[0]]
    return arrays, origins


def _value_independent(graph: onnx.GraphProto, known: Iterable[str]) -> set[str]:
    """Tensors that constants and shapes alone decide."""
    found = {*known, *(t.name for t in graph.initializer), ""}
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or found.issuperset(node.input):
            found.update(node.output)
    return found
