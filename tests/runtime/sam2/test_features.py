"""Where frames become SAM 2's squares: on the host, or by an engine on the GPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion.backends.squares import BICUBIC, resample
from samotion.presets import NANO
from samotion.sam2 import features
from samotion.sam2.features import Features

HW = (30, 50)


def engines_on(device: str, *names: str) -> tuple[Any, list[str]]:
    """Engines that note their calls; those of `names` are in the folder."""
    calls: list[str] = []

    def resize(frames: np.ndarray, index: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
        calls.append("sam2_resize")
        assert index.shape == weight.shape and index.shape[:2] == (2, 448)
        return {"resized": np.stack([resample(frame, 448, BICUBIC) for frame in frames])}

    def image(frames: np.ndarray) -> dict[str, Any]:
        calls.append("sam2_image")
        return {"level0": frames}

    engines: Any = FakeEngines(sam2_image=image, sam2_resize=resize)
    engines.device = device
    entry = SimpleNamespace(inputs={"index": [2, "N", "K"]})
    engines.manifest = SimpleNamespace(engines=dict.fromkeys(names, entry))
    return engines, calls


@pytest.mark.parametrize("device", ["tensorrt", "cuda"])
def test_a_gpu_resizes_frames_itself(rng: np.random.Generator, device: str) -> None:
    frames = rng.integers(0, 256, (2, *HW, 3), np.uint8)
    engines, calls = engines_on(device, "sam2_image", "sam2_resize")
    level = Features(engines, frames)[1]["level0"]
    assert calls == ["sam2_resize", "sam2_image"]
    np.testing.assert_array_equal(level[0], resample(frames[1], 448, BICUBIC))


def test_the_host_does_it_on_a_cpu_without_the_engine_and_for_giants(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = rng.integers(0, 256, (1, *HW, 3), np.uint8)
    both = ("sam2_image", "sam2_resize")
    for engines, calls in (engines_on("cpu", *both), engines_on("tensorrt", "sam2_image")):
        level = Features(engines, frames)[0]["level0"]
        assert calls == ["sam2_image"]
        np.testing.assert_array_equal(level[0], resample(frames[0], 448, BICUBIC))
    monkeypatch.setattr(features, "LARGEST_PX", 49)
    engines, calls = engines_on("tensorrt", *both)
    assert Features(engines, frames)[0] and calls == ["sam2_image"]


def test_frames_of_sam2s_size_go_in_as_they_are(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (1, 448, 448, 3), np.uint8)
    engines, calls = engines_on("tensorrt", "sam2_image", "sam2_resize")
    np.testing.assert_array_equal(Features(engines, frames)[0]["level0"], frames)
    assert calls == ["sam2_image"]


@pytest.mark.parametrize("has_gpu_memory", [True, False])
def test_a_sweep_gets_what_single_frames_get(
    rng: np.random.Generator, has_gpu_memory: bool
) -> None:
    """There and back again, some frames cached, the last one too; a GPU's go through in fours."""
    frames = rng.integers(0, 256, (11, *HW, 3), np.uint8)
    engines, calls = engines_on("tensorrt", "sam2_image", "sam2_resize")
    engines.has_gpu_memory = has_gpu_memory
    images = Features(engines, frames, capacity=2)
    _ = images[3], images[6]
    calls.clear()
    order = [*range(1, 11), *range(9, -1, -1), 6]
    levels = [one["level0"] for one in images.in_order(order)]
    for frame, level in zip(order, levels, strict=True):
        np.testing.assert_array_equal(level, resample(frames[frame], 448, BICUBIC)[None])
    # 1 2 4 5 | 7 8 9 10 | 9 8 7 5 | 4 2 1 0 | none
    assert calls.count("sam2_image") == (4 if has_gpu_memory else 16)


@pytest.mark.parametrize(("side_px", "count"), [(1024, 16), (448, 83), (256, 96)])
def test_features_of_large_frames_are_held_of_few(side_px: int, count: int) -> None:
    engines, _ = engines_on("cpu")
    engines.preset = replace(NANO, sam2=replace(NANO.sam2, image_size_px=side_px))
    assert Features(engines, np.zeros((1, *HW, 3), np.uint8)).capacity == count
