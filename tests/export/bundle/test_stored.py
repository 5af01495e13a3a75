"""Tensors of a graph are found among stored ones, exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from samotion.checks.external_data import external_files
from samotion_export.bundle import share
from samotion_export.bundle.stored import Stored

# What export does to a stored weight (96,4,8) in half precision, and whether its numbers are found.
FOLDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], bool]] = {
    "widened": (lambda w: w, True),
    "reshaped": (lambda w: w.reshape(96, 32), True),
    "transposed": (lambda w: w.reshape(96, 32).T, True),
    "cut": (lambda w: w[32:64], True),
    "cut and transposed": (lambda w: w[32:64].reshape(32, 32).T, True),
    "in another order": (lambda w: w[::-1], True),
    "in another order, transposed": (lambda w: w[::3].reshape(32, 32).T, True),
    "scaled": (lambda w: w * np.linspace(-0.3, 2, 96, dtype=np.float32).reshape(-1, 1, 1), True),
    "in another order and scaled": (lambda w: w[::2] * np.float32(128**-0.5), True),
    "another number": (lambda w: w + (np.arange(w.size).reshape(w.shape) == 5), False),
    "summed": (lambda w: w[:48] + w[48:], False),
    "column by column": (lambda w: w * np.linspace(1, 2, 8, dtype=np.float32), False),
}


@pytest.fixture
def weight(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(96, 4, 8)).astype(np.float16)


@pytest.fixture
def stored(tmp_path: Path, weight: np.ndarray) -> Stored:
    save_file(
        {"first": np.zeros(5, np.float16), "w": weight, "count": np.zeros(1, np.int64)},
        tmp_path / "w.safetensors",
    )
    return Stored(tmp_path / "w.safetensors")


def model_of(array: np.ndarray, as_node: bool) -> onnx.ModelProto:
    """y = x + array."""
    tensor = numpy_helper.from_array(array, "a")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(array.shape)) for name in "xy"
    ]
    nodes = [helper.make_node("Add", ["x", "a"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["a"], value=tensor))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [] if as_node else [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize("fold", FOLDS)
def test_a_graph_answers_as_before_by_the_stored_weights(
    tmp_path: Path, stored: Stored, weight: np.ndarray, fold: str, as_node: bool
) -> None:
    change, known = FOLDS[fold]
    array = np.ascontiguousarray(change(weight.astype(np.float32)), np.float32)
    path = tmp_path / "graph.onnx"
    onnx.save(model_of(array, as_node), str(path))
    model = share.load(path)
    share.share(model, [stored])
    onnx.save(model, str(path))
    (answer,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": np.zeros_like(array)})
    np.testing.assert_array_equal(answer, array)
    assert external_files(path) == ({"w.safetensors"} if known else set())


def test_other_numbers_become_tables_in_the_smallest_type(
    stored: Stored, weight: np.ndarray, rng: np.random.Generator
) -> None:
    arrays = {
        "u8": rng.integers(0, 2, (64, 64)).astype(np.float32),
        "f16": np.repeat(rng.normal(size=64).astype(np.float16), 64).astype(np.float32),
        "f32": rng.normal(size=4096).astype(np.float32),
        "known": weight.astype(np.float32),
        "small": rng.normal(size=100).astype(np.float32),
    }
    arrays["again"] = arrays["f32"]
    tables = share.tables_of(
        {name: model_of(array, False) for name, array in arrays.items()}, [stored]
    )
    assert {name: table.dtype.name for name, table in tables.items()} == {
        "u8.a": "uint8",
        "f16.a": "float16",
        "f32.a": "float32",
    }
