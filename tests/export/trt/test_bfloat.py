"""SAM 2's attention over its memory in bfloat16, for TensorRT alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import onnx
import onnx.parser
import pytest
from helpers import fake_tensorrt, rtx_compiler
from helpers.sums_net import sums_request
from onnx import TensorProto
from samotion import manifest
from samotion.presets import NANO
from samotion_export import half_precision as half
from samotion_export.export import export
from samotion_export.report import Report
from samotion_export.trt import bfloat
from samotion_export.trt import build as trt_build

CORE = """<ir_version: 8, opset_import: ["" : 17]>
net (float[4, 8] q, float[8, 8] w, float[8, 90] keys, float[90, 8] v) => (float[4, 8] y)
<float[8, 8] one = {ONES}>
{
    projected = MatMul(q, one)
    scores = MatMul(projected, keys)
    weights = Softmax(scores)
    mixed = MatMul(weights, v)
    y = Relu(mixed)
}
""".replace("ONES", ", ".join(["1"] * 64))


def core(owner: str) -> onnx.ModelProto:
    """An attention in half precision, its products named as in a module `owner`."""
    model = onnx.parser.parse_model(CORE)
    _, scores, _, mixed, _ = model.graph.node
    scores.name, mixed.name = f"{owner}/core/MatMul", f"{owner}/core/MatMul_1"
    return half.to_half(model, "sam2_track")


def operand_types(model: onnx.ModelProto) -> dict[str, int]:
    """By name of each product: the type it computes in."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    return {node.name: types[node.input[0]] for node in products}


def test_products_over_the_memory_are_bfloat16_and_scores_float32() -> None:
    model = core("/crosses.0")
    assert set(operand_types(model).values()) == {TensorProto.FLOAT16}
    assert bfloat.has_any(model)
    spelled = bfloat.spelled(model)
    onnx.checker.check_model(spelled, full_check=True)
    types = operand_types(spelled)
    assert types.pop("/crosses.0/core/MatMul") == TensorProto.BFLOAT16
    assert types.pop("/crosses.0/core/MatMul_1") == TensorProto.BFLOAT16
    assert set(types.values()) == {TensorProto.FLOAT16}
    casts = {node.output[0]: node.input[0] for node in spelled.graph.node if node.op_type == "Cast"}
    (softmax,) = (node for node in spelled.graph.node if node.op_type == "Softmax")
    assert casts[softmax.input[0]] == "scores/range"  # not by way of float16


def test_a_gpu_without_bfloat16_gets_float32() -> None:
    types = operand_types(bfloat.spelled(core("/crosses.0"), TensorProto.FLOAT))
    assert types.pop("/crosses.0/core/MatMul") == TensorProto.FLOAT
    assert types.pop("/crosses.0/core/MatMul_1") == TensorProto.FLOAT
    assert set(types.values()) == {TensorProto.FLOAT16}


def test_other_graphs_stay_as_they_are() -> None:
    assert not bfloat.has_any(core("/selves.0"))
    assert not bfloat.has_any(onnx.parser.parse_model(CORE))


@pytest.mark.parametrize(
    ("owner", "has", "kind"),
    [
        ("/crosses.0", True, TensorProto.BFLOAT16),
        ("/crosses.0", False, TensorProto.FLOAT),
        ("/selves.0", True, TensorProto.FLOAT16),
    ],
)
def test_an_engine_is_built_with_the_types_of_its_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: str,
    has: bool,
    kind: int,
) -> None:
    rtx_compiler.use(monkeypatch)
    request = sums_request(tmp_path, monkeypatch, target="onnx")
    export(request, Report(-1))
    entry = replace(manifest.read(request.out).engines["depth"], meta={"kept": 1})
    graph, folders = tmp_path / "net.onnx", (tmp_path, tmp_path)
    onnx.save(core(owner), str(graph))
    target = trt_build.Target(rtx_compiler.VERSION, None, rtx=True, bfloat=has)
    mask = os.umask(0o077)
    try:
        built = trt_build.build("depth", entry, graph, NANO, target, folders, Report(0))
    finally:
        os.umask(mask)
    assert built.file
    plan = tmp_path / built.file
    _, compiled = fake_tensorrt.parts_of(plan.read_bytes())
    types = operand_types(onnx.load_from_string(compiled))
    products = {types[f"{owner}/core/MatMul"], types[f"{owner}/core/MatMul_1"]}
    assert products == {kind}
    assert (compiled == graph.read_bytes()) == (owner == "/selves.0")
    assert built.meta["kept"] == 1
    assert plan.stat().st_mode & 0o777 == 0o644  # whoever runs it may be another user
    assert f"depth: built for {target}, 0.0 MB" in capsys.readouterr().err
