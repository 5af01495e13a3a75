"""Threads that share one opened folder: each engine is opened once, and answers each as if it
were alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers.backends import onnx_folder, open_backend
from samotion.backends.engines import Engines
from samotion.errors import EngineError

THREADS = 4
CALLS = 20
KINDS = ("cpu", "tensorrt-8.6.0", "tensorrt-10.13.0")


def at_once(work: Callable[[int], object]) -> list[object]:
    """What `work` gives in each of some threads that begin together."""
    barrier = threading.Barrier(THREADS)

    def begin(index: int) -> object:
        barrier.wait(20)
        return work(index)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


class Slow:
    """An engine that counts how often it was opened and closed."""

    opened = closed = 0

    def __call__(self, **inputs: object) -> dict[str, object]:
        return {}

    def close(self) -> None:
        Slow.closed += 1


def test_an_engine_is_opened_once_and_closed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slow, "opened", 0)
    monkeypatch.setattr(Slow, "closed", 0)
    onnx_folder(tmp_path)

    def opener(*_: object) -> Any:
        threading.Event().wait(0.02)  # long enough for all threads to arrive
        Slow.opened += 1
        return Slow()

    engines = Engines(tmp_path, "cpu", opener)
    found = at_once(lambda _: engines["depth"])
    assert Slow.opened == 1 and len({id(engine) for engine in found}) == 1
    at_once(lambda _: engines.close())
    assert Slow.closed == 1


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_one_thread(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Shapes differ from thread to thread: a context that two threads share would mix them up."""
    frames = [rng.integers(0, 256, (1, 2 + i, 3 + i, 3), np.uint8) for i in range(THREADS)]
    with open_backend(kind, tmp_path, monkeypatch) as engines:

        def work(index: int) -> None:
            for _ in range(CALLS):
                disparity = engines["depth"](frames=frames[index])["disparity"]
                np.testing.assert_array_equal(disparity, frames[index].sum(-1, dtype=np.float32))

        at_once(work)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_engines_say_so(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = open_backend(kind, tmp_path, monkeypatch)
    depth = engines["depth"]
    engines.close()
    engines.close()
    with pytest.raises(EngineError, match="are closed; open them again"):
        engines["depth"]
    with pytest.raises(EngineError, match="'depth' is closed"):
        depth(frames=np.zeros((1, 4, 4, 3), np.uint8))


def test_closing_while_another_thread_calls_ends_in_answers_or_one_error(tmp_path: Path) -> None:
    onnx_folder(tmp_path)
    engines = samotion.open_engines(tmp_path, "cpu", threads=1)
    frames = np.ones((1, 64, 64, 3), np.uint8)

    def work(index: int) -> object:
        try:
            for _ in range(CALLS):
                assert engines["depth"](frames=frames)["disparity"][0, 0, 0] == 3
                if index == 0:
                    engines.close()
        except EngineError as error:
            return "closed" in str(error)
        return True

    assert all(at_once(work))
