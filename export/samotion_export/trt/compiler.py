"""TensorRT for RTX compiles a graph, and tells to how much work. It needs no GPU.

`main` runs in a process of its own: a compiler that crashes, or is stopped, takes nothing along.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from samotion.backends.trt import DTYPES
from samotion.backends.trt_backend import RTX
from samotion.errors import EngineError

from samotion_export.trt.profiles import Profile

Tensors = dict[str, tuple[str, list[int]]]  # by name: type, and size along every axis, -1 if any


@dataclass(frozen=True)
class Cost:
    """What a graph was compiled to: counts of the profile with the most kernels.

    `fused`: attentions that are one kernel; `unfused`: softmaxes that are not, whose scores lie in
    memory. `scratch_mb`: memory for what lies between the kernels, one number per profile.
    """

    kernels: int
    fused: int
    unfused: int
    loops: int
    scratch_mb: tuple[int, ...]
    seconds: float

    @property
    def bounded(self) -> dict[str, int]:
        """What a budget bounds."""
        names = ("kernels", "unfused", "loops")
        return {
            **{name: getattr(self, name) for name in names},
            "scratch_mb": max(self.scratch_mb, default=0),
        }


@dataclass(frozen=True)
class Compiled:
    """An engine, what it takes and gives, and its cost."""

    plan: bytes
    inputs: Tensors
    outputs: Tensors
    cost: Cost


def compile_graph(trt: Any, graph: Path, shapes: Sequence[Profile]) -> Compiled:
    """Compile one graph for all `shapes`, for GPUs of every kind that this TensorRT knows.

    Raises EngineError with the compiler's words.
    """
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(f"not parsed: {parser.get_error(0).desc()}")
    start = time.monotonic()
    plan = builder.build_serialized_network(network, _config(trt, builder, shapes))
    if plan is None:
        raise EngineError(f"not built: {log.problem()}")
    seconds = round(time.monotonic() - start, 1)
    kinds = [str(network.get_layer(i).type) for i in range(network.num_layers)]
    softmaxes = sum(kind.endswith("SOFTMAX") for kind in kinds)
    cost = read_log(log.text(), softmaxes, loops_of(graph), seconds)
    inputs = _tensors(network.get_input, network.num_inputs)
    outputs = _tensors(network.get_output, network.num_outputs)
    return Compiled(bytes(plan), inputs, outputs, cost)


def loops_of(graph: Path) -> int:
    """How many loops an ONNX graph has; TensorRT's own layers for one are many."""
    nodes = onnx.load(str(graph), load_external_data=False).graph.node
    return sum(node.op_type in ("Loop", "Scan") for node in nodes)


def _tensors(get: Any, count: int) -> Tensors:
    """Names, types and sizes of a network's inputs or outputs."""
    tensors = [get(i) for i in range(count)]
    return {t.name: (DTYPES.get(t.dtype.name, t.dtype.name), list(t.shape)) for t in tensors}


def _config(trt: Any, builder: Any, shapes: Sequence[Profile]) -> Any:
    """A configuration with one profile for each of `shapes`, and a log of every kernel."""
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for profile in shapes:
        made = builder.create_optimization_profile()
        for name, (low, usual, high) in profile.items():
            made.set_shape(name, low, usual, high)
        config.add_optimization_profile(made)
    return config


def _log(trt: Any) -> Any:
    """A logger that keeps what the compiler says."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            self.said.append((str(severity), message))

        def text(self) -> str:
            return "\n".join(message for _, message in self.said)

        def problem(self) -> str:
            """The first error; that no GPU is there is none."""
            errors = [m for kind, m in self.said if kind.endswith("ERROR") and "cudaError" not in m]
            return (errors or ["the compiler gave no reason"])[0].splitlines()[0]

    return Log()


KERNEL = re.compile(r"^Name: (.+?)_myl(\d+)_\d+, LayerType: (\w+),", re.M)  # name, profile, kind
NO_KERNELS = ("shape_call", "signal", "wait", "cjmp")  # the host's part, and what orders kernels
SCRATCH = re.compile(r"Max Scratch Memory: (\d+)")


def read_log(text: str, softmaxes: int, loops: int, seconds: float) -> Cost:
    """The cost of a built graph, from the compiler's log and what the graph holds."""
    by_profile: dict[str, list[str]] = {}
    for name, profile, kind in KERNEL.findall(text):
        if kind not in NO_KERNELS:
            by_profile.setdefault(profile, []).append(name)
    kernels = max(by_profile.values(), key=len, default=[])
    fused = sum("mha" in name for name in kernels)
    scratch_mb = tuple(-(-int(size) // 10**6) for size in SCRATCH.findall(text))
    return Cost(len(kernels), fused, max(0, softmaxes - fused), loops, scratch_mb, seconds)


def main() -> None:
    """Do the job of the JSON file that is named: `graph`, `plan`, `facts` (files) and `shapes`."""
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        made = compile_graph(importlib.import_module(RTX), Path(job["graph"]), job["shapes"])
    except EngineError as error:
        sys.exit(f"[E] {error}")
    Path(job["plan"]).write_bytes(made.plan)
    facts = {"inputs": made.inputs, "outputs": made.outputs, "cost": asdict(made.cost)}
    Path(job["facts"]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
