"""A run leaves the process as it found it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import samotion
from samotion import pipeline
from samotion.backends.threads import one_thread_for_numpy
from samotion.checks.stages import Stages
from samotion.presets import NANO
from threadpoolctl import threadpool_info, threadpool_limits

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


def _threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def _threads_in_a_run(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Those of NumPy when the clip is read, which then fails."""
    seen: list[set[int]] = []

    def read(*_: Any) -> None:
        seen.append(_threads())
        raise InterruptedError

    monkeypatch.setattr(pipeline, "_read", read)
    with pytest.raises(InterruptedError):
        pipeline.segment_clip(FRAMES, SimpleNamespace(preset=NANO))
    return seen[0]


def test_numpy_has_one_thread_while_a_clip_runs_and_its_own_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with threadpool_limits(2, user_api="blas"):
        before = _threads()
        for _ in range(2):
            assert _threads_in_a_run(monkeypatch) == {1}
        assert _threads() == before


def test_a_machine_without_threadpoolctl_runs_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with threadpool_limits(2, user_api="blas"):
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
        assert _threads_in_a_run(monkeypatch) == _threads()


def test_a_stage_starts_at_nothing_and_ends_once_with_all_of_it() -> None:
    said: list[tuple[str, int, int]] = []
    stages = Stages(lambda *step: said.append(step))
    with stages("motion") as step:
        for done, total in ((0, 2), (1, 2), (2, 2), (1, 3), (3, 3)):
            step(done, total)
    assert said == [
        ("motion", 0, 1),
        *(("motion", *step) for step in ((0, 2), (1, 2), (1, 3), (3, 3))),
    ]
    assert stages.timings.keys() == {"motion"}
    with stages("masks"):
        pass
    assert said[-2:] == [("masks", 0, 1), ("masks", 1, 1)]


def test_every_stage_reports_under_its_own_name(engine_folder: Path) -> None:
    said: list[tuple[str, int, int]] = []
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), np.uint8)
    with samotion.open_engines(engine_folder, "cpu", threads=1) as engines:
        settings = samotion.Settings(max_tracks=32)
        result = samotion.segment_clip(frames, engines, settings, lambda *step: said.append(step))
    stages = list(dict.fromkeys(stage for stage, _, _ in said))
    assert stages == ["video", "tracks", "depth", "dino", "motion", "prompts", "masks"]
    assert stages == list(result.timings)
    for stage in stages:
        steps = [(done, total) for name, done, total in said if name == stage]
        ends = [done == total for done, total in steps]
        assert steps[0][0] == 0 and ends.index(True) == len(steps) - 1, stage
    assert said[0] == ("video", 0, 1)
    assert list(result.evidence.depth) == list(result.evidence.motion) == [0, 2]


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_runs_at_once_share_the_limit_and_the_last_takes_it_back(first_to_end: int) -> None:
    def run(begun: threading.Event, end: threading.Event) -> None:
        with one_thread_for_numpy():
            begun.set()
            end.wait(20)

    with threadpool_limits(2, user_api="blas"):
        before = _threads()
        ends = [threading.Event(), threading.Event()]
        runs = []
        for end in ends:  # one after the other, so that the second begins within the first
            begun = threading.Event()
            runs.append(threading.Thread(target=run, args=(begun, end)))
            runs[-1].start()
            assert begun.wait(20)
        for index in (first_to_end, 1 - first_to_end):
            assert _threads() == {1}
            ends[index].set()
            runs[index].join()
        assert _threads() == before


def test_a_run_within_a_run_leaves_the_limit_to_the_outer_one() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = _threads()
        with one_thread_for_numpy():
            with pytest.raises(InterruptedError), one_thread_for_numpy():
                raise InterruptedError
            assert _threads() == {1}
        assert _threads() == before
