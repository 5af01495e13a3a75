"""Arrays that stay on the GPU: rows, writing, one wait for all that is fetched together."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import onnx_folder, tensorrt_folder
from helpers.fakes import FakeEngines
from samotion.backends import cuda, resident, staging
from samotion.backends import ort as ort_engine
from samotion.errors import DeviceError, EngineError


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.Gpu:
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def device(gpu: fake_tensorrt.Gpu) -> Any:
    device = cuda.Device()
    yield device
    device.close()


def test_a_backend_on_the_host_is_no_gpu() -> None:
    """Whatever it is called; contract.ON_GPU alone tells which devices are."""
    engines = FakeEngines()
    for device, there in (("cpu", False), ("another", False), ("cuda", True), ("tensorrt", True)):
        engines.device = device
        assert resident.is_on_gpu(engines) == there, device


def test_rows_are_views_and_can_be_written(device: Any, rng: np.random.Generator) -> None:
    wanted = rng.normal(size=(5, 3, 2)).astype(np.float32)
    array, other = (device.empty(wanted.shape, "float32") for _ in range(2))
    array[:] = wanted
    other[1:3] = array[3:]  # from the GPU
    other[0], other[3:] = array[4], wanted[1::-1]
    np.testing.assert_array_equal(array, wanted)
    np.testing.assert_array_equal(other, wanted[[4, 3, 4, 1, 0]])
    np.testing.assert_array_equal(array[1][2], wanted[1, 2])
    assert (len(array), array[2:4].shape, array[1].shape) == (5, (2, 3, 2), (3, 2))


def test_rows_keep_the_memory_that_they_are_part_of(device: Any, gpu: fake_tensorrt.Gpu) -> None:
    row = device.empty((2, 300), "uint8")[1]
    used = device.empty((2, 300), "uint8")
    used[:] = np.zeros((2, 300), np.uint8)
    row[:] = np.arange(300, dtype=np.uint8)
    np.testing.assert_array_equal(used, np.zeros((2, 300)))
    np.testing.assert_array_equal(row, np.arange(300, dtype=np.uint8))


def test_rows_of_another_shape_or_type_are_refused(device: Any) -> None:
    array = device.empty((4, 2), "float32")
    for values in (np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float64)):
        with pytest.raises(ValueError, match=r"rows are float32\[2, 2\], got float"):
            array[:2] = values
    with pytest.raises(IndexError, match="not dense"):
        array[::2]


def test_fixed_arrays_are_full_of_zeros(device: Any) -> None:
    np.testing.assert_array_equal(device.empty((7, 3), "float32", True), np.zeros((7, 3)))


def test_one_wait_is_for_all_that_is_fetched(
    device: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {str(k): rng.integers(0, 9, (k, 2), np.int64) for k in (1, 4, 2)}
    there = {name: device.empty(array.shape, "int64") for name, array in arrays.items()}
    for name, array in arrays.items():
        there[name][:] = array
    waits = []
    waited = device.wait_for
    monkeypatch.setattr(device, "wait_for", lambda event: (waits.append(event), waited(event)))
    download = device.fetch(there)
    there["1"][:] = np.zeros((1, 2), np.int64)  # queued after the copies
    assert not waits
    for name, array in download.get().items():
        np.testing.assert_array_equal(array, arrays[name])
    assert download.get() is download.get() and len(waits) == 1


def test_downloads_that_nobody_asks_for_spoil_no_other(device: Any, gpu: Any) -> None:
    one, two = (device.empty((300,), "uint8") for _ in range(2))
    one[:], two[:] = np.ones(300, np.uint8), np.full(300, 2, np.uint8)
    device.fetch({"one": one})
    np.testing.assert_array_equal(device.fetch({"two": two}).get()["two"], np.full(300, 2))
    assert len(gpu.pinned) == 2  # one block up, one down


def test_a_larger_download_takes_the_place_of_a_smaller_one(
    device: Any, gpu: fake_tensorrt.Gpu
) -> None:
    for size in (1000, 2000, 3000):
        array = device.empty((size,), "uint8")
        array[:] = np.ones(size, np.uint8)
        device.fetch({"array": array})  # that nobody asks for: its copy may still be queued
    assert device.fetch({"array": array}).get()["array"].all()
    (block,) = device._down
    assert block.size == 3072 and len(gpu.pinned) == 2  # and one up


def test_page_locked_memory_is_told_and_lent_by_its_size(
    device: Any, gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [device.empty((size,), "uint8") for size in (300, 900)]
    held = [device.fetch({"array": array}) for array in arrays]
    for download in held:
        download.get()
    for array, size in zip(arrays, (512, 1024)):
        assert device.fetch({"array": array})._block.size == size
    monkeypatch.setattr(gpu, "error", "cudaErrorMemoryAllocation")
    with pytest.raises(DeviceError, match=r"out of page-locked memory \(cudaMallocHost\)"):
        device.allocate_host(300)


def test_a_download_that_a_fault_stops_gives_its_memory_back(
    device: Any, gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    untold: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", untold.append)
    array = device.empty((300,), "uint8")
    array[:] = np.ones(300, np.uint8)
    device.fetch({"array": array}).get()
    (block,) = device._down
    monkeypatch.setattr(gpu, "error", "cudaErrorIllegalAddress")
    with pytest.raises(DeviceError, match="cudaErrorIllegalAddress"):
        device.fetch({"array": array})
    monkeypatch.setattr(gpu, "error", None)
    gc.collect()
    assert not untold and device._down == [block]


def test_uploads_go_through_few_blocks(
    device: Any, gpu: fake_tensorrt.Gpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(staging, "MOST_BYTES", 4096)
    sent = rng.integers(0, 256, (40, 700), np.uint8)
    array = device.empty(sent.shape, "uint8")
    for row, values in enumerate(sent):
        array[row] = values
    assert len(gpu.pinned) <= 5
    np.testing.assert_array_equal(array, sent)


def test_uploads_wait_for_a_block_with_room_for_them(
    device: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was read but is too small is passed over, or given back where they are many."""
    monkeypatch.setattr(staging, "BLOCK_BYTES", 1024)
    monkeypatch.setattr(staging, "MOST_BYTES", 4096)
    bytes_at = staging.Block.bytes_at

    def checked(block: staging.Block, start: int, count: int) -> np.ndarray:
        assert start + count <= block.size
        return bytes_at(block, start, count)

    monkeypatch.setattr(staging.Block, "bytes_at", checked)
    for size in (700, 700, 2000, 700, 3500):
        array, sent = device.empty((size,), "uint8"), rng.integers(0, 256, size, np.uint8)
        array[:] = sent
        np.testing.assert_array_equal(array, sent)


