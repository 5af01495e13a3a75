"""The plan of make gpu-check: it runs through without a GPU, and leaves what it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from samotion.contract import SIGNATURES
from samotion.errors import SamotionError
from samotion.presets import FAST
from samotion_bench.gpu_plan import arithmetic, chains, run
from samotion_bench.gpu_plan.steps import Missing, Step, Table, Work

WORK = Work(Path("engines-gpu"), 4)


def no_driver(*_: Any, **__: Any) -> Any:
    raise OSError("no nvidia-smi")


def test_without_a_gpu_each_step_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chains.subprocess, "run", no_driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run.run_steps([1, 3, 4, 5, 6], WORK, tmp_path)
    said = capsys.readouterr().out
    assert said.count("not here; it needs an NVIDIA GPU") == 5
    assert not any(tmp_path.iterdir())


def test_tables_are_written_the_moment_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tables(work: Work) -> Iterator[Table]:
        yield Table("First", ("a", "b"), [(1, 2.34567)])
        assert "| 1 | 2.346 |" in (tmp_path / "gpu-plan-1-odd.md").read_text()
        raise ValueError("the card is gone")

    def lacking(work: Work) -> Iterator[Table]:
        raise Missing("a GPU")
        yield

    steps = (Step("odd", "what fails", tables), Step("even", "what lacks", lacking))
    monkeypatch.setattr(run, "STEPS", steps)
    with pytest.raises(SamotionError, match="gpu-check: odd failed"):
        run.run_steps([1, 2], WORK, tmp_path)
    said = capsys.readouterr().out
    assert "failed: ValueError: the card is gone" in said and "it needs a GPU" in said
    assert "## First" in (tmp_path / "gpu-plan-1-odd.md").read_text()


def test_every_engine_has_inputs_of_official_sizes() -> None:
    for engine, signature in SIGNATURES.items():
        if signature.only_if or engine == "sam2_resize":
            continue
        inputs = arithmetic.inputs_of(torch, "meta", engine, FAST, 4)
        assert len(inputs) == len(signature.inputs)
    sizes = [tuple(x.shape) for x in arithmetic.inputs_of(torch, "meta", "sam2_track", FAST, 4)]
    assert sizes[4:] == [(4, 14, 4096, 64), (4, 14), (4, 23, 256), (4, 23)]


def test_arithmetic_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "RUNS", 1)
    monkeypatch.setattr(arithmetic, "BATCHES", (1, 2))
    copies = arithmetic.copies(torch, "cpu", 1 << 12)
    assert len(copies.rows) == 5 and all(float(str(row[1])) > 0 for row in copies.rows)
    attention = arithmetic.attention(torch, "cpu", (1, 2), 16)
    assert len(attention.rows) == 2 * 2 * 4
    assert all(isinstance(row[3], float) for row in attention.rows)


def test_a_figure_that_fails_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert arithmetic._or_none(lambda: no_driver()) is None
    assert "left out" in capsys.readouterr().out


def test_the_longest_kernels_come_first() -> None:
    events = [SimpleNamespace(key=f"k{n}", count=n, self_device_time_total=n) for n in range(5)]
    found = chains.longest(SimpleNamespace(key_averages=lambda: events))
    assert [row[0] for row in found] == ["k4", "k3", "k2"]
    np.testing.assert_allclose([float(str(row[3])) for row in found], [0.4, 0.3, 0.2])
