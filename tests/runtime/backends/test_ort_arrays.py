"""onnxruntime's answers beside a CUDA stream, played by a CPU session and a stream that reads host
memory.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers.backends import open_backend, prompt_inputs
from samotion.backends import ort
from samotion.backends.device_array import DeviceArray
from samotion.backends.ort import OrtArray
from samotion.backends.resident import Answer
from samotion.errors import DeviceError, EngineError


class HostStream:
    """A stream of copies whose device memory is the host's."""

    def __init__(self) -> None:
        self.turn = threading.RLock

    def require_open(self) -> None:
        """It is never closed."""

    def fetch(self, arrays: dict[str, DeviceArray]) -> Any:
        found = {}
        for name, array in arrays.items():
            data = ctypes.string_at(array.address, array.nbytes)
            found[name] = np.frombuffer(data, array.dtype).reshape(array.shape)
        return SimpleNamespace(get=lambda: found)


def test_rows_of_an_answer_are_inputs_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """As SAM 2's memories stay on the GPU, one object's of an answer for several."""
    inputs = prompt_inputs(rng)
    with open_backend("cpu", tmp_path, monkeypatch) as engines:
        wanted = engines["sam2_prompt"](**inputs)
        stream = HostStream()
        for name in ("sam2_prompt", "sam2_memory"):
            monkeypatch.setattr(engines[name], "_stream", stream)
        kept = engines["sam2_prompt"].keep(**inputs)
        row = {name: kept[name][1:2] for name in ("masks", "object_score")}
        assert row["masks"].address == kept["masks"].address + kept["masks"].nbytes // 2
        memory = engines["sam2_memory"](level2=inputs["level2"], **row)["memory"]
        expected = wanted["masks"][1:2] + wanted["object_score"][1:2, None, None]
        np.testing.assert_allclose(memory, expected, rtol=1e-5)
        answer = Answer("sam2_prompt", inputs, kept).fetch(("masks", "iou")).get()
        for name, array in answer.items():
            np.testing.assert_array_equal(array, wanted[name])


def test_an_error_is_raised_and_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    level2, masks = np.zeros((1, 4, 2, 2), np.float32), np.zeros((2, 8, 8), np.float32)
    scores = np.zeros(3, np.float32)
    with open_backend("cpu", tmp_path, monkeypatch) as engines:
        for call in (engines["sam2_memory"], engines["sam2_memory"].keep):
            with pytest.raises(EngineError, match=r"failed on .*object_score float32\[3\]: .*Add"):
                call(level2=level2, masks=masks, object_score=scores)
    assert capfd.readouterr().err == ""


def test_what_comes_down_without_cuda_python_is_finite() -> None:
    """As `samotion[gpu]` alone has it: onnxruntime's own arrays, which nothing has looked at."""
    maps = np.array([[1, np.nan]], np.float32)
    kept = {"disparity": OrtArray(onnxruntime.OrtValue.ortvalue_from_numpy(maps))}
    with pytest.raises(EngineError, match="'depth' answers NaN or infinity"):
        Answer("depth", {}, kept).fetch().get()


ARENA = "cuda_arena.cc " * 30 + "AllocateRawInternal Failed to allocate memory for buffer of size 9"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (ARENA, "out of GPU memory; close other programs, or lower --max-tracks"),
        (
            "(int) CUDA failure 700: illegal access ; GPU=0 ; x;",
            "CUDA failure 700: illegal access;",
        ),
        ("Non-zero status code: Add", None),
    ],
)
def test_what_is_of_the_gpu_is_told_as_such(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    said: str,
    told: str | None,
) -> None:
    """onnxruntime says it as late as in the 600th letter of a line, of kinds of its own."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(said)

    with open_backend("cpu", tmp_path, monkeypatch) as engines:
        engine: Any = engines["sam2_prompt"]
        entry, provider = engines.entry("depth"), ort.PROVIDERS["cuda"]
        monkeypatch.setattr(engine, "_session", SimpleNamespace(run=fail))
        monkeypatch.setattr(engine, "_device", "cuda")
        monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
        calls: list[Callable[[], Any]] = [
            lambda: engine(**prompt_inputs(rng)),
            lambda: ort.OrtEngine("depth", tmp_path / "depth.onnx", entry, provider, 1),
        ]
        for call in calls:
            with pytest.raises(DeviceError if told else EngineError, match=told or "status code"):
                call()
