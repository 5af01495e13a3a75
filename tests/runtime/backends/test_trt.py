"""Every backend answers alike; and TensorRT's own rules, on a stand-in where there is no GPU."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.backends import onnx_folder, open_backend, prompt_inputs, tensorrt_folder
from samotion.backends import cuda, staging, trt_backend
from samotion.backends import ort as ort_engine
from samotion.backends.device_array import DeviceArray
from samotion.backends.engines import EngineFolder
from samotion.backends.ort import OrtArray
from samotion.contract import SIGNATURES, Tensor
from samotion.errors import DeviceError, EngineError

FAKES = ("tensorrt-8.6.0", "tensorrt-10.13.0", "tensorrt-11.4.0", "tensorrt_rtx-1.7.1")
BACKENDS = ("cpu", *FAKES)


@pytest.fixture(params=BACKENDS)
def engines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineFolder]:
    with open_backend(request.param, tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.Gpu:
    """A fake GPU beside a folder of engines for it."""
    tensorrt_folder(tmp_path, "10.13.0")
    return fake_tensorrt.install(monkeypatch, "10.13.0")


@pytest.fixture
def on_gpu(gpu: fake_tensorrt.Gpu, tmp_path: Path) -> Iterator[EngineFolder]:
    """The engines of that folder on that GPU."""
    with samotion.open_engines(tmp_path, "tensorrt") as opened:
        yield opened


def frames(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (*shape, 3), np.uint8)


def expected(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    iou = inputs["labels"].sum(1).astype(np.float32)
    return {
        "masks": inputs["mask_prompt"] * inputs["has_mask"].astype(np.float32)[:, None, None],
        "iou": iou,
        "pointer": inputs["level2"].sum((2, 3)) + iou[:, None] / 2,
        "object_score": inputs["points"].mean((1, 2)),
    }


def close(got: dict[str, Any], want: dict[str, np.ndarray]) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert (np.asarray(got[name]).dtype, got[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


# One suite for all backends.


def test_answers(engines: EngineFolder, rng: np.random.Generator) -> None:
    inputs = prompt_inputs(rng)
    close(engines["sam2_prompt"](**inputs), expected(inputs))


def test_shapes_change_from_call_to_call(engines: EngineFolder, rng: np.random.Generator) -> None:
    for shape in ((1, 2, 8), (2, 8, 8), (1, 9, 16), (2, 4, 3)):
        picture = frames(rng, *shape)
        got = engines["depth"](frames=picture)["disparity"]
        np.testing.assert_array_equal(got, picture.sum(-1, dtype=np.float32))


def test_any_layout_and_kind_of_number(engines: EngineFolder, rng: np.random.Generator) -> None:
    inputs = prompt_inputs(rng)
    odd = {
        "points": inputs["points"].astype(np.float64),
        "labels": inputs["labels"].astype(np.int32),
        "has_mask": inputs["has_mask"].astype(bool),
        "mask_prompt": inputs["mask_prompt"].T.copy().T,
    }
    close(engines["sam2_prompt"](**{**inputs, **odd}), expected(inputs))


def test_outputs_belong_to_the_caller(engines: EngineFolder, rng: np.random.Generator) -> None:
    """A later call leaves earlier answers alone, and inputs may change as soon as a call
    returns.
    """
    first, second = frames(rng, 1, 4, 4), frames(rng, 1, 4, 4)
    wanted = first.sum(-1, dtype=np.float32)
    one = engines["depth"](frames=first)["disparity"]
    first[:] = 0
    engines["depth"](frames=second)
    np.testing.assert_array_equal(one, wanted)
    one[:] = 0  # and they are writable


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": None}, "engine 'sam2_prompt' needs input 'points'; got level0"),
        ({"colour": np.zeros(1)}, "has no input colour; it takes level0, level1"),
        ({"labels": np.full((2, 3), 0.5)}, "input 'labels' is float64, expected int64"),
    ],
)
def test_wrong_inputs(
    engines: EngineFolder, rng: np.random.Generator, change: dict[str, Any], said: str
) -> None:
    inputs = {k: v for k, v in {**prompt_inputs(rng), **change}.items() if v is not None}
    with pytest.raises(EngineError, match=said):
        engines["sam2_prompt"](**inputs)


@pytest.mark.parametrize("kind", BACKENDS)
def test_outputs_go_on_to_the_next_engine(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Kept outputs are inputs of other engines, beside numpy arrays, and outlive later calls."""
    with open_backend(kind, tmp_path, monkeypatch) as engines:
        rounds = [prompt_inputs(rng) for _ in range(3)]
        kept = [engines["sam2_prompt"].keep(**inputs) for inputs in rounds]
        for inputs, decoded in zip(rounds, kept):
            passed = {name: decoded[name] for name in ("masks", "object_score")}
            memory = engines["sam2_memory"](level2=inputs["level2"], **passed)["memory"]
            want = expected(inputs)
            np.testing.assert_allclose(
                memory, want["masks"] + want["object_score"][:, None, None], rtol=1e-5
            )
            close(decoded, want)
        memory[:] = 0  # the caller's own


