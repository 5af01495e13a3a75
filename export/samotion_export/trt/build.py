"""TensorRT engines from exported graphs, built by polygraphy in a child process that can be
stopped.

Precision lies in the graph: TensorRT 10 and 11 build it strongly typed, 8.6 gets the FP16 flag and
orders to obey the graph's types (`trt_types`), and float32 where it has no kernels for them. An
engine is kept until its graph, the TensorRT, the GPU, its shapes or options change.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import TensorProto
from samotion.backends.cuda import INSTALL
from samotion.backends.trt_backend import Backend
from samotion.contract import SIGNATURES
from samotion.errors import DeviceError, EngineError
from samotion.manifest import Entry, sha256_of
from samotion.presets import Preset

from samotion_export.report import Report
from samotion_export.trt import layer_types as trt_types
from samotion_export.trt import norms as trt_norms
from samotion_export.trt.profiles import Profile, profiles

TIMING_CACHE = "timing.cache"
WORKSPACE_MIB = 4096
BUILT_FROM = "built_from"  # the entry's meta key that holds the hash of all that decided the engine
# TensorRT 8.6 alone can take kernels from cuBLAS and cuDNN, which our engines do without.
TACTICS_8 = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
NO_KERNEL = "could not find any implementation"  # TensorRT's words
POLYGRAPHY = (
    "import sys; sys.argv[0] = 'polygraphy'; from polygraphy.tools import main; sys.exit(main())"
)


class NoKernelError(EngineError):
    """TensorRT has no implementation for a part of a graph."""


class Target(NamedTuple):
    """What engines are built for: a TensorRT version and a GPU."""

    tensorrt: str
    gpu: str

    @property
    def major(self) -> int:
        """TensorRT's major version."""
        return int(self.tensorrt.split(".")[0])


def find_target() -> Target:
    """The TensorRT and the GPU of this machine. Raises DeviceError where either is missing or
    does not work.
    """
    backend = Backend()
    try:
        if find_spec("polygraphy") is None:
            raise DeviceError(f"polygraphy is not installed; {INSTALL}")
        return Target(backend.version, backend.gpu)
    finally:
        backend.close()


def is_current(entry: Entry, name: str, preset: Preset, target: Target) -> bool:
    """Was this engine built from the same graph, by the same TensorRT, for the same GPU and
    shapes?
    """
    return entry.meta.get(BUILT_FROM) == _key(entry, name, preset, target)


def build(
    name: str,
    entry: Entry,
    graph: Path,
    preset: Preset,
    target: Target,
    folders: tuple[Path, Path],
    report: Report,
) -> Entry:
    """Build the engine of an exported `graph`; its entry for the manifest, the file still in the
    staging folder.

    `folders`: staging and out; the timing cache lies in the latter. Raises DeviceError for a GPU
    that fails or is too small, EngineError for a graph that TensorRT refuses.
    """
    staging, out = folders
    plan = staging / f"{name}.engine"
    if target.major == 8:
        graph = _without_plugins(graph, staging)
    types = staging / f"{name}.types.json"
    types.write_text(json.dumps(tensor_types(graph)))
    shapes = profiles(preset, name, entry.inputs)
    with report.working(f"{name}: building for TensorRT {target.tensorrt} on {target.gpu}"):
        command = build_command(graph, plan, shapes, target, out / TIMING_CACHE)
        try:
            _run(command, {trt_types.VARIABLE: str(types)}, name, report)
        except NoKernelError:
            if target.major != 8:
                raise
            report.note(
                f"{name}: TensorRT {target.tensorrt} finds no half-precision kernels for it;"
                f" float32 instead"
            )
            command = build_command(graph, plan, shapes, target, out / TIMING_CACHE, half=False)
            _run(command, {}, name, report)
    os.chmod(plan, 0o644)
    report.made(f"{name}: built for TensorRT, {plan.stat().st_size / 1e6:.1f} MB")
    meta = {**entry.meta, BUILT_FROM: _key(entry, name, preset, target)}
    return replace(
        entry,
        file=plan.name,
        sha256=sha256_of(plan),
        meta=meta,
        gpu=target.gpu,
        tensorrt=target.tensorrt,
    )


