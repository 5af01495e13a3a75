"""The proof on the card: what is compared when, what is written, what is said of engines that answer
wrongly. On a fake GPU.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.rtx_compiler import VERSION, use
from helpers.sums_net import sums_request
from samotion import manifest
from samotion.backends.proof import record
from samotion.backends.proof.measures import differences, excess
from samotion.checks.proof_table import PLACE
from samotion.commands import check
from samotion.errors import EngineError, ParityError
from samotion_export.export import export
from samotion_export.parity import card
from samotion_export.report import Report
from samotion_export.request import Request
from typer.testing import CliRunner

QUIET = Report(-1)


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    driver = tmp_path / "driver"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr(record, "DRIVER_FILE", driver)
    return sums_request(tmp_path, monkeypatch, target="rtx")


def plug_in(monkeypatch: pytest.MonkeyPatch, name: str = "Fake GPU") -> fake_tensorrt.Gpu:
    """From here on there is a GPU."""
    gpu = fake_tensorrt.Gpu(name)
    return fake_tensorrt.install(monkeypatch, VERSION, gpu, "tensorrt_rtx")


def built(request: Request, monkeypatch: pytest.MonkeyPatch, wrong: float = 0.0) -> None:
    """Engines built where no GPU is; then one is plugged in."""
    use(monkeypatch, wrong=wrong)
    export(request, QUIET)
    plug_in(monkeypatch)


def test_engines_are_proved_where_a_gpu_is(
    request_: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch)
    export(request_, Report(0))
    said = "not proved on a GPU (no NVIDIA driver is found"
    assert said in capsys.readouterr().err
    assert manifest.read(request_.out).proof == {}
    plug_in(monkeypatch)
    assert [p.name for p in export(request_, Report(0))] == ["manifest.json"]
    assert "1 of 1 engines answer as their graphs do" in capsys.readouterr().err
    held = manifest.read(request_.out)
    assert {key: held.proof[key] for key in PLACE} == {
        "gpu": "Fake GPU",
        "driver": "580.65.06",
        "tensorrt": f"TensorRT for RTX {VERSION}",
    }
    known = held.proof["engines"]["depth"]
    assert known["sha256"] == held.engines["depth"].sha256
    figures = known["outputs"]["disparity"]
    assert figures["max_abs"] == 0 and figures["cosine"] == pytest.approx(1)
    assert export(request_, QUIET) == [], "what was proved stays proved"


def test_engines_that_answer_wrongly(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 6, with the figures in the manifest; runs refuse them from then on."""
    built(request_, monkeypatch, wrong=0.1)
    said = r"engine 'depth' answers otherwise .*'disparity' is .* off \(relative, limit 0\.01\)"
    with pytest.raises(ParityError, match=said) as raised:
        export(request_, QUIET)
    assert "on Fake GPU, driver 580.65.06, TensorRT for RTX" in str(raised.value)
    assert raised.value.exit_code == 6
    proof = manifest.read(request_.out).proof
    assert proof["engines"]["depth"]["outputs"]["disparity"]["relative"] > 0.01
    with pytest.raises(ParityError, match="engine 'depth'"):
        export(request_, QUIET)
    said = r"engine 'depth' .* --target rtx .*--force"
    with samotion.open_engines(request_.out) as engines, pytest.raises(ParityError, match=said):
        engines["depth"]


@pytest.mark.parametrize("change", ["gpu", "driver"])
def test_another_gpu_or_driver_asks_for_the_proof_again(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    built(request_, monkeypatch)
    export(request_, QUIET)
    with samotion.open_engines(request_.out) as engines:
        assert engines.warnings == ()
    if change == "gpu":
        plug_in(monkeypatch, "Other GPU")
    else:
        (tmp_path / "driver").write_text("NVRM version: 590.10\n")
    with samotion.open_engines(request_.out) as engines:
        (warning,) = engines.warnings
    assert "1 of 1 engines were not proved on" in warning and "samotion-check" in warning
    assert [p.name for p in export(request_, QUIET)] == ["manifest.json"]
    with samotion.open_engines(request_.out) as engines:
        assert engines.warnings == ()


def test_without_comparing_nothing_is_proved(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(request_, monkeypatch, wrong=0.1)
    export(replace(request_, verify=False), QUIET)
    assert manifest.read(request_.out).proof == {}


@pytest.mark.parametrize(("wrong", "code"), [(0.0, 0), (0.1, 6), (1e39, 6)])
def test_the_check_proves_a_folder_that_came_from_elsewhere(
    request_: Request, monkeypatch: pytest.MonkeyPatch, wrong: float, code: int
) -> None:
    """And what answers with numbers that are not finite is wrong, too."""
    built(request_, monkeypatch, wrong=wrong)
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(request_.out)])
    assert outcome.exit_code == code
    assert f"{1 if code == 0 else 0} of 1 engines answer as their graphs do" in outcome.stdout
    held = manifest.read(request_.out)
    known = held.proof["engines"]["depth"]
    assert (record.problem("depth", known) is None) == (code == 0)
    again = CliRunner().invoke(check.app, ["--engine-dir", str(request_.out)])
    assert again.exit_code == code and manifest.read(request_.out) == held