# onnxruntime alone.


def test_onnxruntime_passes_values_on_without_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """The value that one engine gave is the very one that is bound to the next."""
    with open_backend("cpu", tmp_path, monkeypatch) as engines:
        inputs = prompt_inputs(rng)
        decoded = engines["sam2_prompt"].keep(**inputs)
        assert all(isinstance(value, OrtArray) for value in decoded.values())
        bound: dict[str, int] = {}
        session = engines["sam2_memory"]._session  # type: ignore[attr-defined]

        class Binding:
            def __init__(self) -> None:
                self.real = session.io_binding()

            def bind_ortvalue_input(self, name: str, value: Any) -> None:
                bound[name] = value.data_ptr()
                self.real.bind_ortvalue_input(name, value)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

        class Session:
            def io_binding(self) -> Binding:
                return Binding()

            def run_with_iobinding(self, binding: Binding) -> None:
                session.run_with_iobinding(binding.real)

        monkeypatch.setattr(engines["sam2_memory"], "_session", Session())
        passed = {name: decoded[name] for name in ("masks", "object_score")}
        engines["sam2_memory"](level2=inputs["level2"], **passed)
        assert bound == {name: decoded[name].value.data_ptr() for name in passed}


def test_onnxruntime_names_shapes_of_kept_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"engine 'sam2_memory' failed on masks float32\[2, 8, 8\]"
    with open_backend("cpu", tmp_path, monkeypatch) as engines:
        decoded = engines["sam2_prompt"].keep(**prompt_inputs(np.random.default_rng(0)))
        passed = {name: decoded[name] for name in ("masks", "object_score")}
        with pytest.raises(EngineError, match=said):
            engines["sam2_memory"](level2=np.zeros((1, 4, 2), np.float32), **passed)


@pytest.fixture
def on_stream(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ort_engine.OrtEngine]:
    """The engine `depth` of a CUDA session on its stream, played by a CPU one on a fake device."""
    entry, device = onnx_folder(tmp_path).engines["depth"], cuda.Device()
    monkeypatch.setattr(ort_engine, "session_provider", lambda provider, stream: provider)
    graph, provider = tmp_path / "depth.onnx", ort_engine.PROVIDERS["cpu"]
    yield ort_engine.OrtEngine("depth", graph, entry, provider, 1, device)
    device.close()


