"""Compiling a graph: what it costs, what failures say, on a fake compiler that says what it is told
to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx.parser
import pytest
from samotion.errors import EngineError
from samotion_export.trt import compiler

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
        tensors = [
            SimpleNamespace(name=name, dtype=SimpleNamespace(name=dtype), shape=(-1, 3))
            for name, dtype in (("frames", "UINT8"), ("disparity", "FLOAT"))
        ]
        network = SimpleNamespace(
            num_layers=len(layers),
            get_layer=lambda i: SimpleNamespace(type=layers[i]),
            num_inputs=1,
            num_outputs=1,
            get_input=lambda i: tensors[0],
            get_output=lambda i: tensors[1],
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
def fake() -> FakeCompiler:
    return FakeCompiler()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "depth.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), str(path))
    return path


SHAPES: list[Any] = [{"frames": ((1, 3),) * 3}, {"frames": ((2, 3),) * 3}]


def test_costs_are_those_of_the_largest_profile(fake: FakeCompiler, graph: Path) -> None:
    made = compiler.compile_graph(fake, graph, SHAPES)
    cost = made.cost
    assert (cost.kernels, cost.fused, cost.unfused, cost.loops) == (3, 1, 1, 0)
    assert cost.scratch_mb == (3, 5)
    assert cost.bounded == {"kernels": 3, "unfused": 1, "loops": 0, "scratch_mb": 5}
    assert made.plan == b"plan"
    assert fake.profiles == SHAPES


def test_what_it_takes_and_gives_is_told(fake: FakeCompiler, graph: Path) -> None:
    made = compiler.compile_graph(fake, graph, SHAPES)
    assert made.inputs == {"frames": ("uint8", [-1, 3])}
    assert made.outputs == {"disparity": ("float32", [-1, 3])}


@pytest.mark.parametrize(
    ("step", "words"),
    [("parse", "not parsed: no such operator"), ("build", "not built: Myelin is lost$")],
)
def test_a_graph_that_fails(fake: FakeCompiler, graph: Path, step: str, words: str) -> None:
    """In the compiler's words; that it finds no GPU is none of its problems."""
    fake.broken[step] = True
    with pytest.raises(EngineError, match=words):
        compiler.compile_graph(fake, graph, SHAPES)


def test_the_process_does_the_job_of_a_file(
    fake: FakeCompiler, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    files = {name: str(tmp_path / name) for name in ("plan", "facts")}
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"graph": str(graph), **files, "shapes": SHAPES}))
    monkeypatch.setattr(sys, "argv", ["compiler", str(job)])
    compiler.main()
    assert (tmp_path / "plan").read_bytes() == b"plan"
    assert json.loads((tmp_path / "facts").read_text())["cost"]["kernels"] == 3
    fake.broken["build"] = True
    with pytest.raises(SystemExit, match=r"^\[E\] not built: Myelin is lost$"):
        compiler.main()


def test_loops_are_counted_in_the_graph(tmp_path: Path) -> None:
    body = onnx.parser.parse_graph("body (int64 i, bool c) => (bool d) { d = Identity(c) }")
    model = onnx.parser.parse_model(GRAPH)
    loop = onnx.helper.make_node("Loop", ["n", "c"], [], body=body)
    model.graph.node.extend([loop, loop])
    onnx.save(model, str(tmp_path / "looped.onnx"))
    assert compiler.loops_of(tmp_path / "looped.onnx") == 2