def test_the_check_without_a_gpu_still_reports(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch)
    export(request_, QUIET)
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(request_.out)])
    assert outcome.exit_code == 5 and "tensorrt for rtx" in outcome.stdout
    assert "engines                  not tried: no NVIDIA driver is found" in outcome.stdout
    assert "next: these engines need a GPU; for this machine: samotion-export" in outcome.stdout
    assert "--target onnx --out 'engines-onnx'" in outcome.stdout
    assert "all is well" not in outcome.stdout
    assert manifest.read(request_.out).proof == {}


def test_a_graph_that_is_not_beside_its_engine(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(request_, monkeypatch)
    (request_.out / "depth.onnx").write_bytes(b"edited")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(request_.out)])
    assert outcome.exit_code == 4
    assert "depth.onnx is not beside its engine, or was changed; build again" in outcome.stdout


def test_an_engine_that_does_not_open_here_is_not_called_wrong(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was built by another version; nothing is said of its answers."""
    built(request_, monkeypatch)
    fake_tensorrt.install(monkeypatch, "1.8.0", fake_tensorrt.Gpu(), "tensorrt_rtx")
    outcome = CliRunner().invoke(check.app, ["--engine-dir", str(request_.out)])
    assert outcome.exit_code == 4
    assert "was built by TensorRT for RTX 1.7.1, this is TensorRT for RTX 1.8.0" in outcome.stdout
    assert manifest.read(request_.out).proof == {}


def test_masks_of_a_clip_are_compared_once(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where every engine of the preset is there; IoU per frame, and refused below the limit."""
    built(request_, monkeypatch)
    export(request_, QUIET)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    calls: list[Path] = []

    def compared(path: Path, folder: Path) -> dict[str, Any]:
        calls.append(path)
        score = 0.99 if len(calls) == 1 else 0.5
        return {"clip": path.name, "bytes": path.stat().st_size, "mask_iou": score, "limit": 0.98}

    monkeypatch.setattr(card, "compare_masks", compared)
    asked = replace(request_, verify_clip=clip)
    assert export(asked, QUIET) == [], "the other nets are not here"
    monkeypatch.setattr(card, "_is_whole", lambda held: True)
    assert [p.name for p in export(asked, QUIET)] == ["manifest.json"]
    assert export(asked, QUIET) == [] and calls == [clip]
    clip.write_bytes(b"another clip")
    with pytest.raises(ParityError, match=r"masks of clip\.mp4 .* by 0\.5000, expected 0\.98"):
        export(asked, QUIET)


def test_masks_are_compared_frame_by_frame(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built(request_, monkeypatch)
    labels = np.zeros((2, 2, 4, 4), np.uint8)
    labels[:, :, 0] = 1
    labels[1, 1, 0, :2] = 0
    devices: list[str] = []
    answers = iter(labels)

    def segment(clip: Path, engines: Any, settings: Any) -> Any:
        devices.append(engines.device)
        return SimpleNamespace(labels=next(answers), objects=[1])

    monkeypatch.setattr(card, "segment_clip", segment)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    found = card.compare_masks(clip, request_.out)
    assert devices == ["cpu", "tensorrt"]
    assert found["iou"] == [1.0, 0.5] and found["mask_iou"] == 0.75 and found["frames"] == 2


def test_figures_of_an_output() -> None:
    want = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 8)
    found = differences("disparity", [(want + np.float32(0.1), want)])
    assert found["max_abs"] == pytest.approx(0.1, rel=1e-5)
    assert found["relative"] == pytest.approx(0.1, rel=1e-5)
    assert found["cosine"] == pytest.approx(0.9968, abs=1e-3)
    assert excess("disparity", found) == "'disparity' is 0.1 off (relative, limit 0.01)"
    assert excess("disparity", {**found, "relative": 0.005}) is None
    assert "nan off" in str(excess("disparity", {}))
    zeros = np.zeros((1, 2), np.float32)
    assert differences("masks", [(zeros, zeros)])["cosine"] == 1


CARD = {"gpu": "X", "driver": "1", "tensorrt": "T"}


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        ([], "proof is a list of 0"),
        ({"gpu": "X"}, "'driver' is missing"),
        (CARD, "'engines' is missing"),
        (
            {**CARD, "engines": {"depth": {"sha256": 3}}},
            "hash in the proof of 'depth' is 3",
        ),
        (
            {**CARD, "engines": {"depth": {"sha256": "a", "outputs": {"d": {"rms": "low"}}}}},
            "'rms' of the proof is 'low', expected a number",
        ),
        ({**CARD, "engines": {}, "masks": {"clip": "c"}}, "'mask_iou' is missing"),
    ],
)
def test_a_proof_that_is_none(
    request_: Request, monkeypatch: pytest.MonkeyPatch, proof: Any, said: str
) -> None:
    use(monkeypatch)
    export(request_, QUIET)
    manifest.write(request_.out, replace(manifest.read(request_.out), proof=proof))
    with pytest.raises(EngineError, match=said):
        manifest.read(request_.out)
