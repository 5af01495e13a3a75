"""The GPU check's own part, on a fake TensorRT."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import tensorrt_folder
from samotion import manifest
from samotion_bench import gpu_check
from samotion_bench.recorder import Recorder


def test_engines_are_compared_with_their_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    fake_tensorrt.install(monkeypatch, "10.13.0")
    tensorrt_folder(tmp_path, "10.13.0")
    with (
        samotion.open_engines(tmp_path, "tensorrt") as engines,
        gpu_check.open_graphs(tmp_path) as graphs,
    ):
        recorder = Recorder(engines)
        recorder["depth"](frames=rng.integers(0, 256, (1, 8, 8, 3), np.uint8))
        note = recorder.in_order()["depth"]
        (row,) = gpu_check.differences("depth", note, engines, graphs)
        assert row == ("depth.disparity", "[1, 8, 8, 3]", 0.0, 0.0)
        wrong = {
            "depth": lambda frames: {"disparity": graphs["depth"](frames=frames)["disparity"] * 1.1}
        }
        (row,) = gpu_check.differences("depth", note, wrong, graphs)  # type: ignore[arg-type]
        assert row[2] > gpu_check.MOST_RELATIVE


def test_a_single_value_is_measured_by_itself() -> None:
    """One object's score has no range."""
    note = types.SimpleNamespace(inputs={"level2": np.zeros(1)})
    names = gpu_check.SIGNATURES["sam2_prompt"].output_names
    there = {name: np.full(1, 4.0, np.float32) for name in names}
    near = {name: array + np.float32(0.002) for name, array in there.items()}
    both = ({"sam2_prompt": lambda answer=answer, **_: answer} for answer in (near, there))
    rows = list(gpu_check.differences("sam2_prompt", note, *both))  # type: ignore[arg-type]
    assert len(rows) == len(names) and all(
        row[2] == pytest.approx(0.0005, rel=1e-3) for row in rows
    )


PLACE = {"gpu": "Fake GPU", "driver": "580.65", "tensorrt": "TensorRT 10.13.0"}


def test_the_proof_is_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of engines on fixed inputs: two that answer, and one that failed."""
    fake_tensorrt.install(monkeypatch, "10.13.0")
    tensorrt_folder(tmp_path, "10.13.0")
    held = manifest.read(tmp_path)
    depth = {"depth": held.engines["depth"]}
    manifest.write(tmp_path, replace(held, engines=depth))
    proof = gpu_check.prove_engines(tmp_path)
    assert manifest.read(tmp_path).proof == proof
    shown = "\n".join(gpu_check.proof_lines(proof))
    assert "TensorRT 10.13.0: 1 of 1 engines answer as their graphs do." in shown
    assert "| depth.disparity | 1.000000 | 0.00e+00 | relative 0.00e+00 of 0.01 |" in shown
    failed = {**PLACE, "engines": {"depth": {"sha256": "0", "problem": "it is lost"}}}
    assert "| depth |  |  | it is lost |" in gpu_check.proof_lines(failed)


def test_iou() -> None:
    a = np.array([True, True, False, False])
    assert gpu_check.iou(a, a) == gpu_check.iou(a & ~a, a & ~a) == 1
    assert gpu_check.iou(a, np.array([True, False, True, False])) == pytest.approx(1 / 3)


def test_page_tells_machine_and_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "describe_machine", lambda device: {"gpus": ["Fake GPU"]})
    page = "\n".join(
        gpu_check.to_page(
            "nano", 24, [("depth.disparity", "[1]", 1e-3, 2e-3)], [("TensorRT", 0.995)], None
        )
    )
    assert (
        "- gpus: ['Fake GPU']" in page and "| depth.disparity | [1] | 1.00e-03 | 2.00e-03 |" in page
    )
    assert "| TensorRT | 0.9950 |" in page and "did not finish" in page


def test_page_tells_times() -> None:
    times = {"median_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0, "runs": 100, "ratio": 4.0}
    whole = {"objects": 2, "tracks": 9, "frames_per_s": 25.0, "wall": times}
    engine = {**times, "device": {**times, "median_ms": 0.5}, "torch": {**times, "median_ms": 7.0}}
    bench = {"machine": {"gpus": ["Some GPU"]}, "end_to_end": whole, "baselines": {"torch": times}}
    times_of = {**bench, "engine_times": {"depth": engine}}
    page = "\n".join(gpu_check.to_page("nano", 24, [], [], times_of))
    assert "- gpus: ['Some GPU']" in page and "1.00 / 2.00 / 3.00 ms (25.0 frames/s)" in page
    assert "eager: 1.00 / 2.00 / 3.00 ms (4.00 times as long)" in page
    assert (
        "| depth | 100 | 1.00 / 2.00 / 3.00 | 0.50 / 2.00 / 3.00 | 7.00 / 2.00 / 3.00 | - |" in page
    )


@pytest.mark.parametrize(
    ("error", "score", "fails"), [(1e-3, 0.99, False), (0.2, 0.99, True), (1e-3, 0.5, True)]
)
def test_what_differs_too_much_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float, score: float, fails: bool
) -> None:
    """After the page is written."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(gpu_check.pages, "RESULTS", tmp_path)

    def run(*words: str) -> None:
        commands.append(words)
        if "--json" in words:
            Path(words[-1]).write_text(
                json.dumps({"machine": {}, "engine_times": {}, "end_to_end": whole})
            )

    wall = {"median_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0}
    whole = {"objects": 2, "tracks": 9, "frames_per_s": 25.0, "wall": wall}
    monkeypatch.setattr(gpu_check, "_run", run)
    monkeypatch.setattr(
        gpu_check, "compare_engines", lambda folder, frames: [("depth.disparity", "", error, 0.0)]
    )
    monkeypatch.setattr(gpu_check, "compare_masks", lambda folder: [("TensorRT", score)])
    monkeypatch.setattr(gpu_check, "describe_machine", lambda device: {})
    monkeypatch.setattr(gpu_check, "prove_engines", lambda folder: {**PLACE, "engines": {}})
    preset = types.SimpleNamespace(name="nano")
    if fails:
        with pytest.raises(samotion.errors.ParityError, match="differ too much from the CPU"):
            gpu_check.check_preset(preset, tmp_path / "e", 8)  # type: ignore[arg-type]
    else:
        assert gpu_check.check_preset(preset, tmp_path / "e", 8) == tmp_path / "gpu-nano.md"  # type: ignore[arg-type]
    assert (tmp_path / "gpu-nano.md").exists()
    assert [words[0] for words in commands] == ["samotion_export.cli", "samotion_bench.bench"]