def test_onnxruntime_is_timed_between_cuda_events(
    on_stream: ort_engine.OrtEngine,
    gpu: fake_tensorrt.Gpu,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    session = on_stream._session

    def timed(binding: Any) -> None:
        session.run_with_iobinding(binding)
        gpu.enqueue(lambda: setattr(gpu, "clock_ms", gpu.clock_ms + 7.5))

    slow = types.SimpleNamespace(io_binding=session.io_binding, run_with_iobinding=timed)
    monkeypatch.setattr(on_stream, "_session", slow)
    assert on_stream.device_ms is not None
    assert on_stream.device_ms(frames=frames(rng, 1, 4, 4)) == pytest.approx(7.5)


def test_cuda_sessions_run_on_the_shared_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_provider, cuda_provider = (ort_engine.PROVIDERS[name] for name in ("cpu", "cuda"))
    monkeypatch.setitem(sys.modules, "cuda", None)
    assert ort_engine.stream_of(cuda_provider) is ort_engine.stream_of(cpu_provider) is None
    assert ort_engine.session_provider(cpu_provider, None) == cpu_provider
    assert ort_engine.session_provider(cuda_provider, None) == (cuda_provider, {"use_tf32": "0"})
    fake_tensorrt.install(monkeypatch)
    stream = ort_engine.stream_of(cuda_provider)
    assert ort_engine.session_provider(cuda_provider, stream) == (
        cuda_provider,
        {"use_tf32": "0", "device_id": "0", "user_compute_stream": "1"},
    )


def test_onnxruntime_runs_one_call_at_a_time_on_the_shared_stream(
    on_stream: ort_engine.OrtEngine, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """All runs of a session share its handles there, and no two threads may hold one."""
    session, running, most = on_stream._session, [], []

    def run(names: list[str], arrays: dict[str, Any]) -> Any:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return session.run(names, arrays)

    monkeypatch.setattr(on_stream, "_session", types.SimpleNamespace(run=run))
    pictures = [frames(rng, 1, 4, 4) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: on_stream(frames=one)["disparity"], pictures))
    assert max(most) == 1
    for picture, answer in zip(pictures, answers):
        np.testing.assert_array_equal(answer, picture.sum(-1, dtype=np.float32))


def test_arrays_of_another_stream_are_copied(
    on_gpu: EngineFolder, on_stream: ort_engine.OrtEngine, rng: np.random.Generator
) -> None:
    """What is queued there may not have been written yet."""
    picture, there = frames(rng, 1, 4, 4), on_gpu.empty((1, 4, 4, 3), "uint8")
    there[:] = picture
    other = cuda.Device().empty((1, 4, 4, 3), "uint8")
    other[:] = picture
    engine: Any = on_gpu["depth"]
    for accepted in (on_stream._accepted({"frames": there}), engine._accepted({"frames": other})):
        assert isinstance(accepted["frames"], np.ndarray)
        np.testing.assert_array_equal(accepted["frames"], picture)


def test_no_run_begins_on_a_stream_that_another_thread_closed(
    on_stream: ort_engine.OrtEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_stream._stream, "_closed", True)
    with pytest.raises(EngineError, match=r"'depth' failed on frames .*the engines are closed"):
        on_stream(frames=np.zeros((1, 4, 4, 3), np.uint8))


def test_a_session_that_runs_on_the_cpu_instead_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, provider = onnx_folder(tmp_path).engines["depth"], ort_engine.PROVIDERS["cuda"]
    monkeypatch.setattr(ort_engine, "load_libraries", lambda _: "")
    monkeypatch.setattr(ort_engine, "session_provider", lambda *_: ort_engine.PROVIDERS["cpu"])
    with pytest.raises(DeviceError, match="CUDAExecutionProvider did not start; run samotion-ch"):
        ort_engine.OrtEngine("depth", tmp_path / "depth.onnx", entry, provider, 1)


# TensorRT alone.


@pytest.mark.parametrize("kind", FAKES)
def test_chain_stays_on_the_device(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    inputs = prompt_inputs(rng)
    with open_backend(kind, tmp_path, monkeypatch) as engines:
        decoded = engines["sam2_prompt"].keep(**inputs)
        assert isinstance(decoded["masks"], DeviceArray)
        passed = {name: decoded[name] for name in ("masks", "object_score")}
        uploads = count_uploads(monkeypatch, decoded["masks"].device)
        engines["sam2_memory"](level2=inputs["level2"], **passed)
        assert uploads == [inputs["level2"].nbytes]  # the other two were there already


def count_uploads(monkeypatch: pytest.MonkeyPatch, device: Any) -> list[int]:
    sizes: list[int] = []
    upload = device.upload
    monkeypatch.setattr(
        device,
        "upload",
        lambda array, address: (sizes.append(array.nbytes), upload(array, address)),
    )
    return sizes


@pytest.mark.parametrize("kind", FAKES)
def test_arrays_on_the_device_are_taken_wherever_they_begin_and_in_any_type(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """TensorRT wants them aligned, and 8.6 takes no INT64."""
    inputs, pictures = prompt_inputs(rng), frames(rng, 2, 3, 3)
    with open_backend(kind, tmp_path, monkeypatch) as engines:
        labels = engines.empty(inputs["labels"].shape, "int64")
        labels[:] = inputs["labels"]
        close(engines["sam2_prompt"](**{**inputs, "labels": labels}), expected(inputs))
        there = engines.empty(pictures.shape, "uint8")
        there[:] = pictures
        got = engines["depth"](frames=there[1:])["disparity"]
        np.testing.assert_array_equal(got, pictures[1:].sum(-1, dtype=np.float32))


def test_long_batches_go_in_parts(on_gpu: EngineFolder, rng: np.random.Generator) -> None:
    """Seven objects through an engine for two: shared inputs go with each part."""
    inputs = prompt_inputs(rng, objects=7)
    close(on_gpu["sam2_prompt"](**inputs), expected(inputs))
    close(on_gpu["sam2_prompt"].keep(**inputs), expected(inputs))


def test_rows_are_cut_along_their_own_axis(on_gpu: EngineFolder, rng: np.random.Generator) -> None:
    """Seven points through an engine for three; what they remember has them on its second axis."""
    query_lowres, query_hires = rng.normal(size=(2, 7, 2)).astype(np.float32)
    past = rng.normal(size=(2, 7, 4, 5)).astype(np.float32)
    grids = {
        "lowres": np.zeros((1, 32, 32, 2), np.float32),
        "hires": np.zeros((1, 64, 64, 2), np.float32),
    }
    answer = on_gpu["tracks_online"](
        **grids, query_lowres=query_lowres, query_hires=query_hires, past=past
    )
    np.testing.assert_array_equal(answer["tracks"][:, 0], query_hires)
    np.testing.assert_allclose(answer["occlusion"][:, 0], query_lowres.sum(1), rtol=1e-6)
    np.testing.assert_array_equal(answer["present"], past + 1)


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name != "motion"])
def test_every_engine_but_the_motion_net_may_be_cut(name: str) -> None:
    """The motion net's tracks see each other; all others answer row by row, and all their
    outputs have these rows.
    """
    signature = SIGNATURES[name]
    assert all(signature.rows in tensor.dims for tensor in signature.outputs)
    assert any(signature.rows in tensor.dims for tensor in signature.inputs)


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (0, 4, 4, 3)])
def test_shapes_outside_all_profiles_are_named(
    on_gpu: EngineFolder, shape: tuple[int, ...]
) -> None:
    with pytest.raises(EngineError) as raised:
        on_gpu["depth"](frames=np.zeros(shape, np.uint8))
    built = (
        "engine 'depth' was built for frames [1, 2, 2, 3] to [2, 8, 8, 3]; or frames [1, 9, 9, 3]"
    )
    assert built in str(raised.value) and f"got frames {list(shape)}" in str(raised.value)


