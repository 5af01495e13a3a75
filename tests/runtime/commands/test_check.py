"""samotion-check finds what works and says what to do next."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers import fake_tensorrt, zero_engines
from samotion import __version__, manifest
from samotion.backends.ort import PROVIDERS, why_missing
from samotion.clips import video
from samotion.commands import backend_trials, check, engine_trials
from samotion.commands.backend_trials import Backend
from samotion.commands.engine_trials import Trials, run_each
from samotion.errors import EngineError, InputError
from samotion.presets import SAM2_INSTALL
from typer.testing import CliRunner


def test_cpu_backend_really_computes() -> None:
    assert backend_trials.try_onnxruntime("cpu") == Backend("onnxruntime cpu", None)


def test_tiny_graph_is_what_its_comment_says() -> None:
    session = onnxruntime.InferenceSession(
        backend_trials.TINY_GRAPH, providers=["CPUExecutionProvider"]
    )
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [[7, 10], [15, 22]])


def test_report_in_text_and_json(engines: Path) -> None:
    outcome = CliRunner().invoke(check.app, [])
    assert outcome.exit_code == 0
    assert "onnxruntime cpu          works" in outcome.stdout and "next: " in outcome.stdout
    arguments = ["--engine-dir", str(engines), "--json"]
    report = json.loads(CliRunner().invoke(check.app, arguments).stdout)
    assert report["packages"]["numpy"] == np.__version__ and report["disk_free_bytes"] > 0
    assert {"name": "onnxruntime cpu", "problem": None} in report["backends"]


def test_without_any_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = CliRunner().invoke(check.app, [])
    assert outcome.exit_code == 5
    assert "onnxruntime is not installed" in outcome.stdout
    assert "next: no backend works: pip install 'samotion[cpu]'" in outcome.stdout
    assert "all is well" not in outcome.stdout
    outcome = CliRunner().invoke(check.app, ["--engine-dir", "none"])
    assert outcome.exit_code == 4, "a folder that is asked for is looked into"


def test_backend_that_fails_or_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

        def run(self, *_: Any) -> list[Any]:
            return [np.zeros((2, 2), np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    assert "computes wrongly" in str(backend_trials.try_onnxruntime("cpu").problem)
    assert "CUDAExecutionProvider did not start" in str(
        backend_trials.try_onnxruntime("cuda").problem
    )

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such\ninstruction")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    assert backend_trials.try_onnxruntime("cpu").problem == "no such"


def test_what_stops_cuda_is_told_and_leaves_stdout_to_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where onnxruntime is for a GPU and none is there: it prints, and goes on with the CPU."""

    def preload() -> None:
        print("Failed to load libcublas.so: no such file\nPlease follow https://...")

    def session(*_: Any, enable_fallback: int = 1, **__: Any) -> Any:
        assert not enable_fallback, "it would print, and answer on the CPU"
        if driver:
            return types.SimpleNamespace(get_providers=lambda: [], run=lambda *_: [np.zeros(1)])
        raise RuntimeError(f"{'cuda_call.cc ' * 40}CUDA failure 100: no device ; GPU=-1 ; x;")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    problems = {}
    for driver in (False, True):
        problems[driver] = backend_trials.try_onnxruntime("cuda").problem
    assert problems == {
        False: "CUDA failure 100: no device",
        True: "CUDAExecutionProvider did not start: Failed to load libcublas.so: no such file",
    }
    assert capsys.readouterr().out == ""


def test_engine_folder(tmp_path: Path) -> None:
    engines = zero_engines.write_folder(tmp_path / "engines")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(engines)])
    assert outcome.exit_code == 0 and "holds preset nano" in outcome.stdout
    assert "all is well: samotion-run --engine-dir" in outcome.stdout
    assert outcome.stderr == f"samotion {__version__}: trying what is installed\n"
    (engines / "depth.onnx").write_bytes(b"edited")
    outcome = CliRunner().invoke(check.app, ["--quiet", "--engine-dir", str(engines)])
    assert outcome.exit_code == 4 and outcome.stderr == ""
    assert "depth.onnx was changed" in outcome.stdout
    assert "next: build the engines again" in outcome.stdout
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(tmp_path / "none")])
    assert outcome.exit_code == 4 and outcome.stderr.count("error: ") == 1


