"""Scratch memory: one block for all contexts of a folder, and what happens when it grows."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import rtx_folder, tensorrt_folder
from samotion.backends.cuda import Device
from samotion.backends.cuda_graphs import WARM_RUNS
from samotion.backends.engines import EngineFolder
from samotion.backends.trt_backend import Scratch
from samotion.contract import SIGNATURES

VERSIONS = ("8.6.0", "10.13.0", "11.4.0")


@pytest.fixture(params=VERSIONS)
def gpu(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> fake_tensorrt.Gpu:
    tensorrt_folder(tmp_path, request.param)
    return fake_tensorrt.install(monkeypatch, request.param)


def see(engines: EngineFolder, rng: np.random.Generator, side: int) -> None:
    """The depth engine answers rightly: sides up to 8 go to its first profile, larger ones to its
    second, which needs twice as much scratch memory.
    """
    frames = rng.integers(0, 256, (1, side, side, 3), np.uint8)
    got = engines["depth"](frames=frames)["disparity"]
    np.testing.assert_array_equal(got, frames.sum(-1, dtype=np.float32))


def blocks(engines: EngineFolder) -> tuple[int, int]:
    """How often scratch memory was taken, and how much of it there is."""
    engine: Any = engines["depth"]
    scratch = engine._backend.scratch
    return scratch.generation, scratch.memory.size


def test_contexts_share_one_block(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, rng: np.random.Generator
) -> None:
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        see(engines, rng, 9)
        assert blocks(engines) == (1, 2048)  # 2000, aligned
        see(engines, rng, 4)
        level2 = rng.normal(size=(1, 4, 2, 2)).astype(np.float32)
        masks = rng.normal(size=(1, 8, 8)).astype(np.float32)
        engines["sam2_memory"](level2=level2, masks=masks, object_score=np.zeros(1, np.float32))
        assert blocks(engines) == (1, 2048)
    gc.collect()
    assert gpu.used == 0


def test_the_block_grows(gpu: fake_tensorrt.Gpu, tmp_path: Path, rng: np.random.Generator) -> None:
    """Only 8.6 cannot tell how much a profile needs, and takes the most of all at once."""
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        see(engines, rng, 4)
        old = isinstance(gpu, fake_tensorrt.Gpu) and blocks(engines) == (1, 2048)
        assert old or blocks(engines) == (1, 1024)
        before = gpu.used
        see(engines, rng, 9)
        assert blocks(engines) == (1 if old else 2, 2048)
        see(engines, rng, 4)
        assert gpu.used <= before + 1024 + 2048, "the small block went back to the driver"


def test_a_block_is_made_anew_where_it_is_too_small_alone(gpu: fake_tensorrt.Gpu) -> None:
    """And the old one goes first, to the driver: there may be no room for both."""
    scratch = Scratch(Device())
    for nbytes, generation in ((1024, 1), (1024, 1), (512, 1), (2048, 2)):
        scratch.grow(nbytes)
        assert scratch.generation == generation
    assert gpu.used == 2048


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_block_that_grows_ends_what_was_recorded_with_it(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setitem(SIGNATURES, "depth", replace(SIGNATURES["depth"], per_frame=True))
    tensorrt_folder(tmp_path, version)
    gpu = fake_tensorrt.install(monkeypatch, version)
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        for _ in range(WARM_RUNS + 3):
            see(engines, rng, 4)
        assert (gpu.recordings, gpu.launches) == (1, 2)
        see(engines, rng, 9)
        see(engines, rng, 4)  # recorded again
        assert (gpu.recordings, gpu.launches) == (1, 2)
        see(engines, rng, 4)
        assert (gpu.recordings, gpu.launches) == (1, 3)


def test_a_recording_that_makes_the_block_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """What was recorded before for other shapes goes, too."""
    monkeypatch.setitem(SIGNATURES, "depth", replace(SIGNATURES["depth"], per_frame=True))
    tensorrt_folder(tmp_path, "10.13.0")
    gpu = fake_tensorrt.install(monkeypatch)
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        for _ in range(WARM_RUNS + 2):
            see(engines, rng, 4)
        engine: Any = engines["depth"]
        big = (("frames", (1, 9, 9, 3), None),)
        engine._steps._seen[big] = WARM_RUNS  # as if it had run before the block was small
        see(engines, rng, 9)
        launches = gpu.launches
        see(engines, rng, 4)
        assert (gpu.recordings, gpu.launches) == (2, launches), "recorded anew, not launched"


def test_rtx_shares_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    rtx_folder(tmp_path, "1.7.1")
    gpu = fake_tensorrt.install(monkeypatch, "1.7.1", module="tensorrt_rtx")
    monkeypatch.setitem(SIGNATURES, "depth", replace(SIGNATURES["depth"], per_frame=True))
    with samotion.open_engines(tmp_path) as engines:
        for side in (4, 9, 4):
            see(engines, rng, side)
        assert blocks(engines) == (2, 2048)
        for _ in range(WARM_RUNS + 2):
            see(engines, rng, 4)
        assert gpu.launches == 0, "its kernels may change behind a recording"