def test_inputs_larger_than_the_staging_memory(
    on_gpu: EngineFolder, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Copies are queued; staging memory is not overwritten before they are done."""
    monkeypatch.setattr(staging, "BLOCK_BYTES", 700)
    monkeypatch.setattr(staging, "MOST_BYTES", 1400)
    for points in (3, 6):
        inputs = prompt_inputs(rng, points=points)
        close(on_gpu["sam2_prompt"](**inputs), expected(inputs))


def test_memory_is_reused_and_given_back(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, rng: np.random.Generator
) -> None:
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        inputs = prompt_inputs(rng)
        engines["sam2_prompt"](**inputs)
        used = gpu.used
        for _ in range(5):
            engines["sam2_prompt"](**inputs)
        assert gpu.used == used
        kept = engines["sam2_prompt"].keep(**inputs)
    del kept
    gc.collect()
    assert (gpu.used, gpu.pinned, gpu.streams) == (0, {}, 0)


def test_little_stays_idle_once_other_sizes_are_asked_for(
    gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or clips of many lengths would fill the GPU, and other programs find no room."""
    monkeypatch.setattr(cuda, "MOST_IDLE", 10_000)
    device = cuda.Device()
    for kilobytes in range(1, 30):
        pair = [device.empty((kilobytes, 1024), "uint8") for _ in range(2)]
        del pair
        assert gpu.used <= 10_000 + 2 * 1024 * kilobytes
    device.empty((29, 1024), "uint8")
    assert gpu.used >= 29 * 1024, "what has the size that is asked for is taken"
    device.close()


def test_what_closed_engines_kept_is_told(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, rng: np.random.Generator
) -> None:
    engines = samotion.open_engines(tmp_path, "tensorrt")
    engine = engines["sam2_prompt"]
    kept = engine.keep(**prompt_inputs(rng))
    assert gpu.queue
    engine.close()
    assert not gpu.queue, "its contexts must not go while they run"
    engines.close()
    with pytest.raises(DeviceError, match="the engines are closed, and what they kept"):
        np.asarray(kept["masks"])
    with pytest.raises(DeviceError, match="the engines are closed, and what they kept"):
        kept["masks"][0] = np.zeros((8, 8), np.float32)
    with pytest.raises(DeviceError, match="open them again"):
        engines.empty((2,), "uint8")


def test_a_fault_of_the_gpu_is_told_and_known(
    on_gpu: EngineFolder,
    gpu: fake_tensorrt.Gpu,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    """TensorRT only says that it did not run."""
    inputs = prompt_inputs(rng)
    on_gpu["sam2_prompt"](**inputs)
    assert not on_gpu.is_lost
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "error", "cudaErrorIllegalAddress")
        assert on_gpu.is_lost
        with pytest.raises(DeviceError, match="cudaErrorIllegalAddress"):
            on_gpu["sam2_prompt"](**inputs)


def test_engines_run_on_their_own_gpu_in_every_thread(
    gpu: fake_tensorrt.Gpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    """CUDA has a current GPU for each thread, the first one in new ones; the caller's stays."""
    gpu.current.ordinal = 1
    with samotion.open_engines(tmp_path, "tensorrt") as engines:
        inputs = prompt_inputs(rng)
        used = []
        enqueue = gpu.enqueue
        monkeypatch.setattr(
            gpu, "enqueue", lambda work: (used.append(gpu.current.ordinal), enqueue(work))
        )

        def elsewhere() -> int:
            engines["sam2_prompt"](**inputs)
            return int(gpu.current.ordinal)

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(elsewhere).result() == 0
        assert set(used) == {1}
        gpu.current.ordinal = 0
        engines["sam2_prompt"](**inputs)
        assert set(used) == {1} and gpu.current.ordinal == 0


def test_contexts_take_what_is_held_for_reuse(
    on_gpu: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    """TensorRT allocates for itself, so memory that nothing uses must go first."""
    on_gpu["depth"](frames=frames(rng, 1, 8, 8))
    gpu.limit = gpu.used + 4096
    on_gpu["depth"].keep(frames=frames(rng, 1, 8, 8))
    engine: Any = on_gpu["depth"]
    spare = engine._backend.device.take(gpu.limit - gpu.used)
    del spare
    gc.collect()
    assert gpu.used >= gpu.limit
    picture = frames(rng, 1, 9, 9)  # another profile: another context
    got = on_gpu["depth"](frames=picture)["disparity"]
    np.testing.assert_array_equal(got, picture.sum(-1, dtype=np.float32))


def test_spare_memory_is_freed_before_giving_up(
    on_gpu: EngineFolder, gpu: fake_tensorrt.Gpu, rng: np.random.Generator
) -> None:
    on_gpu["depth"](frames=frames(rng, 1, 8, 8))
    gpu.limit = gpu.used + 512  # the spare pieces are of another size
    on_gpu["depth"](frames=frames(rng, 2, 8, 8))
    gpu.limit = 100
    with pytest.raises(DeviceError, match="out of GPU memory: 0 MiB wanted, 0 of 0 MiB free"):
        on_gpu["depth"](frames=frames(rng, 1, 8, 8))
    said = "no GPU memory for its scratch space; .*, or build for half as much: .* --precision fp16"
    with pytest.raises(DeviceError, match=f"engine 'depth': {said}"):
        gpu.limit = 0
        on_gpu["depth"](frames=frames(rng, 1, 9, 9))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"tensorrt": "8.6.1"},
            "was built by TensorRT 8.6.1, this is TensorRT 10.13.0; build again: samotion-export depth",
        ),
        (
            {"gpu": "Other GPU"},
            "was built for Other GPU, this is Fake GPU; build again: samotion-export depth",
        ),
        (
            {"tensorrt": None},
            "is an ONNX graph, not built for TensorRT; build it: samotion-export depth",
        ),
    ],
)
def test_engines_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    fake_tensorrt.install(monkeypatch, "10.13.0")
    tensorrt_folder(tmp_path, "10.13.0", **changes)
    with (
        samotion.open_engines(tmp_path, "tensorrt") as engines,
        pytest.raises(EngineError, match=said) as raised,
    ):
        engines["depth"]
    assert "--target tensorrt --out" in str(raised.value)