def test_without_a_folder_it_takes_the_one_of_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMOTION_ENGINES", raising=False)
    outcome = CliRunner().invoke(check.app, [])
    assert "nano' holds preset nano" in outcome.stdout
    assert "all is well: samotion-run clip.mp4" in outcome.stdout
    monkeypatch.setenv("SAMOTION_ENGINES", "nowhere")
    outcome = CliRunner().invoke(check.app, [])
    assert outcome.exit_code == 4
    assert "error: the variable SAMOTION_ENGINES is 'nowhere'" in outcome.stderr


def advised(
    backends: list[Backend],
    gpus: list[str],
    engine_dir: str | None = None,
    disk_free_bytes: int = 1 << 40,
    **trials: Any,
) -> list[str]:
    found: dict[str, Any] = {field.name: None for field in fields(check.Report)}
    found |= {"backends": backends, "gpus": gpus, "disk_free_bytes": disk_free_bytes}
    return check.advise(check.Report(**found), Trials(**trials), engine_dir)


def test_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "NO_CUDA_13", False)
    backends = [Backend("onnxruntime cpu", None), Backend("onnxruntime cuda", "missing")]
    assert "pip install 'samotion[gpu]'" in advised(backends, ["NVIDIA X"], "e")[0]
    assert "only 1.0 GiB are free" in advised(backends, [], "e", 1 << 30)[0]
    rest = advised(backends, [], "e", problems={"dino": None}, rest="samotion-export sam2")
    assert rest == ["engines are missing, which samotion-run needs: samotion-export sam2"]
    assert advised(backends, []) == ["all is well: samotion-run clip.mp4"]
    assert advised(backends, [], "my e") == [
        "all is well: samotion-run --engine-dir 'my e' clip.mp4"
    ]
    wrong = advised(backends, [], problems={"depth": "was changed"})
    assert "install samotion again" in wrong[0]


def test_gpus_as_the_driver_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA X, 8192 MiB, 550.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check.find_gpus() == ["NVIDIA X, 8192 MiB, 550.1"]
    tool.write_text("#!/bin/sh\necho 'it failed: is a driver installed?'; exit 9\n")
    assert check.find_gpus() == []


def test_tensorrt_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TensorRT is not installed" in str(backend_trials.try_tensorrt().problem)
    gpu = fake_tensorrt.install(monkeypatch)
    assert backend_trials.try_tensorrt() == Backend("tensorrt", None)
    assert gpu.used == 0
    gpu.limit = 0
    assert "out of GPU memory" in str(backend_trials.try_tensorrt().problem)


def test_the_command_advised_builds_the_same_preset(tmp_path: Path) -> None:
    folder = zero_engines.write_folder(tmp_path / "engines")
    table = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**table, "preset": "fast"}))
    (folder / "depth.onnx").write_bytes(b"edited")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(folder)])
    assert outcome.exit_code == 4
    assert f"samotion-export depth --preset fast --out {str(folder)!r}" in outcome.stdout


@pytest.mark.parametrize("has_own", [False, True])
def test_only_what_is_broken_is_built_again_and_own_weights_are_told_of(
    tmp_path: Path, has_own: bool
) -> None:
    held = manifest.read(manifest.BUNDLED)
    own = {n: replace(held.engines[n], weights_sha256="0" * 64) for n in held.engines_of("sam2")}
    engines = {**held.engines, **own} if has_own else held.engines
    manifest.write(tmp_path, replace(held, engines=engines))
    for file in manifest.BUNDLED.iterdir():
        if file.suffix in (".onnx", ".safetensors"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    for name in ("depth", "sam2_image"):
        (tmp_path / f"{name}.onnx").write_bytes(b"edited")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(tmp_path)])
    advice = [line for line in outcome.stdout.splitlines() if line.startswith("next: ")]
    command = f"samotion-export depth sam2 --preset nano --out {str(tmp_path)!r}"
    word = "next: to keep weights that are not samotion's, add --checkpoint sam2=FILE"
    assert advice == [f"next: build the engines again: {command}", *[word] * has_own]


