"""Engines of TensorRT for RTX: built where no GPU is, checked against the contract, rebuilt when
something changes. With a child that plays the compiler, and with the real one where it is installed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.rtx_compiler import COST, INPUTS, VERSION, use
from helpers.sums_net import sums_request
from samotion import depth, manifest
from samotion.errors import DeviceError, EngineError
from samotion.presets import NANO
from samotion_export import spelling
from samotion_export.export import export
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.trt import build as trt_build
from samotion_export.trt.profiles import profiles

QUIET = Report(-1)


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    use(monkeypatch)
    return sums_request(tmp_path, monkeypatch, target="rtx")


def test_engines_are_built_without_a_gpu_and_run_on_any(
    request_: Request, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(spelling, "SPELLED_NETS", ("depth",))
    written = export(request_, QUIET)
    assert [p.name for p in written] == ["depth.onnx", "depth.engine", "manifest.json"]
    held = manifest.read(request_.out)
    entry = held.engines["depth"]
    made = entry.file, entry.tensorrt, entry.gpu, entry.rtx, entry.spelling
    assert made == ("depth.engine", VERSION, None, True, "gpu")
    assert entry.onnx_sha256 == manifest.sha256_of(request_.out / "depth.onnx")
    assert entry.meta[trt_build.COST] == COST
    assert "--target rtx" in held.command("depth", request_.out)
    assert {p.name for p in request_.out.iterdir() if not p.name.startswith(".")} == {
        "depth.onnx", "depth.engine", "manifest.json",
    }  # fmt: skip
    assert export(request_, QUIET) == [], "it is current"
    with pytest.raises(DeviceError, match="no NVIDIA driver is found"):
        samotion.open_engines(request_.out)
    fake_tensorrt.install(monkeypatch, VERSION, module="tensorrt_rtx")
    hw = depth.net_size((480, 854), NANO.depth.short_side_px)
    frames = rng.integers(0, 256, (1, *hw, 3), np.uint8)
    with samotion.open_engines(request_.out) as engines:
        got = engines["depth"](frames=frames)["disparity"]
    np.testing.assert_array_equal(got, frames.sum(-1, dtype=np.float32))


def test_another_version_rebuilds_the_engine_alone(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(request_, QUIET)
    use(monkeypatch, "1.8.0")
    assert [p.name for p in export(request_, QUIET)] == ["depth.engine", "manifest.json"]
    assert manifest.read(request_.out).engines["depth"].tensorrt == "1.8.0"


def test_back_to_graphs(request_: Request) -> None:
    export(request_, QUIET)
    export(replace(request_, target="onnx"), QUIET)
    entry = manifest.read(request_.out).engines["depth"]
    assert (entry.file, entry.tensorrt, entry.rtx) == ("depth.onnx", None, False)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"inputs": {"images": INPUTS["frames"]}}, "depth: the engine has images; expected frames"),
        (
            {"outputs": {"disparity": ["float16", [-1, -1, -1]]}},
            r"'disparity' is float16\[-1, -1, -1\]; expected float32",
        ),
        (
            {"inputs": {"frames": ["uint8", [-1, -1, -1, 4]]}},
            r"'frames' is uint8\[-1, -1, -1, 4\]; expected uint8\['B', 'H', 'W', 3\]",
        ),
        ({"outputs": {"disparity": ["float32", [-1, -1]]}}, r"'disparity' is float32\[-1, -1\]"),
    ],
)
def test_tensors_that_are_not_the_contracts(
    request_: Request, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], said: str
) -> None:
    use(monkeypatch, **facts)
    with pytest.raises(EngineError, match=said):
        export(request_, QUIET)
    assert manifest.read(request_.out).engines["depth"].file == "depth.onnx"
    assert not list(request_.out.glob("*.engine"))


@pytest.mark.parametrize(
    "facts",
    [
        {"inputs": {"frames": ["uint8", [-1, -1, -1, -1]]}},
        {"outputs": {"disparity": ["float32", [1, 252, 448]]}},
    ],
    ids=["sizes that are known at run time", "sizes of the contract's letters"],
)
def test_tensors_that_may_be_the_contracts(
    request_: Request, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]
) -> None:
    use(monkeypatch, **facts)
    export(request_, QUIET)
    assert manifest.read(request_.out).engines["depth"].file == "depth.engine"


def test_the_compilers_last_word(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, trouble="sys.exit('[E] not built: Myelin is lost')")
    with pytest.raises(EngineError, match=r"depth: TensorRT cannot build it .*Myelin is lost"):
        export(request_, QUIET)


def test_without_the_package(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    said = r"TensorRT for RTX is not installed .*samotion\[rtx\]"
    with pytest.raises(DeviceError, match=said):
        export(request_, QUIET)
    assert not request_.out.exists()


@pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="needs pip install 'samotion[rtx]' (tensorrt-rtx)"
)
def test_the_real_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engine takes and gives what the contract says; it is not run: that takes a GPU."""
    request = sums_request(tmp_path, monkeypatch, target="rtx")
    export(request, QUIET)
    entry = manifest.read(request.out).engines["depth"]
    cost = entry.meta[trt_build.COST]
    assert entry.rtx and entry.gpu is None and (request.out / "depth.engine").stat().st_size > 1000
    shapes = profiles(NANO, "depth", entry.inputs)
    assert cost["kernels"] >= 1 and len(cost["scratch_mb"]) == len(shapes)
    assert json.dumps(cost)
