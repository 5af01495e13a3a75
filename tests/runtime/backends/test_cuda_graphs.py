"""Steps recorded as CUDA graphs, on a TensorRT that punishes what the real one does; and times
by CUDA events.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import prompt_inputs, tensorrt_folder
from samotion.backends import cuda, staging, trt_backend
from samotion.backends.cuda_graphs import MOST_STEPS, WARM_RUNS
from samotion.backends.engines import EngineFolder
from samotion.contract import SIGNATURES

VERSIONS = ("10.13.0", "11.4.0")


def record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the small engines for such as every frame goes through."""
    for name in ("depth", "sam2_memory", "sam2_prompt"):
        monkeypatch.setitem(SIGNATURES, name, replace(SIGNATURES[name], per_frame=True))


@pytest.fixture(params=VERSIONS)
def gpu(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> fake_tensorrt.Gpu:
    record(monkeypatch)
    tensorrt_folder(tmp_path, request.param)
    return fake_tensorrt.install(monkeypatch, request.param)


@pytest.fixture
def engines(gpu: fake_tensorrt.Gpu, tmp_path: Path) -> Iterator[EngineFolder]:
    with samotion.open_engines(tmp_path, "tensorrt") as opened:
        yield opened


def picture(rng: np.random.Generator, side: int = 4) -> np.ndarray:
    return rng.integers(0, 256, (1, side, side, 3), np.uint8)


def run(engines: EngineFolder, rng: np.random.Generator, times: int, side: int = 4) -> None:
    """Every answer is right, and so is an earlier one that stayed on the device."""
    kept: list[tuple[Any, np.ndarray]] = []
    for _ in range(times):
        frames = picture(rng, side)
        engine: Any = engines["depth"]
        answer = engine.keep(frames=frames)["disparity"]
        kept.append((answer, frames.sum(-1, dtype=np.float32)))
    for got, wanted in kept:
        np.testing.assert_array_equal(got, wanted)


def test_what_recurs_is_launched(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    run(engines, rng, WARM_RUNS)
    assert gpu.recordings == 0
    run(engines, rng, 6)  # the first of them records
    assert (gpu.recordings, gpu.launches) == (1, 5)


def test_all_that_a_step_answers_is_one_copy(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    """Outputs lie in one block, each aligned as TensorRT asks for, and are what they always are."""
    inputs = prompt_inputs(rng)
    engine: Any = engines["sam2_prompt"]
    answers = [engine.keep(**inputs) for _ in range(WARM_RUNS + 3)]
    assert gpu.launches == 2
    for name, wanted in answers[0].items():
        np.testing.assert_array_equal(answers[-1][name], wanted)
    assert len({id(array.memory) for array in answers[-1].values()}) == 1
    assert all(array.address % staging.ALIGNMENT == 0 for array in answers[-1].values())


def test_device_inputs_are_copied_in(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    """Features of different frames lie at different addresses."""
    level2 = rng.normal(size=(1, 4, 2, 2)).astype(np.float32)
    for k in range(WARM_RUNS + 4):
        frames = picture(rng, 8)
        masks = engines["depth"].keep(frames=frames)["disparity"]
        got = engines["sam2_memory"](
            level2=level2, masks=masks, object_score=np.full(1, k, np.float32)
        )["memory"]
        np.testing.assert_array_equal(got, frames.sum(-1, dtype=np.float32) + k)
    assert gpu.launches > 4


def test_few_steps_are_held(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    """Shapes take turns; no more than the last used ones hold memory."""
    for side in (2, 3, 4, 5, 2):
        run(engines, rng, WARM_RUNS + 2, side)
        assert gpu.recordings <= MOST_STEPS


def test_the_last_used_steps_are_held_and_what_they_drove_out_warms_up_again(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    def launched(side: int) -> bool:
        before = gpu.launches
        run(engines, rng, 1, side)
        return gpu.launches > before

    for side in (2, 3):
        run(engines, rng, WARM_RUNS + 1, side)
    assert launched(2)
    run(engines, rng, WARM_RUNS + 1, 4)
    assert launched(2), "3 was used longer ago"
    run(engines, rng, WARM_RUNS, 3)
    assert launched(2) and launched(4), "or three shapes in turn would be recorded at every call"


def test_fixed_inputs_are_read_where_they_lie(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    engine: Any = engines["depth"]
    frames = engines.empty((1, 4, 4, 3), "uint8", is_fixed=True)
    for _ in range(WARM_RUNS + 3):
        frames[:] = wanted = picture(rng)
        answer = engine.keep(frames=frames)["disparity"]
        np.testing.assert_array_equal(answer, wanted.sum(-1, dtype=np.float32))
    engine._backend.device.wait()
    engine.keep(frames=frames)
    assert gpu.launches == 3 and len(gpu.queue) == 2, "the run, and the copy of its answer"


def test_all_is_given_back(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, rng: np.random.Generator
) -> None:
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        run(engines, rng, WARM_RUNS + 3)
        used = gpu.used
        run(engines, rng, 5)
        gc.collect()
        assert gpu.used <= used + 5 * staging.ALIGNMENT  # outputs that were kept at once, no more
    gc.collect()
    assert (gpu.used, gpu.recordings, gpu.streams, gpu.events) == (0, 0, 0, {})


def test_what_goes_on_after_a_fault_is_not_stopped_by_closing(
    engines: EngineFolder,
    gpu: fake_tensorrt.Gpu,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a series of clips does, of which those before the fault are done."""
    run(engines, rng, WARM_RUNS + 3)
    monkeypatch.setattr(gpu, "error", "cudaErrorIllegalAddress")
    with pytest.raises(ValueError, match="of its own"), engines:
        raise ValueError("of its own")


def test_engines_that_cannot_be_recorded_run_as_ever(
    engines: EngineFolder,
    gpu: fake_tensorrt.Gpu,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is not tried again with every frame."""
    import tensorrt

    tensorrt.can_record = False
    engine: Any = engines["depth"]
    make, made = engine._steps._make, []
    monkeypatch.setattr(engine._steps, "_make", lambda key: (made.append(key), make(key))[1])
    run(engines, rng, WARM_RUNS + 4)
    assert (gpu.recordings, gpu.launches) == (0, 0)
    assert len(made) == 1 and not engine._steps._steps


def test_a_signal_while_a_step_is_recorded(
    engines: EngineFolder,
    gpu: fake_tensorrt.Gpu,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    """The recording ends, so that what goes on may wait for the stream."""

    def interrupt(work: Any) -> None:
        raise KeyboardInterrupt

    run(engines, rng, WARM_RUNS)
    engine: Any = engines["depth"]
    device: cuda.Device = engine._backend.device
    record = device.record
    monkeypatch.setattr(device, "record", lambda work: record(lambda: interrupt(work)))
    with pytest.raises(KeyboardInterrupt):
        run(engines, rng, 1)
    assert gpu.recording is None
    device.wait()


def test_a_refused_recording_is_destroyed(gpu: fake_tensorrt.Gpu) -> None:
    device = cuda.Device()
    assert device.record(lambda: gpu.enqueue(lambda: None)) is None
    assert gpu.recordings == 0
    device.close()


def test_nothing_is_recorded_where_contexts_cannot_share_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    record(monkeypatch)
    tensorrt_folder(tmp_path, "8.6.0")
    gpu = fake_tensorrt.install(monkeypatch, "8.6.0")
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        run(engines, rng, WARM_RUNS + 4)
        engine: Any = engines["depth"]
        took_ms = engine.device_ms(frames=picture(rng))
        assert took_ms == pytest.approx(fake_tensorrt.RUN_MS)
        test_long_batches_go_in_parts(engines, rng)
    assert gpu.launches == 0


@pytest.mark.parametrize("has_spare", [True, False])
def test_no_memory_for_a_recording(
    engines: EngineFolder,
    gpu: fake_tensorrt.Gpu,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    has_spare: bool,
) -> None:
    """What is held for reuse makes room for another context, if there is any."""
    run(engines, rng, WARM_RUNS)
    gpu.limit = gpu.used
    if not has_spare:
        monkeypatch.setattr(trt_backend.Backend, "make_context", lambda *_: None)
    for _ in range(3):
        frames = picture(rng)
        np.testing.assert_array_equal(
            engines["depth"](frames=frames)["disparity"], frames.sum(-1, dtype=np.float32)
        )
    assert gpu.recordings == has_spare


def test_long_batches_go_in_parts(engines: EngineFolder, rng: np.random.Generator) -> None:
    for _ in range(WARM_RUNS + 3):
        frames = rng.integers(0, 256, (5, 16, 16, 3), np.uint8)
        np.testing.assert_array_equal(
            engines["depth"](frames=frames)["disparity"], frames.sum(-1, dtype=np.float32)
        )


def test_device_time_is_that_of_the_run_alone(
    engines: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    for _ in range(WARM_RUNS + 3):
        found = engines["depth"].device_ms(frames=picture(rng))  # type: ignore[attr-defined]
        assert found == pytest.approx(fake_tensorrt.RUN_MS)
    assert len(gpu.events) == 1  # of the page-locked memory