def test_broken_and_missing_engines_are_both_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = manifest.read(manifest.BUNDLED)
    motion = {name: held.engines[name] for name in held.engines_of("motion")}
    manifest.write(tmp_path, replace(held, engines=motion))
    monkeypatch.setattr(engine_trials, "BUNDLED", tmp_path / "none")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(tmp_path)])
    assert "build the engines again: samotion-export motion --preset nano" in outcome.stdout
    assert "engines are missing, which samotion-run needs: samotion-export" in outcome.stdout


def test_an_engine_that_opens_but_fails_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = zero_engines.write_folder(tmp_path / "engines")

    def fail(*_: Any, **__: Any) -> None:
        raise EngineError("engine 'depth' fails")

    monkeypatch.setattr("samotion.backends.ort.OrtEngine.__call__", fail)
    problems = run_each(str(folder)).problems
    assert problems["depth"] == "engine 'depth' fails"


def test_video_that_is_not_read_is_told(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.try_video() is None

    def fail(*_: Any) -> None:
        raise InputError("cannot be read")

    monkeypatch.setattr(video, "read_clip", fail)
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(engines)])
    assert outcome.exit_code == 3
    assert "video                    cannot be read" in outcome.stdout
    assert "next: videos cannot be read: pip install" in outcome.stdout
    assert "all is well" not in outcome.stdout
    monkeypatch.setattr(video, "read_clip", lambda _: next(iter(())))
    assert check.try_video() == "StopIteration"  # which says nothing
    for levels in ([64, 128, 128], [64, 140]):
        frames = np.array(levels, np.uint8).repeat(3).reshape(-1, 1, 1, 3)
        clip = types.SimpleNamespace(frames=frames)
        monkeypatch.setattr(video, "read_clip", lambda _, clip=clip: clip)
        assert f"64 and 128 are read as {[*map(float, levels)]}" in str(check.try_video())


def test_an_opencv_that_cannot_be_loaded_does_not_stop_the_check() -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from samotion.commands import check; print(check.try_video())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cv2" in done.stdout and done.returncode == 0, done.stderr


def test_a_numpy_that_cannot_be_loaded_is_one_line() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\nfrom samotion.commands.check import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "-q"], capture_output=True, text=True)
    assert done.returncode == 5 and done.stderr.startswith("error: NumPy cannot be loaded (")
    assert done.stderr.count("\n") == 1


def test_a_missing_sam2_is_told_where_pytorch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None if name == "sam2" else name)
    (advice,) = check.advise_on_packages(None)
    assert advice == f"to export SAM 2: {SAM2_INSTALL}"
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    assert check.advise_on_packages(None) == []


def test_what_an_old_driver_or_python_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "NO_CUDA_13", False)
    old, new = "NVIDIA X, 8192 MiB, 550.54.14", "NVIDIA Y, 8192 MiB, 580.65.06"
    assert check.cuda_of([new]) == check.cuda_of([]) == check.cuda_of(["NVIDIA Z"]) == ""
    assert check.cuda_of([new, old]) == "-cu12"
    monkeypatch.setattr(check, "NO_CUDA_13", True)
    assert check.cuda_of([new]) == "-cu12"
    advice = advised([Backend("onnxruntime cpu", None)], [old])
    assert "samotion[gpu-cu12]" in advice[0]
    assert "samotion[trt-cu12]" in advice[1] and "samotion[rtx-cu12]" in advice[1]


def test_a_jetson_has_a_tensorrt_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = [Backend("onnxruntime cpu", None)]
    assert not any("JetPack" in line for line in advised(works, []))
    monkeypatch.setattr(check, "JETSON", tmp_path)
    assert any("JetPack 6: 8.6.2" in line for line in advised(works, []))
    assert advised([*works, Backend("tensorrt", None)], []) == [
        "all is well: samotion-run clip.mp4"
    ]


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (KeyboardInterrupt(), None),
        (None, "onnxruntime cannot be loaded"),
        (ModuleNotFoundError("no module"), "onnxruntime is not installed"),
    ],
)
def test_a_signal_while_a_library_is_loaded_is_no_missing_library(
    cause: BaseException | None, said: str | None
) -> None:
    error = cause if isinstance(cause, ImportError) else ImportError("initialization failed")
    error.__cause__ = None if error is cause else cause
    if said is None:
        with pytest.raises(KeyboardInterrupt):
            why_missing(error)
    else:
        assert why_missing(error) == said
