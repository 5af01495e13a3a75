"""TensorRT engines from exported graphs, built in a child process that can be stopped: by
polygraphy for this machine's GPU, or by TensorRT for RTX for many GPUs, without one.

Precision lies in the graph: TensorRT 10 and 11 build it strongly typed, 8.6 gets the FP16 flag and
orders to obey the graph's types (`layer_types`), and float32 where it has no kernels for them. An
engine is kept until its graph, the TensorRT, the GPU, its shapes or options change.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx import TensorProto
from samotion.backends.cuda import INSTALL
from samotion.backends.trt_backend import (
    RTX,
    RTX_CAPABILITIES,
    TENSORRT,
    TITLES,
    Backend,
    load,
)
from samotion.contract import SIGNATURES, Tensor
from samotion.errors import DeviceError, EngineError
from samotion.manifest import Entry, sha256_of
from samotion.presets import Preset

from samotion_export.report import Report
from samotion_export.trt import bfloat, layer_types, norms
from samotion_export.trt.child import NoKernelError, run_builder
from samotion_export.trt.profiles import Profile, profiles

TIMING_CACHE = "timing.cache"
BUILT_FROM = "built_from"  # the entry's meta key that holds the hash of all that decided the engine
# TensorRT 8.6 alone can take kernels from cuBLAS and cuDNN, which our engines do without.
TACTICS_8 = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
BFLOAT_SINCE = 8  # major compute capability
TARGETS = ("tensorrt", "rtx")  # of the export's, those that have engines
COST = "compiled"  # the entry's meta key for what an engine of TensorRT for RTX was compiled to
COMPILER = "from samotion_export.trt.compiler import main; main()"
POLYGRAPHY = (
    "import sys; sys.argv[0] = 'polygraphy'; from polygraphy.tools import main; sys.exit(main())"
)


class Target(NamedTuple):
    """What engines are built for: a TensorRT version and a GPU, None for TensorRT for RTX, and
    whether that has bfloat16.
    """

    tensorrt: str
    gpu: str | None
    rtx: bool = False
    bfloat: bool = True

    @property
    def major(self) -> int:
        """TensorRT's major version."""
        return int(self.tensorrt.split(".")[0])

    def __str__(self) -> str:
        if self.rtx:
            return f"{TITLES[RTX]} {self.tensorrt} on compute capability {RTX_CAPABILITIES}"
        return f"{TITLES[TENSORRT]} {self.tensorrt} on {self.gpu}"


def find_target(name: str) -> Target:
    """What this machine builds for `name`, one of TARGETS. Raises DeviceError where the TensorRT is
    missing, and where TensorRT proper finds no GPU that works.
    """
    if name == "rtx":
        return Target(str(load(RTX).__version__), None, rtx=True)
    backend = Backend()
    try:
        if find_spec("polygraphy") is None:
            raise DeviceError(f"polygraphy is not installed; {INSTALL}")
        return Target(backend.version, backend.gpu, bfloat=backend.device.major >= BFLOAT_SINCE)
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
    shapes = profiles(preset, name, entry.inputs)
    meta = {**entry.meta, BUILT_FROM: _key(entry, name, preset, target)}
    with report.working(f"{name}: building for {target}"):
        graph = _with_range(graph, staging, target)
        if target.rtx:
            meta[COST] = _compile(name, entry, graph, plan, shapes, report)
        else:
            _convert(name, graph, plan, shapes, target, out / TIMING_CACHE, report)
    os.chmod(plan, 0o644)
    report.made(f"{name}: built for {target}, {plan.stat().st_size / 1e6:.1f} MB")
    return replace(
        entry,
        file=plan.name,
        sha256=sha256_of(plan),
        meta=meta,
        gpu=target.gpu,
        tensorrt=target.tensorrt,
        rtx=target.rtx,
    )


def _with_range(graph: Path, staging: Path, target: Target) -> Path:
    """The graph with the products that need the range of float32 in bfloat16, or in float32 for a
    GPU without, as a file in `staging`; where there are none, as it is.
    """
    model = onnx.load(str(graph))
    if not bfloat.has_any(model):
        return graph
    kind = TensorProto.BFLOAT16 if target.bfloat else TensorProto.FLOAT
    path = staging / f"{graph.stem}.range.onnx"
    onnx.save(bfloat.spelled(model, kind), str(path))
    return path


