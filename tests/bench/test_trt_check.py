"""Compiling graphs and holding them to budgets, on a fake compiler that says what it is told to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx.parser
import pytest
from helpers.paths import ROOT
from samotion import manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import SIGNATURES, engines_of
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest
from samotion.presets import NANO
from samotion_bench import trt_check
from samotion_bench.trt_check import Cost

LOG = """Max Scratch Memory: 2000001 bytes
Max Scratch Memory: 5000000 bytes
Layers:
Name: __mye1_0_myl0_0, LayerType: shape_call, Inputs: []
Name: __myl_Cast_myl0_1, LayerType: kgen, Inputs: []
Name: _gemm_mha_v2_myl0_2, LayerType: kgen, Inputs: []
Name: __myl_Cast_myl1_1, LayerType: kgen, Inputs: []
Name: _gemm_mha_v2 [profile 1]_myl1_2, LayerType: kgen, Inputs: []
Name: __myl_MaxSubExp_myl1_3, LayerType: kgen, Inputs: []
"""
COST = Cost(3, 1, 1, 0, (3, 5), 0.0)
GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
motion (float[4] x) => (float[4] y) { y = Relu(x) }"""


class FakeCompiler:
    """`tensorrt_rtx` with two softmaxes in every network; files with the word `broken` fail."""

    __version__ = "1.2.3"
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")

    class ILogger:
        pass

    def __init__(self) -> None:
        self.profiles: list[dict[str, Any]] = []
        self.broken: dict[str, bool] = {}

    def Builder(self, log: Any) -> Any:
        def build(network: Any, config: Any) -> bytes | None:
            if self.broken.get("build"):
                log.log("Severity.ERROR", "cudaError: no GPU")
                log.log("Severity.ERROR", "Myelin is lost\nhere")
                return None
            log.log("Severity.VERBOSE", LOG if config.profiling_verbosity == "detailed" else "")
            return b"plan"

        layers = ["LayerType.SOFTMAX", "LayerType.SOFTMAX", "LayerType.CONVOLUTION"]
        network = SimpleNamespace(
            num_layers=len(layers), get_layer=lambda i: SimpleNamespace(type=layers[i])
        )
        return SimpleNamespace(
            create_network=lambda flags: network,
            create_builder_config=lambda: SimpleNamespace(
                add_optimization_profile=lambda made: self.profiles.append(made.shapes)
            ),
            create_optimization_profile=self._profile,
            build_serialized_network=build,
        )

    def _profile(self) -> Any:
        shapes: dict[str, Any] = {}
        return SimpleNamespace(
            shapes=shapes, set_shape=lambda name, *sizes: shapes.update({name: sizes})
        )

    def OnnxParser(self, network: Any, log: Any) -> Any:
        return SimpleNamespace(
            parse_from_file=lambda path: not self.broken.get("parse"),
            get_error=lambda i: SimpleNamespace(desc=lambda: "no such operator"),
        )


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    fake = FakeCompiler()
    monkeypatch.setitem(sys.modules, trt_check.COMPILER, fake)
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported folder with one graph: depth, whose sides vary."""
    folder = tmp_path / "nano-fp16"
    folder.mkdir()
    path = folder / "depth.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), str(path))
    sizes = {t.name: list(t.dims) for t in SIGNATURES["depth"].inputs}
    sha256 = manifest.sha256_of(path)
    entry = Entry(path.name, sha256, sha256, "0" * 64, "fp16", sizes, {}, {}, "0" * 64)
    manifest.write(folder, Manifest("nano", {}, {"depth": entry}, numbers_of(NANO)))
    return folder


def budgets(path: Path, **budget: int) -> Path:
    rows = {"depth": {"budget": budget}} if budget else {}
    path.write_text(json.dumps({"compiler": "", "graphs": {"nano-fp16": rows}}))
    return path


def check(folder: Path, budgets: Path, record: bool = False) -> None:
    trt_check.check_folder(folder, ("depth",), budgets, record)


def test_costs_are_those_of_the_largest_profile(
    compiler: FakeCompiler, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(folder, budgets(tmp_path / "budgets.json", kernels=3, unfused=1, loops=0, scratch_mb=5))
    assert "kernels 3, fused 1, unfused 1, loops 0, scratch_mb (3, 5)" in capsys.readouterr().out
    assert [list(profile) for profile in compiler.profiles] == [["frames"], ["frames"]]


@pytest.mark.parametrize("name", ["kernels", "unfused", "scratch_mb"])
def test_a_budget_that_is_exceeded_is_named(
    compiler: FakeCompiler, folder: Path, tmp_path: Path, name: str
) -> None:
    value = COST.bounded[name]
    small = budgets(tmp_path / "budgets.json", **{name: value - 1})
    with pytest.raises(EngineError, match=f"depth: {name} {value}, at most {value - 1}"):
        check(folder, small)
    check(folder, budgets(tmp_path / "budgets.json", **{name: value}))


@pytest.mark.parametrize(
    ("step", "words"), [("parse", "no such operator"), ("build", "Myelin is lost$")]
)
def test_a_graph_that_fails_is_named_with_the_compilers_words(
    compiler: FakeCompiler, folder: Path, tmp_path: Path, step: str, words: str
) -> None:
    compiler.broken[step] = True
    with pytest.raises(EngineError, match=f"depth: not .*: {words}"):
        check(folder, budgets(tmp_path / "budgets.json"))


def test_recorded_figures_become_budgets_once(
    compiler: FakeCompiler, folder: Path, tmp_path: Path
) -> None:
    path = budgets(tmp_path / "budgets.json")
    check(folder, path, record=True)
    table = json.loads(path.read_text())
    row = table["graphs"]["nano-fp16"]["depth"]
    assert table["compiler"] == "TensorRT for RTX 1.2.3"
    assert row["measured"]["kernels"] == 3 and row["measured"]["scratch_mb"] == [3, 5]
    assert row["budget"] == {"kernels": 4, "unfused": 1, "loops": 0, "scratch_mb": 6}
    row["budget"]["kernels"] = 3
    path.write_text(json.dumps(table))
    check(folder, path, record=True)
    assert json.loads(path.read_text())["graphs"]["nano-fp16"]["depth"]["budget"]["kernels"] == 3


def test_loops_are_counted_in_the_graph(tmp_path: Path) -> None:
    body = onnx.parser.parse_graph("body (int64 i, bool c) => (bool d) { d = Identity(c) }")
    model = onnx.parser.parse_model(GRAPH)
    loop = onnx.helper.make_node("Loop", ["n", "c"], [], body=body)
    model.graph.node.extend([loop, loop])
    onnx.save(model, str(tmp_path / "looped.onnx"))
    assert trt_check.loops_of(tmp_path / "looped.onnx") == 2


def test_without_the_compiler_nothing_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trt_check, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        trt_check.check(work=tmp_path, net=None)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("skipped: ")
    assert not list(tmp_path.iterdir())


def test_every_graph_of_nano_has_a_budget_above_its_figures() -> None:
    rows = json.loads((ROOT / "benchmarks/trt_budgets.json").read_text())["graphs"]["nano-fp16"]
    engines = {name for net in trt_check.NETS for name in engines_of(net, getattr(NANO, net))}
    assert set(rows) == engines
    for row in rows.values():
        measured = {**row["measured"], "scratch_mb": max(row["measured"]["scratch_mb"])}
        assert all(measured[name] <= most for name, most in row["budget"].items())
