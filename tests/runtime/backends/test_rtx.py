"""TensorRT for RTX behind the same engines: which one a folder needs, and what is said without it."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import onnx_folder, rtx_folder, tensorrt_folder
from samotion import manifest
from samotion.backends import cuda
from samotion.errors import DeviceError, EngineError

VERSION = "1.7.1"


def install(
    monkeypatch: pytest.MonkeyPatch, version: str = VERSION, **facts: Any
) -> fake_tensorrt.Gpu:
    gpu = fake_tensorrt.Gpu(**facts)
    return fake_tensorrt.install(monkeypatch, version, gpu, "tensorrt_rtx")


def test_auto_and_tensorrt_take_a_folder_for_rtx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Whatever the GPU is called: its engines are for many."""
    rtx_folder(tmp_path, VERSION)
    install(monkeypatch, name="Another GPU")
    frames = rng.integers(0, 256, (1, 4, 4, 3), np.uint8)
    for device in ("auto", "tensorrt"):
        with samotion.open_engines(tmp_path, device) as engines:
            got = engines["depth"](frames=frames)["disparity"]
            assert engines.device == "tensorrt"
            np.testing.assert_array_equal(got, frames.sum(-1, dtype=np.float32))


def test_each_folder_asks_for_its_own_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx_folder(tmp_path, VERSION)
    fake_tensorrt.install(monkeypatch, "10.13.0")
    said = r"TensorRT for RTX is not installed .*; pip install 'samotion\[rtx\]'"
    with pytest.raises(DeviceError, match=said):
        samotion.open_engines(tmp_path)
    tensorrt_folder(tmp_path, "10.13.0")
    install(monkeypatch)
    said = r"TensorRT is not installed .*; pip install 'samotion\[trt\]'"
    with pytest.raises(DeviceError, match=said):
        samotion.open_engines(tmp_path)


def test_a_folder_of_graphs_is_offered_the_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx_folder(tmp_path)
    install(monkeypatch)
    said = r"not built for TensorRT; build it: .* --target rtx"
    with (
        samotion.open_engines(tmp_path, "tensorrt") as engines,
        pytest.raises(EngineError, match=said),
    ):
        engines["depth"]


def test_engines_of_both_kinds_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tensorrt_folder(tmp_path, "10.13.0")
    mixed = rtx_folder(tmp_path, VERSION)
    engines = {**mixed.engines, "depth": held.engines["depth"]}
    (tmp_path / "depth.engine").write_bytes(
        fake_tensorrt.build(tmp_path / "depth.onnx", "10.13.0", [])
    )
    digest = manifest.sha256_of(tmp_path / "depth.engine")
    engines["depth"] = replace(engines["depth"], sha256=digest)
    manifest.write(tmp_path, replace(mixed, engines=engines))
    install(monkeypatch)
    with samotion.open_engines(tmp_path) as opened:
        said = "was built by TensorRT 10.13.0, this is TensorRT for RTX 1.7.1; build again"
        with pytest.raises(EngineError, match=said):
            opened["depth"]


def test_another_version_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rtx_folder(tmp_path, VERSION)
    install(monkeypatch, "1.8.0")
    said = r"by TensorRT for RTX 1\.7\.1, this is TensorRT for RTX 1\.8\.0; .*--target rtx"
    with samotion.open_engines(tmp_path) as engines, pytest.raises(EngineError, match=said):
        engines["depth"]


def test_a_gpu_that_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rtx_folder(tmp_path, "1.6.0", tensorrt=VERSION)
    install(monkeypatch, capability=(7, 5))
    said = r"refuses depth\.engine on Fake GPU, compute capability 7\.5 \(it runs on 8\.6, 8\.9 and 12;"
    with samotion.open_engines(tmp_path) as engines, pytest.raises(EngineError, match=said):
        engines["depth"]


def test_a_driver_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rtx_folder(tmp_path, VERSION)
    install(monkeypatch, error="cudaErrorInsufficientDriver")
    said = r"CUDA 13\.0 needs driver 580\.65 or newer; .* pip install 'samotion\[rtx\]'"
    with pytest.raises(DeviceError, match=said):
        samotion.open_engines(tmp_path)


def test_versions_are_those_that_people_know() -> None:
    assert [cuda.cuda_version(number) for number in (11080, 12060)] == ["11.8", "12.6"]


def test_a_manifest_that_says_rtx_otherwise(tmp_path: Path) -> None:
    rtx_folder(tmp_path, VERSION, rtx="yes")
    with pytest.raises(EngineError, match="rtx of 'depth' is 'yes', expected true or false"):
        manifest.read(tmp_path)


def test_handles_are_asked_for_in_the_way_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda-python has a function for it since 12.9; before, objects turn into numbers."""
    fake_tensorrt.install(monkeypatch)
    assert cuda.native_handle(1) == 1
    utils = types.SimpleNamespace(get_cuda_native_handle=lambda thing: thing.address)
    monkeypatch.setitem(sys.modules, "cuda.bindings.utils", utils)
    assert cuda.native_handle(types.SimpleNamespace(address=5)) == 5