def _compile(
    name: str, entry: Entry, graph: Path, plan: Path, shapes: list[Profile], report: Report
) -> dict[str, Any]:
    """Build `plan` with TensorRT for RTX. Returns what it was compiled to.

    Raises EngineError where that takes or gives other tensors than the contract has: nothing opens
    the file before it meets a GPU.
    """
    job, facts = (plan.with_suffix(f".{kind}.json") for kind in ("job", "facts"))
    files = {"graph": str(graph), "plan": str(plan), "facts": str(facts)}
    job.write_text(json.dumps({**files, "shapes": shapes}))
    run_builder([sys.executable, "-c", COMPILER, str(job)], {}, name, report)
    found = json.loads(facts.read_text())
    signature = SIGNATURES[name]
    _require_contract(name, found["inputs"], signature.inputs, entry.inputs)
    _require_contract(name, found["outputs"], signature.outputs, entry.outputs)
    cost: dict[str, Any] = found["cost"]
    return cost


def _require_contract(
    name: str,
    found: Mapping[str, tuple[str, list[int]]],
    tensors: Sequence[Tensor],
    dims: Mapping[str, Sequence[int | str]],
) -> None:
    """Refuse inputs or outputs whose names, types or fixed sizes are not the contract's. Sizes of
    outputs that the compiler works out at run time are unknown: -1.
    """
    if set(found) != {t.name for t in tensors}:
        raise EngineError(
            f"{name}: the engine has {', '.join(found)}; expected"
            f" {', '.join(t.name for t in tensors)}"
        )
    for tensor in tensors:
        dtype, sizes = found[tensor.name]
        wanted = dims[tensor.name]
        right = len(sizes) == len(wanted) and all(
            have in (-1, want) or isinstance(want, str) for have, want in zip(sizes, wanted)
        )
        if dtype != tensor.dtype or not right:
            raise EngineError(
                f"{name}: the engine's {tensor.name!r} is {dtype}{sizes}; expected"
                f" {tensor.dtype}{list(wanted)}"
            )


def _convert(
    name: str,
    graph: Path,
    plan: Path,
    shapes: list[Profile],
    target: Target,
    cache: Path,
    report: Report,
) -> None:
    """Build `plan` with polygraphy on this machine's GPU. `cache`: timings that builds share."""
    staging = plan.parent
    if target.major == 8:
        graph = _without_plugins(graph, staging)
    types = staging / f"{name}.types.json"
    types.write_text(json.dumps(tensor_types(graph)))
    try:
        command = build_command(graph, plan, shapes, target, cache)
        run_builder(command, {layer_types.VARIABLE: str(types)}, name, report)
    except NoKernelError:
        if target.major != 8:
            raise
        report.note(
            f"{name}: TensorRT {target.tensorrt} finds no half-precision kernels for it;"
            f" float32 instead"
        )
        command = build_command(graph, plan, shapes, target, cache, half=False)
        run_builder(command, {}, name, report)
    finally:  # polygraphy leaves the lock of its cache behind
        cache.with_name(f"{cache.name}.lock").unlink(missing_ok=True)


def _without_plugins(graph: Path, staging: Path) -> Path:
    """The graph without operators that TensorRT 8.6 has in plugins alone, as a file in
    `staging`.
    """
    path = staging / f"{graph.stem}.plain.onnx"
    onnx.save(norms.spelled(onnx.load(str(graph))), str(path))
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
    # no limit to the workspace: SAM 2's track and the motion net need gigabytes at their largest
    command += ["--save-timing-cache", str(cache)]
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
    if target.rtx or target.major >= 11:
        return []
    if target.major == 10:
        return ["--strongly-typed"]
    script = f"{Path(layer_types.__file__).resolve()}:keep_types"
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
    facts = [entry.onnx_sha256, target, shapes, type_options(target)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