def test_a_file_that_tensorrt_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest says one version, the file is of another."""
    fake_tensorrt.install(monkeypatch, "10.13.0")
    tensorrt_folder(tmp_path, "10.12.0", tensorrt="10.13.0")
    said = r"TensorRT 10\.13\.0 refuses depth\.engine; build again"
    with (
        samotion.open_engines(tmp_path, "tensorrt") as engines,
        pytest.raises(EngineError, match=said),
    ):
        engines["depth"]


@pytest.mark.parametrize(
    ("dtype", "lacking", "said"),
    [
        ("float32", "", "'frames' is uint8, expected float32; build again: samotion-export depth"),
        ("uint8", ", size", "has disparity, frames; expected disparity, frames, size; build again"),
    ],
)
def test_a_file_with_other_names_or_types(
    on_gpu: EngineFolder, monkeypatch: pytest.MonkeyPatch, dtype: str, lacking: str, said: str
) -> None:
    depth = SIGNATURES["depth"]
    (frames,) = depth.inputs
    inputs = (replace(frames, dtype=dtype), *(Tensor("size", "uint8", ()) for _ in lacking[:1]))
    monkeypatch.setitem(SIGNATURES, "depth", replace(depth, inputs=inputs))
    with pytest.raises(EngineError, match=said):
        on_gpu["depth"]


def test_usual_shapes_are_those_of_each_profile(on_gpu: EngineFolder) -> None:
    engine: Any = on_gpu["depth"]
    assert engine.usual_shapes() == [
        {"frames": ((1, 2, 2, 3), (1, 4, 4, 3))},
        {"frames": ((1, 9, 9, 3), (1, 9, 9, 3))},
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"count": 0}, "no NVIDIA GPU is visible; use --device cpu"),
        ({"has_driver": False}, r"no NVIDIA driver is found \(.*libcuda.so.1\); use --device cpu"),
        ({"driver": 0}, "no NVIDIA driver is found; use --device cpu"),
        ({"error": "cudaErrorNoDevice"}, "no NVIDIA GPU is visible"),
        # of CUDA's own, as the first that uses a full GPU is told
        ({"error": "cudaErrorMemoryAllocation"}, r"out of GPU memory \(.*; close other programs"),
        (
            {"error": "cudaErrorInsufficientDriver"},
            "the NVIDIA driver does not fit the installed CUDA",
        ),
    ],
)
def test_no_usable_gpu(
    gpu: fake_tensorrt.Gpu, tmp_path: Path, fault: dict[str, Any], said: str
) -> None:
    for name, value in fault.items():
        setattr(gpu, name, value)
    with pytest.raises(DeviceError, match=said):
        samotion.open_engines(tmp_path, "tensorrt")


def test_a_gpu_is_made_the_threads_own_where_it_answers(
    gpu: fake_tensorrt.Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda.make_current(1)
    assert gpu.current.ordinal == cuda.Device().ordinal == 1
    gpu.error = "cudaErrorNoDevice"
    with pytest.raises(DeviceError, match=r"GPU 2 does not answer \(cudaErrorNoDevice\)"):
        cuda.make_current(2)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    cuda.make_current(2)


def test_only_onnxruntimes_stream_waits_for_the_legacy_one(
    gpu: fake_tensorrt.Gpu, tmp_path: Path
) -> None:
    """What other threads do there would break TensorRT's recordings."""
    cuda.Device().close()
    assert gpu.waits_for_legacy
    with samotion.open_engines(tmp_path, "tensorrt"):
        assert not gpu.waits_for_legacy


