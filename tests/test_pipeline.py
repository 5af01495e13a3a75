"""A run leaves the process as it found it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from samotion import pipeline
from samotion.presets import NANO
from threadpoolctl import threadpool_info, threadpool_limits

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


def _threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def _threads_in_a_run(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Those of NumPy when the clip is read, which then fails."""
    seen: list[set[int]] = []

    def read(*_: Any) -> None:
        seen.append(_threads())
        raise InterruptedError

    monkeypatch.setattr(pipeline, "_read", read)
    with pytest.raises(InterruptedError):
        pipeline.segment_clip(FRAMES, SimpleNamespace(preset=NANO))  # type: ignore[arg-type]
    return seen[0]


def test_numpy_has_one_thread_while_a_clip_runs_and_its_own_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with threadpool_limits(2, user_api="blas"):
        before = _threads()
        for _ in range(2):
            assert _threads_in_a_run(monkeypatch) == {1}
        assert _threads() == before


def test_a_machine_without_threadpoolctl_runs_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with threadpool_limits(2, user_api="blas"):
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
        assert _threads_in_a_run(monkeypatch) == _threads()
