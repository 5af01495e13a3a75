"""Steps 2 to 6: the host alone, TensorRT, onnxruntime on CUDA, clips end to end, and the longest
kernels.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from samotion.backends import trt_backend
from samotion.backends.engines import EngineFolder, open_engines
from samotion.backends.ort import PROVIDERS, session_provider
from samotion.errors import SamotionError
from samotion.manifest import BUNDLED, MANIFEST
from samotion.pipeline import segment_clip
from samotion.presets import FAST, PRESETS
from samotion.settings import Settings
from samotion_export.parity.clip import iou

from samotion_bench import gpu_check
from samotion_bench.gpu_plan.steps import Missing, Table, Work
from samotion_bench.host.run import COLUMNS, HostLoad, measure
from samotion_bench.machine import device_memory_mib
from samotion_bench.pages import CLIP_HW, DEMO, OBJECTS
from samotion_bench.recorder import Recorder
from samotion_bench.workload import Workload, prepared, run_whole

HOST_FRAMES = 100
LONGEST = 3


def need_gpu() -> None:
    """Raises Missing where the driver shows no GPU."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing("an NVIDIA GPU and its driver (nvidia-smi)") from error
    if "GPU" not in found.stdout:
        raise Missing("an NVIDIA GPU that is visible")


def host(work: Work) -> Iterator[Table]:
    """Step 2: what the host does, on this machine's processor; needs no GPU."""
    report = measure(FAST, HostLoad(HOST_FRAMES, CLIP_HW, OBJECTS))
    rows = {**report["stages"], "total": report["totals"]}
    title = f"Host of preset fast: {HOST_FRAMES} frames, {OBJECTS} objects"
    cells = [(name, *(row[column] for column in COLUMNS)) for name, row in rows.items()]
    yield Table(title, ("stage", *COLUMNS), cells)


def tensorrt(work: Work) -> Iterator[Table]:
    """Step 3: TensorRT's engines against the CPU; pages of their own tell times beside PyTorch."""
    need_gpu()
    if not trt_backend.is_installed(trt_backend.TENSORRT):
        raise Missing("TensorRT: pip install 'samotion[trt]'")
    for name in ("nano", "fast"):
        page = gpu_check.check_preset(PRESETS[name], work.folder / name, work.frames)
        yield Table(f"TensorRT: preset {name}", ("page",), [(page.name,)])


def onnxruntime_cuda(work: Work) -> Iterator[Table]:
    """Step 4: nano on onnxruntime's CUDA provider: which nodes fall to the CPU, answers, masks."""
    need_gpu()
    try:
        engines = open_engines(BUNDLED, "cuda")
    except SamotionError as error:
        raise Missing(f"onnxruntime for CUDA: pip install 'samotion[gpu]' ({error})") from error
    with engines, open_engines(BUNDLED, "cpu") as cpu:
        settings = Settings(max_frames=work.frames)
        with prepared(work.frames, CLIP_HW, settings) as load:
            recorder = Recorder(cpu)
            run_whole(recorder, load)
        rows = [
            row
            for name, note in recorder.in_order().items()
            for row in gpu_check.differences(name, note, engines, cpu)
        ]
        yield Table(
            "onnxruntime CUDA against its CPU", ("output", "inputs", "of range", "by"), rows
        )
        yield Table("Masks of the demo clip", ("what", "IoU"), [("CUDA", _masks(engines, cpu))])
    yield Table("Nodes by provider", ("engine", "provider", "nodes"), [*_nodes()])


def _masks(engines: EngineFolder, cpu: EngineFolder) -> float:
    return iou(segment_clip(DEMO, engines).labels > 0, segment_clip(DEMO, cpu).labels > 0)


def _nodes() -> Iterator[tuple[str, str, int]]:
    """How many nodes of each of nano's graphs onnxruntime gave to which provider."""
    import onnxruntime

    for path in sorted(BUNDLED.glob("*.onnx")):
        with tempfile.TemporaryDirectory() as folder:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
            options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
            session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=[session_provider(PROVIDERS["cuda"], None), PROVIDERS["cpu"]],
            )
            inputs = {
                i.name: np.zeros([d if isinstance(d, int) else 28 for d in i.shape], _numpy(i.type))
                for i in session.get_inputs()
            }
            try:
                session.run(None, inputs)
            except Exception as error:  # letters that must agree in other ways
                yield path.stem, f"not run: {str(error).splitlines()[0][:80]}", 0
                continue
            events = json.loads(Path(session.end_profiling()).read_text())
        counts = Counter(e["args"]["provider"] for e in events if "provider" in e.get("args", {}))
        yield from ((path.stem, provider, count) for provider, count in counts.items())


def _numpy(kind: str) -> str:
    return {"tensor(float)": "float32"}.get(kind, kind.removeprefix("tensor(").rstrip(")"))


def end_to_end(work: Work) -> Iterator[Table]:
    """Step 5: clips from file to labels with the engines of step 3: stages, memory, nano's masks
    against float32 on the CPU.
    """
    need_gpu()
    built = _built(work)
    for name, folder in built.items():
        with _warm(work, folder) as (engines, load):
            start = time.perf_counter()
            result = segment_clip(load.path, engines, load.settings)
            whole = (time.perf_counter() - start) * 1000
            rows: list[tuple[object, ...]] = [*result.timings.items(), ("all", whole)]
            rows.append(("GPU memory, MiB", device_memory_mib() or "-"))
            yield Table(f"{name}: {work.frames} frames", ("stage", "ms"), rows)
            if name == "nano":
                with open_engines(BUNDLED, "cpu") as cpu:
                    score = _masks(engines, cpu)
                yield Table("nano, half on the GPU, float32 on the CPU", ("IoU",), [(score,)])


def kernels(work: Work) -> Iterator[Table]:
    """Step 6: the longest kernels of a clip, as CUDA's profiler sees them."""
    need_gpu()
    try:
        from torch.profiler import ProfilerActivity, profile
    except ImportError as error:
        raise Missing("PyTorch for CUDA, for its profiler: pip install torch") from error
    for name, folder in _built(work).items():
        with (
            _warm(work, folder) as (engines, load),
            profile(activities=[ProfilerActivity.CUDA]) as profiler,
        ):
            segment_clip(load.path, engines, load.settings)
        columns = ("kernel", "calls", "ms", "part")
        yield Table(f"{name}: longest kernels", columns, longest(profiler))


@contextmanager
def _warm(work: Work, folder: Path) -> Iterator[tuple[EngineFolder, Workload]]:
    """TensorRT's engines and a clip that they have been through once: that run records."""
    settings = Settings(max_frames=work.frames)
    with (
        open_engines(folder, "tensorrt") as engines,
        prepared(work.frames, CLIP_HW, settings) as load,
    ):
        engines.open_all()
        segment_clip(load.path, engines, settings)
        yield engines, load


def longest(profiler: Any) -> list[tuple[object, ...]]:
    """The kernels that took most of the GPU's time."""
    events = profiler.key_averages()
    total = sum(event.self_device_time_total for event in events) or 1
    events.sort(key=lambda event: -event.self_device_time_total)
    return [
        (e.key[:90], e.count, e.self_device_time_total / 1000, e.self_device_time_total / total)
        for e in events[:LONGEST]
    ]


def _built(work: Work) -> dict[str, Path]:
    """The engine folders that step 3 left. Raises Missing where there are none."""
    found = {n: work.folder / n for n in PRESETS if (work.folder / n / MANIFEST).is_file()}
    if not found:
        raise Missing(f"engines in {work.folder}: step 3 builds them")
    return found