@pytest.mark.parametrize("missing", ["tensorrt", "cuda"])
def test_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    tensorrt_folder(tmp_path, "10.13.0")
    fake_tensorrt.install(monkeypatch, "10.13.0")
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeviceError, match=r"not installed .*; pip install 'samotion\[trt\]'"):
        samotion.open_engines(tmp_path, "tensorrt")


def test_a_package_whose_libraries_do_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", fail)
    assert not trt_backend.is_installed(trt_backend.RTX)
    with pytest.raises(DeviceError, match=r"not installed \(libcudart.*; pip install"):
        trt_backend.load()


def test_auto_follows_the_folder(gpu: fake_tensorrt.Gpu, tmp_path: Path) -> None:
    with samotion.open_engines(tmp_path) as engines:
        assert engines.device == "tensorrt"


def test_onnxruntime_names_the_device_for_a_tensorrt_engine(
    gpu: fake_tensorrt.Gpu, tmp_path: Path
) -> None:
    said = r"depth\.engine is built for TensorRT; use --device tensorrt"
    with samotion.open_engines(tmp_path, "cpu") as engines, pytest.raises(EngineError, match=said):
        engines["depth"]


def test_backend_imports_nothing_but_numpy() -> None:
    """It also runs in kits of TensorRT, an old Python, numpy and OpenCV."""
    code = (
        "import sys; allowed = {'numpy', 'cv2', 'samotion'}; before = set(sys.modules)\n"
        "import samotion.backends.trt, samotion.backends.engines, samotion.contract\n"
        "from importlib.metadata import packages_distributions as known\n"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} & set(known()) - allowed))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
