"""What Python callers pass by mistake gets one sentence: what came, and what is expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import zero_engines
from helpers.fakes import FakeEngines
from samotion.clips.video import read_clip
from samotion.errors import DeviceError, SamotionError, UsageError
from samotion.presets import NANO
from samotion.settings import Settings, resolve

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "name", ["step", "max_frames", "max_tracks", "max_objects", "long_side_px", "seed"]
)
@pytest.mark.parametrize(
    "value",
    [
        "3",
        2.5,
        np.float32(3),
        float("nan"),
        float("inf"),
        True,
        np.True_,
        [3],
        {},
        b"3",
        3j,
        np.arange(2),
        object(),
    ],
)
def test_settings_are_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(
        UsageError, match=rf"^{name} is .* \({type(value).__name__}\); expected a whole number$"
    ):
        Settings(**{name: value})


def test_huge_numbers_are_named_by_their_size() -> None:
    with pytest.raises(UsageError, match=r"^step is a number of 33220 bits; expected at most 63$"):
        Settings(step=10**10_000)


@pytest.mark.parametrize("name", ["max_objects", "seed"])
def test_none_is_no_number_where_the_preset_has_none(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name} is None"):
        numbers: dict[str, Any] = {name: None}
        Settings(**numbers)


def test_whole_numbers_of_numpy_are_as_good_as_pythons() -> None:
    settings = Settings(step=np.int64(3), max_tracks=np.uint16(7), seed=np.int32(1))  # type: ignore[arg-type]
    assert settings == Settings(step=3, max_tracks=7, seed=1)
    assert json.dumps(asdict(resolve(settings, NANO)))


@pytest.mark.parametrize("settings", [{"seed": 0}, 0, {}, False, "seed=0", Settings])
def test_settings_are_settings(settings: Any) -> None:
    with pytest.raises(
        UsageError, match=r"^settings is .*; expected samotion\.Settings\(\.\.\.\)$"
    ):
        samotion.segment_clip(FRAMES, FakeEngines(), settings)


@pytest.mark.parametrize("engines", ["engines", None, Path("engines"), {}])
def test_engines_are_open(engines: Any) -> None:
    for segment in (samotion.segment_clip, samotion.segment_windows):
        with pytest.raises(UsageError, match=r"expected samotion\.open_engines\(\.\.\.\)"):
            segment(FRAMES, engines)


@pytest.mark.parametrize("numbers", [{"long_side_px": 0}, {"long_side_px": 9.5}, {"max_frames": 1}])
def test_a_clip_is_read_with_whole_numbers(numbers: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(numbers))):
        read_clip(FRAMES, **numbers)


def _resized(_: Any, frames: Any) -> Any:
    return samotion.tracks.resize_for_tracking(frames)


@pytest.mark.parametrize(
    "answer", [samotion.depth.estimate, samotion.dino.describe, samotion.sam2.Features, _resized]
)
@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.zeros((2, 28, 28, 3), np.float32), r"float32 \[2, 28, 28, 3\]"),
        (np.zeros((28, 28, 3), np.uint8), r"uint8 \[28, 28, 3\]"),
        (np.zeros((2, 3, 28, 28), np.uint8), r"uint8 \[2, 3, 28, 28\]"),
        (np.zeros((0, 28, 28, 3), np.uint8), "T at least 1"),
        (np.zeros((2, 0, 0, 3), np.uint8), r"uint8 \[2, 0, 0, 3\]"),
        ([np.zeros((28, 28, 3), np.uint8)], r"\(list\)"),
    ],
)
def test_nets_take_frames_alone(answer: Callable[..., Any], frames: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        answer(FakeEngines(), frames)


@pytest.mark.parametrize("folder", [5, 2.5, ["a"], np.zeros(2)])
def test_an_engine_folder_is_a_path(folder: Any) -> None:
    with pytest.raises(UsageError, match=r"^the engine folder is .*; expected a path$"):
        samotion.open_engines(folder)


@pytest.mark.parametrize("kind", [str, Path, lambda path: str(path).encode()])
def test_paths_come_as_text_bytes_or_path(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    folder = zero_engines.write_folder(tmp_path / "engines")
    with samotion.open_engines(kind(folder), "cpu") as engines:
        assert engines.folder == folder


@pytest.mark.parametrize("device", [5, None, b"cpu", ["cpu"], "CPU", "gpu", ""])
def test_devices_are_named(device: Any) -> None:
    with pytest.raises(DeviceError, match=r"is unknown; choose one of auto, cpu, cuda, tensorrt$"):
        samotion.open_engines("engines", device)


@pytest.mark.parametrize("threads", ["2", 2.5, True, -1, 0, 10**6])
def test_threads_are_a_number(threads: Any) -> None:
    with pytest.raises(UsageError, match=r"^threads is .*; expected"):
        samotion.open_engines("engines", "cpu", threads)


@pytest.mark.parametrize("folder", ["a\0b", "\ud800", "a" * 5000, ""])
def test_paths_that_no_file_can_have_are_no_engine_folders(folder: str) -> None:
    with pytest.raises(SamotionError, match=r"no engine folder|no manifest"):
        samotion.open_engines(folder, "cpu")