def _without_plugins(graph: Path, staging: Path) -> Path:
    """The graph without operators that TensorRT 8.6 has in plugins alone, as a file in
    `staging`.
    """
    path = staging / f"{graph.stem}.plain.onnx"
    onnx.save(trt_norms.spelled(onnx.load(str(graph))), str(path))
    return path


def build_command(
    graph: Path, plan: Path, shapes: list[Profile], target: Target, cache: Path, half: bool = True
) -> list[str]:
    """The polygraphy command line that builds `plan`."""
    command = [
        sys.executable,
        "-c",
        POLYGRAPHY,
        "convert",
        str(graph),
        "--convert-to",
        "trt",
        "-o",
        str(plan),
    ]
    command += ["--pool-limit", f"workspace:{WORKSPACE_MIB}M", "--save-timing-cache", str(cache)]
    if cache.exists():
        command += ["--load-timing-cache", str(cache)]
    for profile in shapes:
        for which, option in enumerate(("min", "opt", "max")):
            command += [f"--trt-{option}-shapes"]
            command += [
                f"{name}:[{','.join(map(str, three[which]))}]" for name, three in profile.items()
            ]
    return command + type_options(target, half)


def type_options(target: Target, half: bool = True) -> list[str]:
    """How a TensorRT is told to compute in the graph's types, which 11 does anyway; not `half`:
    8.6 in float32.
    """
    if target.major >= 11:
        return []
    if target.major == 10:
        return ["--strongly-typed"]
    script = f"{Path(trt_types.__file__).resolve()}:keep_types"
    typed = ["--fp16", "--precision-constraints", "obey", "--trt-npps", script] if half else []
    return [*typed, "--tactic-sources", *TACTICS_8]


def tensor_types(graph: Path) -> dict[str, list[str]]:
    """Names of a graph's float16 and float32 tensors."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(graph)), strict_mode=True).graph
    values = [(v.name, v.type.tensor_type.elem_type) for v in (*model.value_info, *model.output)]
    kinds = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}
    return {
        kind: [name for name, number in values if number == code] for kind, code in kinds.items()
    }


def _key(entry: Entry, name: str, preset: Preset, target: Target) -> str:
    shapes = profiles(preset, name, entry.inputs)
    facts = [entry.onnx_sha256, target, shapes, type_options(target), WORKSPACE_MIB]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _run(command: list[str], variables: Mapping[str, str], name: str, report: Report) -> None:
    """Run the builder, its words going to the report; it never outlives this call."""
    said: list[str] = []
    with _child(command, variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            report.detail(f"{name}: {line.rstrip()}")
    if process.returncode:
        raise _failure(name, said, process.returncode)


@contextmanager
def _child(command: list[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process
            process.wait()
        finally:
            process.kill()


def _failure(name: str, said: list[str], code: int) -> Exception:
    """What went wrong, from the builder's last words."""
    text = "\n".join(said).lower()
    marked = [line for kind in ("[E]", "[!]") for line in said if line.startswith(kind)]
    # polygraphy's own last word is that there is no engine
    problem = (marked or said[-1:] or [""])[0]
    net = SIGNATURES[name].net
    if "out of memory" in text or "outofmemory" in text or code == -9:
        return DeviceError(
            f"{name}: out of memory while building ({problem}); close other programs and run again"
        )
    if "cuda initialization failure" in text or "cudaerror" in text:
        return DeviceError(f"{name}: CUDA does not work here ({problem}); run samotion-check")
    kind = NoKernelError if NO_KERNEL in text else EngineError
    return kind(
        f"{name}: TensorRT cannot build it (exit code {code}: {problem}); see samotion-export"
        f" {net} -v"
    )
