"""An engine folder as a model repository of Triton."""

from __future__ import annotations

import errno
import json
import re
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import fake_tensorrt, long_scene
from samotion import Settings, manifest, segment_clip
from samotion.contract import SIGNATURES
from samotion.errors import OutputError
from samotion.results.material import encode_rles
from samotion_export.bundle import triton, triton_model
from samotion_export.report import Report
from typer.testing import CliRunner

QUIET = Report(-1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models")
    triton.write_repository(manifest.BUNDLED, out, QUIET)
    return out


def tensors(config: str, kind: str) -> list[tuple[str, str, list[int]]]:
    """Name, type and dims of each tensor that a configuration lists."""
    block = re.search(rf"^{kind} \[\n(.*?)^\]", config, re.M | re.S)
    assert block
    row = r'\{ name: "(\w+)", data_type: (TYPE_\w+), dims: \[ ([-\d, ]+) \] \}'
    found = re.findall(row, block[1])
    assert len(found) == len(block[1].strip().splitlines())
    return [(name, kind_, [int(n) for n in dims.split(",")]) for name, kind_, dims in found]


def test_every_engine_is_a_model_with_the_contracts_names(repository: Path) -> None:
    held = manifest.read(manifest.BUNDLED)
    assert {path.name for path in repository.iterdir()} == {
        "samotion",
        *(f"samotion_{name}" for name in held.engines),
    }
    for name, entry in held.engines.items():
        model = repository / f"samotion_{name}"
        config = (model / "config.pbtxt").read_text()
        assert f'name: "{model.name}"' in config and 'backend: "onnxruntime"' in config
        assert manifest.sha256_of(model / "1" / "model.onnx") == entry.sha256
        for kind, expected in (
            ("input", SIGNATURES[name].inputs),
            ("output", SIGNATURES[name].outputs),
        ):
            sizes = {**entry.inputs, **entry.outputs}
            assert tensors(config, kind) == [
                (
                    t.name,
                    triton.TYPES[t.dtype],
                    [n if isinstance(n, int) else -1 for n in sizes[t.name]],
                )
                for t in expected
            ]


def test_a_model_alone_opens_in_onnxruntime(repository: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = repository / "samotion_depth" / "1" / "model.onnx"
    assert onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_engines_of_tensorrt_are_plans_and_those_for_rtx_are_not() -> None:
    entry = manifest.read(manifest.BUNDLED).engines["depth"]
    plan = triton.engine_config("depth", manifest.Entry(**{**vars(entry), "tensorrt": "10.9"}))
    rtx = triton.engine_config(
        "depth", manifest.Entry(**{**vars(entry), "tensorrt": "1.7", "rtx": True})
    )
    assert 'backend: "tensorrt"' in plan and '"model.plan"' in plan and "KIND_GPU" in plan
    assert 'backend: "onnxruntime"' in rtx and '"model.onnx"' in rtx


@pytest.mark.parametrize(
    ("changes", "packages"),
    [
        ({}, "'samotion[gpu]' cuda-python"),
        ({"tensorrt": "10.13.0"}, "'samotion[trt]'"),
        ({"tensorrt": "1.7.1", "rtx": True}, "'samotion[rtx]'"),
    ],
)
def test_what_the_server_needs_is_that_of_the_engines(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    packages: str,
) -> None:
    held = manifest.read(manifest.BUNDLED)
    engines = {name: replace(entry, **changes) for name, entry in held.engines.items()}
    monkeypatch.setattr(manifest, "read", lambda _: replace(held, engines=engines))
    triton.write_repository(manifest.BUNDLED, tmp_path, Report(0))
    assert f"next: pip install {packages} where tritonserver runs" in capsys.readouterr().err


def test_it_is_written_again_but_over_nothing_else(tmp_path: Path) -> None:
    triton.write_repository(manifest.BUNDLED, tmp_path, QUIET)
    triton.write_repository(manifest.BUNDLED, tmp_path, QUIET)
    (tmp_path / "samotion_dino" / "2").mkdir()
    with pytest.raises(OutputError, match="samotion_dino/2' was not written"):
        triton.write_repository(manifest.BUNDLED, tmp_path, QUIET)
    assert not list(tmp_path.glob(".samotion*"))


def test_models_of_other_engines_stay_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.write_repository(manifest.BUNDLED, tmp_path, QUIET)
    held = manifest.read(manifest.BUNDLED)
    stale, foreign = sorted(set(SIGNATURES) - set(held.engines))[:2]
    for name in (stale, foreign):
        shutil.copytree(tmp_path / "samotion_dino", tmp_path / f"samotion_{name}")
    (tmp_path / f"samotion_{foreign}" / "config.pbtxt").write_bytes(b"\xff mine")
    triton.write_repository(manifest.BUNDLED, tmp_path, Report(0))
    said = capsys.readouterr().err
    assert f"samotion_{stale}: is not of these engines" in said and foreign not in said
    assert (tmp_path / f"samotion_{stale}" / "1" / "model.onnx").exists()


def test_a_full_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match=r"models': No space left on device; choose another"):
        triton.write_repository(manifest.BUNDLED, tmp_path / "models", QUIET)


def test_the_command(tmp_path: Path) -> None:
    from samotion_export.cli import app

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    done = run("triton", "--engine-dir", str(manifest.BUNDLED), "-o", str(tmp_path / "models"))
    assert done.exit_code == 0 and str(tmp_path / "models" / "samotion") in done.stdout
    assert run("triton", "depth").exit_code == 2
    assert run("depth", "--engine-dir", "engines").exit_code == 2
    assert run("triton", "--engine-dir", str(tmp_path)).exit_code == 4


class Response:
    """An answer as the server would take it."""

    def __init__(self, output_tensors: list[Any], error: Any = None) -> None:
        self.tensors, self.error = dict(output_tensors), error


def served(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model as a server loads it from the repository, and a way to ask it."""
    backend = types.ModuleType("triton_python_backend_utils")
    backend.get_input_tensor_by_name = lambda request, name: request[name]  # type: ignore[attr-defined]
    backend.Tensor = lambda name, array: (name, array)  # type: ignore[attr-defined]
    backend.TritonError = str  # type: ignore[attr-defined]
    backend.InferenceResponse = Response  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    space: dict[str, Any] = {"__name__": "model"}
    exec((repository / "samotion" / "1" / "model.py").read_text(), space)
    return space["TritonPythonModel"]()


def ask(model: Any, frames: Any) -> Response:
    tensor = types.SimpleNamespace(as_numpy=lambda: frames)
    (response,) = model.execute([{"FRAMES": tensor}])
    assert isinstance(response, Response)
    return response


def test_a_clip_has_the_masks_that_the_runtime_gives(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served(repository, monkeypatch)
    model.engines, model.settings = long_scene.engines(), Settings(max_tracks=600)
    response = ask(model, long_scene.frames(12))
    result = segment_clip(long_scene.frames(12), long_scene.engines(), Settings(max_tracks=600))
    ids = [one.id for one in result.objects]
    assert response.tensors["IDS"].tolist() == ids == [1]
    expected = [
        [frame[0]["counts"] for frame in (encode_rles(x, ids) for x in result.labels) if frame[0]]
    ]
    assert response.tensors["RLES"].tolist() == expected
    kinds = {t.name: t.dtype for t in triton.CHAIN_OUTPUTS}
    assert set(response.tensors) == set(kinds)


def test_a_bad_clip_is_an_answer_of_one_line(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served(repository, monkeypatch)
    current = fake_tensorrt.install(monkeypatch).current
    config = {
        "parameters": {"device": {"string_value": "cpu"}, "max_objects": {"string_value": "3"}}
    }
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(repository / "samotion"),
            "model_version": "1",
            "model_instance_kind": "GPU",
            "model_instance_device_id": "2",
        }
    )
    assert current.ordinal == 2
    assert model.settings.max_objects == 3
    response = ask(model, np.zeros((1, 64, 64, 3), np.uint8))
    assert "at least 2" in response.error and not response.tensors
    model.finalize()
    assert triton_model.ENGINES == "engines"
