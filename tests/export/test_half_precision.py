"""Half-precision graphs: which node computes in which type, what stays as it was, and how far
answers move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from helpers.sums_net import sums_request
from onnx import TensorProto
from samotion import manifest
from samotion.backends.proof.measures import measures
from samotion.contract import NETS, SIGNATURES, engines_of
from samotion.errors import ParityError
from samotion_export import half_precision as half
from samotion_export.export import export
from samotion_export.graph import Graph, export_onnx, run_module
from samotion_export.parity import half as half_parity
from samotion_export.report import Report

Run = Callable[..., list[np.ndarray]]

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
SIZE_LIMIT = 0.55  # of the float32 files, the motion net aside


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEADER + text)


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {
        v.name: v.type.tensor_type.elem_type
        for v in (*graph.input, *graph.output, *graph.value_info)
    }
    return found | {t.name: t.data_type for t in graph.initializer}


def computes_in(model: onnx.ModelProto, op: str) -> set[int]:
    """Types of the first inputs of all nodes of one operator."""
    known = tensor_types(model)
    return {known[node.input[0]] for node in model.graph.node if node.op_type == op}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a model with all its rounding."""

    def call(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
        onnx.save(model, str(tmp_path / "model.onnx"))
        return list(half_parity.open_strictly(tmp_path / "model.onnx").run(None, inputs))

    return call


ATTENTION = """
net (float[4, 8] x) => (float[4, 8] y)
<float[8] scale = {1, 1, 1, 1, 1, 1, 1, 1}, float[8] none = {0, 0, 0, 0, 0, 0, 0, 0}>
{
    keys = Transpose(x)
    products = MatMul(x, keys)
    scores = Relu(products)
    weights = Softmax(scores)
    mixed = MatMul(weights, x)
    y = LayerNormalization(mixed, scale, none)
}
"""


def test_products_are_half_and_sums_are_not() -> None:
    model = half.to_half(parse(ATTENTION), "test")
    assert computes_in(model, "MatMul") == {TensorProto.FLOAT16}
    assert computes_in(model, "Relu") == {TensorProto.FLOAT16}
    for op in ("Softmax", "LayerNormalization"):
        assert computes_in(model, op) == {TensorProto.FLOAT}


def test_inputs_and_outputs_stay_as_they_were(run: Run, rng: np.random.Generator) -> None:
    model = half.to_half(parse(ATTENTION), "test")
    x = rng.normal(0, 1, (4, 8)).astype(np.float32)
    (expected,), (got,) = run(parse(ATTENTION), x=x), run(model, x=x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=5e-3)
    assert not np.array_equal(got, expected)  # it did round


def test_softmax_over_more_keys_than_half_can_sum(run: Run) -> None:
    """70,000 equal scores: their exponentials sum to more than 65,504."""
    text = """net (float[1, 8] x, float[8, 70000] keys) => (float[1, 70000] y)
    { s = MatMul(x, keys) y = Softmax(s) }"""
    (y,) = run(
        half.to_half(parse(text), "test"),
        x=np.zeros((1, 8), np.float32),
        keys=np.ones((8, 70000), np.float32),
    )
    np.testing.assert_allclose(y, 1 / 70000, rtol=1e-3)


def test_weights_that_are_used_again_are_kept_once(run: Run, rng: np.random.Generator) -> None:
    """The tracer names a weight anew for every use."""
    text = """net (float[4, 8] x) => (float[4, 8] y, float[8, 8] w2)
    <float[8, 8] w = {%s}>
    { w2 = Identity(w) w3 = Identity(w2) a = MatMul(x, w) b = MatMul(a, w2) y = MatMul(b, w3) }"""
    text = text.replace("%s", ", ".join(["0.25"] * 64))
    model = half.to_half(parse(text), "test")
    kinds = sorted(t.data_type for t in model.graph.initializer)
    assert kinds == [TensorProto.FLOAT, TensorProto.FLOAT16]  # the former is an output
    x = rng.normal(0, 1, (4, 8)).astype(np.float32)
    y, w2 = run(model, x=x)
    np.testing.assert_allclose(y, run(parse(text), x=x)[0], atol=0.05)
    assert (w2 == 0.25).all()


def test_coordinates_are_never_rounded(run: Run) -> None:
    """250.3 px is 250.25 in float16; a step that a product gives is added to it in float32."""
    text = """net (float[8, 8] x, float[8, 8] px) => (float[8, 8] moved) { step = MatMul(x, x) moved = Add(px, step) }"""
    px = np.full((8, 8), 250.3, np.float32)
    (moved,) = run(half.to_half(parse(text), "test"), x=np.zeros((8, 8), np.float32), px=px)
    np.testing.assert_array_equal(moved, px)


def test_frequencies_of_coordinates_stay_float() -> None:
    """A product with a constant of two rows is geometry, and position encodings depend on no
    input's value.
    """
    text = """net (float[n, 2] xy, float[4, n] x) => (float[n, 4] waves, float[4, n] y)
    <float[2, 4] frequencies = {1, 2, 3, 4, 5, 6, 7, 8}, float[1, 4] row = {1, 2, 3, 4}>
    { angles = MatMul(xy, frequencies) waves = Sin(angles)
      size = Shape <start = 1> (x) steps = ConstantOfShape <value = float[1] {0.5}> (size) side = Unsqueeze(steps, axis)
      places = MatMul(side, row) turned = MatMul(x, places) up = Transpose(turned) y = MatMul(up, x) }"""
    model = parse(text.replace("8}, float[1, 4]", "8}, int64[1] axis = {1}, float[1, 4]"))
    converted = half.to_half(model, "test")
    known = tensor_types(converted)
    products = [known[n.input[0]] for n in converted.graph.node if n.op_type == "MatMul"]
    assert products == [TensorProto.FLOAT] * 2 + [TensorProto.FLOAT16] * 2


def test_what_is_too_large_for_half_becomes_its_largest(run: Run) -> None:
    text = """net (float[1, 4] x) => (float[1, 4] y)
    <float[4, 4] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, float[1, 4] b = {1e9, -1e9, 0, 1}>
    { a = MatMul(x, w) y = Min(a, b) }"""
    (y,) = run(half.to_half(parse(text), "test"), x=np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(y, np.array([[1, -65504, 0, 1]], np.float32))


def test_an_output_that_is_used_again_inside(run: Run) -> None:
    text = """net (float[2, 8] x, float[8, 8] w) => (float[2, 8] y, float[2, 8] z) { y = MatMul(x, w) z = Relu(y) }"""
    model = half.to_half(parse(text), "test")
    y, z = run(model, x=np.ones((2, 8), np.float32), w=np.eye(8, dtype=np.float32))
    assert y.dtype == z.dtype == np.float32 and np.array_equal(y, z)
    assert computes_in(model, "Relu") == {TensorProto.FLOAT16}


def test_comparing_sees_the_rounding_and_the_overflow(run: Run) -> None:
    """onnxruntime alone would keep 2049 and 70,000 in float32 between two products."""
    text = "net (float[2, 4] x, float[4, 4] one) => (float[2, 4] y) { a = MatMul(x, one) y = MatMul(a, one) }"
    x = np.full((2, 4), 2048, np.float32)
    x[0, 0] = 2049
    (y,) = run(half.to_half(parse(text), "test"), x=x, one=np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(y, 2048)
    with np.errstate(all="ignore"):
        (y,) = run(half.to_half(parse(text), "test"), x=x, one=40 * np.eye(4, dtype=np.float32))
    assert np.isinf(y).any()


def test_loops_are_refused() -> None:
    text = """net (float[2] x, int64 count, bool go) => (float[2] y)
    { y = Loop(count, go, x) <body = once (int64 i, bool on, float[2] a) => (bool on_out, float[2] b)
      { on_out = Identity(on) b = Add(a, a) }> }"""
    with pytest.raises(ValueError, match="loops"):
        half.to_half(parse(text), "test")


def test_all_graphs_of_nano_convert(engine_folder: Path) -> None:
    """Well-formed, float32 at their borders, hardly over half the size; attention sums and
    samplings in float32.
    """
    before = after = 0
    for name in (name for net in NETS if net not in half.KEPT_NETS for name in engines_of(net)):
        path = engine_folder / f"{name}.onnx"
        model = half.to_half(onnx.load(str(path)), name)
        onnx.checker.check_model(model, full_check=True)
        known, signature = tensor_types(model), SIGNATURES[name]
        for tensor in (*signature.inputs, *signature.outputs):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(known[tensor.name])
            assert dtype == tensor.dtype, (name, tensor.name)
        titles = [node.name for node in model.graph.node]
        assert len(set(titles)) == len(titles), name
        for op in ("Softmax", "GridSample", "LayerNormalization", "InstanceNormalization", "Sin"):
            assert computes_in(model, op) <= {TensorProto.FLOAT}, (name, op)
        before += path.stat().st_size
        after += model.ByteSize()
    assert after <= SIZE_LIMIT * before


class Scaled(torch.nn.Module):
    """Stands in for the tracker's last graph: positions from a product, `off` px from the truth
    in half precision.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, width, bias=False)
        torch.nn.init.eye_(self.linear.weight)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.linear(frames.float().mean(-1) * 1.001)


def scaled_graph(rng: np.random.Generator) -> Graph:
    frames = [rng.integers(0, 256, (b, 6, 8, 3), np.uint8) for b in (1, 2)]
    return Graph("depth", Scaled(), tuple((f,) for f in frames), {"disparity": 1e-3})


def test_figures_say_how_far_half_is(tmp_path: Path, rng: np.random.Generator) -> None:
    graph, path = scaled_graph(rng), tmp_path / "depth.onnx"
    answers = export_half(graph, path)
    figures = half_parity.compare(graph, path, answers)["disparity"]
    assert 0 < figures["relative"] < figures["relative_limit"] == 0.01
    assert half_parity.worst({"disparity": figures}) == ("disparity", "relative")


def test_a_graph_beyond_its_limit_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    graph, path = scaled_graph(rng), tmp_path / "depth.onnx"
    wrong = [
        {"disparity": answer["disparity"] + np.linspace(0, 9, 8, dtype=np.float32)}
        for answer in export_half(graph, path)
    ]
    with pytest.raises(
        ParityError, match=r"depth: output 'disparity' in half precision is 0\.\d+ off \(relative\)"
    ):
        half_parity.compare(graph, path, wrong)


def export_half(graph: Graph, path: Path) -> list[dict[str, np.ndarray]]:
    export_onnx(graph, path)
    half.convert(path, graph.name)
    return [run_module(graph, example) for example in graph.examples]


@pytest.mark.parametrize(
    ("name", "change", "measure", "value"),
    [
        ("tracks", lambda x: x + np.array([0.3, 0.4], np.float32), "median_px", 0.5),
        (
            "tracks",
            lambda x: np.where(np.arange(10)[:, None, None] < 3, x + 1, x),
            "far_share",
            0.3,
        ),
        ("features", lambda x: -x, "cosine_loss", 2.0),
        ("pointer", lambda x: x * np.float32(1.1), "rms", 0.1),
    ],
)
def test_measures(
    rng: np.random.Generator,
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    measure: str,
    value: float,
) -> None:
    want = rng.normal(0, 10, (10, 4, 2)).astype(np.float32)
    assert measures(name, [(change(want), want)])[measure] == pytest.approx(value, rel=1e-3)


def test_one_flipped_choice_is_no_failure(rng: np.random.Generator) -> None:
    want = rng.normal(0, 1, (3, 16, 16)).astype(np.float32)
    got = want.copy()
    got[1] = rng.normal(0, 1, (16, 16))
    assert measures("masks", [(got, want)])["rms"] == 0


def test_precision_is_part_of_what_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest tells precision and figures; another precision rebuilds."""
    request = sums_request(tmp_path, monkeypatch)
    export(request, Report(-1))
    halved = replace(request, precision="fp16")
    assert [path.name for path in export(halved, Report(-1))] == ["depth.onnx", manifest.MANIFEST]
    held = manifest.read(request.out)
    assert held.engines["depth"].precision == "fp16"
    assert held.engines["depth"].parity["disparity"]["relative_limit"] == 0.01
    command = "samotion-export depth --preset nano --precision fp16 --out 'e'"
    assert held.command("depth", "e") == command
    assert export(halved, Report(-1)) == []
    assert export(request, Report(-1)) != []


def test_the_motion_net_keeps_float32() -> None:
    assert half.precision_of("motion", "fp16") == "fp32"
    assert half.precision_of("depth", "fp16") == "fp16"
