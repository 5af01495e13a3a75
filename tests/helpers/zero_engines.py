"""Engine folders that open, and answer zeros."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from samotion import manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import SIGNATURES, Tensor
from samotion.manifest import Entry, Manifest
from samotion.presets import NANO


def zero_graph(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bytes:
    """An ONNX graph with given borders that answers zeros (every letter is 1)."""
    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}

    def info(tensor: Tensor) -> Any:
        return helper.make_tensor_value_info(tensor.name, kinds[tensor.dtype], list(tensor.dims))

    nodes = []
    for tensor in outputs:
        shape = [dim if isinstance(dim, int) else 1 for dim in tensor.dims]
        value = helper.make_tensor("value", kinds[tensor.dtype], shape, [0] * int(np.prod(shape)))
        nodes.append(helper.make_node("Constant", [], [tensor.name], value=value))
    graph = helper.make_graph(nodes, "zeros", [info(t) for t in inputs], [info(t) for t in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def write_engine(folder: Path, name: str, model: bytes) -> Entry:
    """Put a model into an engine folder; the entry that its manifest needs."""
    (folder / f"{name}.onnx").write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    signature = SIGNATURES[name]
    inputs, outputs = (
        {t.name: list(t.dims) for t in side} for side in (signature.inputs, signature.outputs)
    )
    return Entry(f"{name}.onnx", digest, digest, digest, "fp32", inputs, outputs, {}, "")


def write_folder(folder: Path) -> Path:
    """A whole engine folder of the contract whose engines open, and answer zeros."""
    folder.mkdir()
    entries = {
        n: write_engine(folder, n, zero_graph(s.inputs, s.outputs)) for n, s in SIGNATURES.items()
    }
    manifest.write(folder, Manifest("nano", {}, entries, numbers_of(NANO)))
    return folder
