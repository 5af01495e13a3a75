"""Holding a preset's engines to budgets, and what is said of those that cannot be built."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.paths import ROOT
from samotion import manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import engines_of
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest
from samotion.presets import NANO
from samotion_bench import trt_check
from samotion_export.trt.build import COST
from samotion_export.trt.compiler import Cost

FOUND = Cost(3, 1, 1, 0, (3, 5), 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two engines; the motion net's is still a graph."""
    folder = tmp_path / "nano-fp16"
    folder.mkdir()
    entry = Entry(
        "depth.engine", "0", "0", "0", "fp16", {}, {}, {}, "0", {COST: asdict(FOUND)}, rtx=True,
        tensorrt="1.2.3",
    )  # fmt: skip
    graph = Entry("motion.onnx", "0", "0", "0", "fp16", {}, {}, {}, "0")
    held = Manifest("nano", {}, {"depth": entry, "motion": graph}, numbers_of(NANO))
    manifest.write(folder, held)
    return folder


def budgets(path: Path, **budget: int) -> Path:
    rows = {"depth": {"budget": budget}} if budget else {}
    path.write_text(json.dumps({"compiler": "", "graphs": {"nano-fp16": rows}}))
    return path


def check(folder: Path, budgets: Path, record: bool = False, *problems: str) -> None:
    trt_check.check_folder(folder, ("depth", "motion"), budgets, record, problems)


def test_figures_are_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(folder, budgets(tmp_path / "budgets.json", kernels=3, unfused=1, loops=0, scratch_mb=5))
    said = capsys.readouterr().out
    assert "kernels 3, fused 1, unfused 1, loops 0, scratch_mb [3, 5]" in said
    assert "TensorRT for RTX 1.2.3 compiled nano-fp16" in said and "motion" not in said


@pytest.mark.parametrize("name", ["kernels", "unfused", "scratch_mb"])
def test_a_budget_that_is_exceeded_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    value = FOUND.bounded[name]
    small = budgets(tmp_path / "budgets.json", **{name: value - 1})
    with pytest.raises(EngineError, match=f"depth: {name} {value}, at most {value - 1}"):
        check(folder, small)
    check(folder, budgets(tmp_path / "budgets.json", **{name: value}))


def test_what_failed_is_told_at_the_end(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^motion: lost; depth: kernels 3, at most 2$"):
        check(folder, budgets(tmp_path / "budgets.json", kernels=2), False, "motion: lost")


def test_nothing_was_built_at_all(tmp_path: Path) -> None:
    (tmp_path / "nano-fp16").mkdir()
    with pytest.raises(EngineError, match=r"^all is lost$"):
        check(tmp_path / "nano-fp16", budgets(tmp_path / "b.json"), False, "all is lost")


def test_each_net_is_built_and_failures_are_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        commands.append(command[3:])
        said = "" if command[3] == "depth" else "a warning\nerror: motion: it is lost\n"
        return SimpleNamespace(returncode=4 if said else 0, stderr=said)

    monkeypatch.setattr(subprocess, "run", run)
    problems = trt_check.build_engines(NANO, "fp16", ("depth", "motion"), tmp_path / "e", 512)
    assert problems == ["motion: it is lost"]
    assert [command[0] for command in commands] == ["depth", "motion"]
    said = " ".join(commands[0])
    assert "--target rtx --offline --no-verify" in said and "--refine-px 512" in said


def test_recorded_figures_become_budgets_once(folder: Path, tmp_path: Path) -> None:
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


def test_the_continuous_integration_runs_it() -> None:
    made = [line.split() for line in (ROOT / ".ci/run").read_text().splitlines()]
    calls = [words for words in made if words[:1] == ["make"]]
    (compiler,), (check,), (trt_check,) = (
        [k for k, words in enumerate(calls) if target in words]
        for target in ("compiler", "check", "trt-check")
    )
    assert compiler < check <= trt_check


def test_no_loop_is_allowed() -> None:
    looped = replace(FOUND, loops=2)
    assert trt_check.over(looped, {"loops": 2}) == ["loops 2, at most 0"]
    assert trt_check.first_budget(looped)["loops"] == 0


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
    # graphs that only a GPU has, too
    assert set(rows) >= engines, "python -m samotion_bench.trt_check --record"
    for row in rows.values():
        measured = {**row["measured"], "scratch_mb": max(row["measured"]["scratch_mb"])}
        assert all(measured[name] <= most for name, most in row["budget"].items())
