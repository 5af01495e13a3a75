"""What a graph points to is found wherever a tensor can be; a hostile file is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import wire
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto
from samotion.checks.external_data import external_files
from samotion.errors import EngineError

PAIR = wire.pair(b"location", b"x")


def pointing(location: str) -> TensorProto:
    """A tensor whose numbers lie in another file."""
    tensor = TensorProto(name=location, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    return tensor


def in_attribute(attribute: AttributeProto) -> ModelProto:
    model = ModelProto()
    model.graph.node.add().attribute.append(attribute)
    return model


def with_function(tensor: TensorProto) -> ModelProto:
    model = ModelProto()
    model.functions.add().node.add().attribute.add().t.CopyFrom(tensor)
    return model


def with_training(tensor: TensorProto) -> ModelProto:
    model = ModelProto()
    model.training_info.add().algorithm.initializer.append(tensor)
    return model


PLACES: dict[str, Callable[[TensorProto], ModelProto]] = {
    "initializer": lambda t: ModelProto(graph=GraphProto(initializer=[t])),
    "sparse": lambda t: ModelProto(
        graph=GraphProto(sparse_initializer=[SparseTensorProto(values=t)])
    ),
    "indices": lambda t: ModelProto(
        graph=GraphProto(sparse_initializer=[SparseTensorProto(indices=t)])
    ),
    "attribute": lambda t: in_attribute(AttributeProto(t=t)),
    "attributes": lambda t: in_attribute(AttributeProto(tensors=[t])),
    "sparse attribute": lambda t: in_attribute(
        AttributeProto(sparse_tensor=SparseTensorProto(values=t))
    ),
    "sparse attributes": lambda t: in_attribute(
        AttributeProto(sparse_tensors=[SparseTensorProto(values=t)])
    ),
    "inner graph": lambda t: in_attribute(AttributeProto(g=GraphProto(initializer=[t]))),
    "inner graphs": lambda t: in_attribute(AttributeProto(graphs=[GraphProto(initializer=[t])])),
    "function": with_function,
    "training": with_training,
}


def found(folder: Path, data: bytes) -> set[str]:
    path = folder / "graph.onnx"
    path.write_bytes(data)
    return external_files(path)


@pytest.mark.parametrize("place", PLACES)
def test_tensors_are_found_wherever_they_are(tmp_path: Path, place: str) -> None:
    assert found(tmp_path, PLACES[place](pointing("weights.bin")).SerializeToString()) == {
        "weights.bin"
    }


def test_every_message_that_can_hold_a_tensor_is_known() -> None:
    """The table in samotion.checks.external_data against ONNX's own description."""
    from samotion.checks.external_data import MESSAGES

    messages = {
        "model": "ModelProto",
        "training": "TrainingInfoProto",
        "function": "FunctionProto",
        "graph": "GraphProto",
        "node": "NodeProto",
        "attribute": "AttributeProto",
        "sparse": "SparseTensorProto",
        "tensor": "TensorProto",
        "pair": "StringStringEntryProto",
    }
    kinds = {long: kind for kind, long in messages.items()}
    for kind, fields in MESSAGES.items():
        described = [f for f in getattr(onnx, messages[kind]).DESCRIPTOR.fields if f.message_type]
        inner = {
            f.number: kinds[f.message_type.name] for f in described if f.message_type.name in kinds
        }
        wanted = {number for number in inner if inner[number] != "pair" or number == 13}
        assert wanted == fields.keys()
        assert all(inner[number] == fields[number] for number in fields)


def test_words_that_only_look_like_it_are_none(tmp_path: Path) -> None:
    model = ModelProto(producer_name="location", doc_string="location")
    model.metadata_props.add(key="location", value="nowhere")
    model.graph.initializer.append(TensorProto(name="location", raw_data=PAIR))
    assert found(tmp_path, model.SerializeToString()) == set()


def test_all_names_count_even_those_that_a_later_one_replaces(tmp_path: Path) -> None:
    pairs = PAIR, wire.pair(b"location", b"y"), PAIR + wire.field(2, b"z")
    tensor = b"".join(wire.field(13, pair) for pair in pairs)
    assert found(tmp_path, wire.field(7, wire.field(5, tensor))) == {"x", "y", "z"}


def nested(levels: int) -> bytes:
    """Graphs in attributes of nodes in graphs, and so on, with lengths as they must be."""
    inmost = GraphProto(initializer=[pointing("x")]).SerializeToString()
    parts, size = [inmost], len(inmost)
    for _ in range(levels):
        for number in (6, 5, 1):  # the attribute's graph, the node's attribute, the graph's node
            head = wire.varint(number << 3 | 2) + wire.varint(size)
            parts.append(head)
            size += len(head)
    return wire.varint(7 << 3 | 2) + wire.varint(size) + b"".join(reversed(parts))


def test_deep_nesting_costs_little(tmp_path: Path) -> None:
    assert found(tmp_path, nested(10_000)) == {"x"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3a\x7f" + PAIR,  # longer than the file
        b"\x3b" + PAIR,  # a group
        b"\x00\x00" + PAIR,  # field 0
        b"\xff" * 11 + PAIR,  # a number without end
        b"\xba\x80\x80\x80\x10\x00" + PAIR,  # a field number over 32 bits
        b"\x3a\x10\x2a\x0e\x6a\x0c\x0a\x08location\x12\xff",  # cut off in the pair
        b"\x3a\x12\x2a\x10\x6a\x0e\x0a\x08location\x12\x02\xff\xff",  # no text
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EngineError):
        found(tmp_path, data)


def test_no_damage_brings_another_error(tmp_path: Path, rng: np.random.Generator) -> None:
    good = PLACES["inner graph"](pointing("weights.bin")).SerializeToString()
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(0, len(data), 2):
            data[place] = rng.integers(0, 256)
        try:
            found(tmp_path, bytes(data))
        except EngineError:
            continue
