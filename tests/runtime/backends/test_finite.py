"""An engine that answers NaN or infinity is named, on every backend, and nothing of its answer
is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import backends
from samotion.backends.engines import EngineFolder
from samotion.backends.finite import require_finite
from samotion.errors import EngineError

KINDS = ("cpu", "tensorrt-8.6.0", "tensorrt-10.13.0")


@pytest.fixture(params=KINDS)
def engines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineFolder]:
    with backends.open_backend(request.param, tmp_path, monkeypatch) as opened:
        yield opened


def memory_inputs(score: float) -> dict[str, np.ndarray]:
    """Of the graph that adds `object_score` to its masks."""
    return {
        "level2": np.zeros((1, 4, 2, 2), np.float32),
        "masks": np.zeros((1, 8, 8), np.float32),
        "object_score": np.full(1, score, np.float32),
    }


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_what_was_given_to_an_engine_is_blamed_where_it_was_not_finite(
    engines: EngineFolder, score: float
) -> None:
    with pytest.raises(
        EngineError, match="'sam2_memory' was given NaN or infinity in 'object_score'"
    ):
        engines["sam2_memory"](**memory_inputs(score))


@pytest.mark.parametrize("beyond", [3e38, -3e38])
def test_an_engine_that_overflows_is_named_with_its_output_and_the_command(
    engines: EngineFolder, beyond: float
) -> None:
    large = memory_inputs(beyond)
    large["masks"][0, 0, 0] = beyond  # the sum is beyond float32
    with pytest.raises(
        EngineError,
        match=r"'sam2_memory' .* \(1 of 64 numbers of 'memory'\).* samotion-export sam2$",
    ):
        engines["sam2_memory"](**large)


def test_large_numbers_are_finite(engines: EngineFolder) -> None:
    assert engines["sam2_memory"](**memory_inputs(3e38))["memory"].max() == np.float32(3e38)


def test_an_answer_without_rows_is_finite() -> None:
    require_finite("depth", {}, {"disparity": np.zeros((0, 14, 14), np.float32)})


def test_outputs_kept_on_the_cpu_are_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = backends.open_backend("cpu", tmp_path, monkeypatch)["sam2_memory"]
    large = memory_inputs(3e38)
    large["masks"][:] = 3e38
    with pytest.raises(EngineError, match="'sam2_memory' answers NaN or infinity"):
        engine.keep(**large)


class OnDevice:
    """An output of another engine that no one has read yet."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.array


def test_an_output_kept_on_a_device_is_blamed_on_the_engine_that_made_it() -> None:
    level = OnDevice(np.full((1, 4), np.nan, np.float32))
    masks = {"masks": np.full((1, 2), np.nan, np.float32)}
    with pytest.raises(
        EngineError, match=r"'sam2_image' answers NaN or infinity \(4 of 4 numbers of 'level2'\)"
    ):
        require_finite("sam2_track", {"level2": level}, masks)


@pytest.mark.parametrize("memories", ["bank", "pointers"])
def test_memories_on_a_device_are_blamed_on_the_engine_that_remembers(memories: str) -> None:
    """They were gathered from answers of several engines, so no output has their name."""
    remembered = OnDevice(np.full((1, 4), np.nan, np.float32))
    masks = {"masks": np.full((1, 2), np.nan, np.float32)}
    with pytest.raises(
        EngineError, match=r"'sam2_track' answers NaN or infinity \(2 of 2 numbers of 'masks'\)"
    ):
        require_finite("sam2_track", {memories: remembered}, masks)