def test_items_are_given_once_the_next_is_there() -> None:
    log: list[Any] = []

    def started(count: int) -> Any:
        for k in range(count):
            log.append(("start", k))
            yield k

    for k in resident.one_ahead(started(3)):
        log.append(("use", k))
    assert log == [("start", 0), ("start", 1), ("use", 0), ("start", 2), ("use", 1), ("use", 2)]
    assert [*resident.one_ahead(started(1))] == [0] and [*resident.one_ahead([])] == []


def test_stages_are_written_once_for_cpu_and_gpu(
    tmp_path: Path, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    """The same lines on both; what an engine gives goes into an array where it computes."""
    tensorrt_folder(tmp_path, "10.13.0")
    frames = rng.integers(0, 256, (4, 4, 4, 3), np.uint8)
    wanted = frames.sum(-1, dtype=np.float32)

    def both(engines: Any) -> Any:
        maps = resident.empty(engines, (4, 4, 4))
        for part in (slice(0, 3), slice(3, 4)):
            maps[part] = resident.call(engines, "depth", frames=frames[part]).arrays["disparity"]
        return maps

    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        np.testing.assert_array_equal(both(engines), wanted)
        answer = resident.call(engines, "depth", frames=frames[:1]).fetch()
        np.testing.assert_array_equal(answer.get()["disparity"], wanted[:1])
    plain = FakeEngines(depth=lambda frames: {"disparity": frames.sum(-1, dtype=np.float32)})
    maps = both(plain)
    assert isinstance(maps, np.ndarray)
    np.testing.assert_array_equal(maps, wanted)


def test_what_comes_down_is_finite(tmp_path: Path, gpu: fake_tensorrt.Gpu) -> None:
    tensorrt_folder(tmp_path, "10.13.0")
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        inputs = {
            "level2": np.zeros((1, 4, 2, 2), np.float32),
            "masks": np.full((1, 8, 8), 3e38, np.float32),
            "object_score": np.full(1, 3e38, np.float32),
        }
        answer = resident.call(engines, "sam2_memory", **inputs).fetch()
        with pytest.raises(EngineError, match="'sam2_memory' answers NaN or infinity"):
            answer.get()


def test_onnxruntime_reads_arrays_of_its_stream_where_they_lie(
    tmp_path: Path, gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = onnx_folder(tmp_path)
    monkeypatch.setattr(ort_engine, "session_provider", lambda provider, stream: provider)
    gpu.current.ordinal = 1
    device = cuda.Device()
    engine = ort_engine.OrtEngine(
        *("depth", tmp_path / "depth.onnx", held.engines["depth"]),
        *(ort_engine.PROVIDERS["cpu"], 1, device),
    )
    bound: list[Any] = []
    binding = SimpleNamespace(
        bind_input=lambda *place: bound.append(place),
        bind_output=lambda *_: None,
        get_outputs=lambda: [],
    )
    session = SimpleNamespace(io_binding=lambda: binding, run_with_iobinding=lambda _: None)
    monkeypatch.setattr(engine, "_session", session)
    frames = device.empty((1, 4, 4, 3), "uint8")
    engine.keep(frames=frames)
    assert engine.device_ms is not None and engine.device_ms(frames=frames) == 0
    assert bound == 2 * [("frames", "cpu", 1, np.uint8, frames.shape, frames.address)]


def test_an_engine_on_a_stream_that_is_dropped_gives_its_session_back(
    tmp_path: Path, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = onnx_folder(tmp_path).engines["depth"]
    monkeypatch.setattr(ort_engine, "session_provider", lambda provider, stream: provider)
    cpu = ort_engine.PROVIDERS["cpu"]
    engine = ort_engine.OrtEngine("depth", tmp_path / "depth.onnx", entry, cpu, 1, device)
    held = weakref.ref(engine)
    del engine
    assert held() is None


def test_large_downloads_are_the_page_locked_memory_itself(
    device: Any, gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LEAST_LENT", 256)
    array = device.empty((300,), "uint8")
    array[:] = np.arange(300, dtype=np.uint8)
    row = device.fetch({"row": array}).get()["row"][5:]
    array[:] = np.zeros(300, np.uint8)
    other = device.fetch({"row": array}).get()["row"]
    np.testing.assert_array_equal(row, np.arange(300, dtype=np.uint8)[5:])
    assert not other.any() and len(gpu.pinned) == 3  # one up, two down
    del row, other
    gc.collect()
    device.fetch({"row": array}).get()
    assert len(gpu.pinned) == 3


def test_a_large_download_outlives_its_device(
    gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LEAST_LENT", 256)
    device = cuda.Device()
    array = device.empty((300,), "uint8")
    array[:] = np.ones(300, np.uint8)
    found = device.fetch({"row": array}).get()["row"]
    device.close()
    assert found.all() and len(gpu.pinned) == 1
    del found, array
    gc.collect()
    assert not gpu.pinned and not gpu.used
