"""Does a real TensorRT compile every graph, for every profile, and to how much work?

    make trt-check
    make trt-check PRESET=fast

TensorRT for RTX has TensorRT 11's parser and compiler and needs no GPU to build engines. Each graph
of a preset (published weights are not downloaded: random ones of their shapes serve) is compiled
for all its profiles at once. One that fails, or that exceeds its budget in
benchmarks/trt_budgets.json, ends in exit code 4. Nothing is run: what engines answer, and how fast,
needs a GPU (gpu_check).
"""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer
from samotion import manifest
from samotion.commands.exits import run_command
from samotion.contract import NETS, SIGNATURES
from samotion.errors import EngineError, SamotionError
from samotion.presets import PRESETS, Preset
from samotion_export.trt.profiles import Profile, profiles

from samotion_bench.gpu_check import random_weights

BUDGETS = Path(__file__).resolve().parents[1] / "trt_budgets.json"
COMPILER = "tensorrt_rtx"
INSTALL = "pip install tensorrt-rtx==1.7.1.116"
SLACK = 1.1  # of what was measured: a budget for a graph that has none
Numbers = Mapping[str, Any]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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


@app.command()
def check(
    preset: Annotated[str, typer.Option(help="Preset to check.")] = "nano",
    precision: Annotated[str, typer.Option(help="Numbers in the graphs: fp16 or fp32.")] = "fp16",
    net: Annotated[list[str] | None, typer.Option(help="Check these only; repeatable.")] = None,
    refine_px: Annotated[int | None, typer.Option(help="As samotion-export has it.")] = None,
    work: Annotated[Path, typer.Option(help="Where graphs and random weights go.")] = Path(
        "engines-trt"
    ),
    record: Annotated[
        bool, typer.Option("--record", help="Write what was measured beside the budgets.")
    ] = False,
) -> None:
    """Compile a preset's graphs with TensorRT for RTX, and hold them to their budgets."""

    def run() -> None:
        if find_spec(COMPILER) is None:
            print(f"skipped: TensorRT for RTX is not installed; {INSTALL}")
            return
        folder = work / "-".join([preset, precision, *([str(refine_px)] if refine_px else [])])
        nets = tuple(net or NETS)
        export_graphs(PRESETS[preset], precision, nets, folder, refine_px)
        check_folder(folder, nets, BUDGETS, record)

    run_command(run)


def export_graphs(
    preset: Preset,
    precision: str,
    nets: tuple[str, ...],
    folder: Path,
    refine_px: int | None = None,
) -> None:
    """Write the graphs of `nets` to `folder`, unless they lie there already."""
    weights: list[str] = []
    if preset.name != "nano":
        weights = list(random_weights(preset, folder.with_name(f"{preset.name}-weights"), nets))
    options = [
        "--preset",
        preset.name,
        "--precision",
        precision,
        "--target",
        "onnx-gpu",
        "--out",
        str(folder),
    ]
    if refine_px:
        options += ["--refine-px", str(refine_px)]
    command = [*nets, *options, "--offline", "--no-verify", "-q", *weights]
    program = "from samotion_export.cli import main; main()"
    # in a process of its own, so that PyTorch's memory is free for the compiler
    made = subprocess.run(
        [sys.executable, "-c", program, *command], stdout=subprocess.DEVNULL, check=False
    )
    if made.returncode:
        raise SamotionError(f"samotion-export {' '.join(command)} ended with {made.returncode}")


def check_folder(folder: Path, nets: tuple[str, ...], budgets: Path, record: bool) -> None:
    """Compile the graphs of `nets` and print a line for each.

    Raises EngineError, after the last one, where graphs failed or exceed their budgets.
    """
    trt: Any = importlib.import_module(COMPILER)
    held = manifest.read(folder)
    preset = held.get_preset()
    table = json.loads(budgets.read_text())
    rows = table["graphs"].setdefault(folder.name, {})
    print(f"TensorRT for RTX {trt.__version__}, {folder.name}")
    problems: list[str] = []
    for name, entry in held.engines.items():
        if SIGNATURES[name].net not in nets:
            continue
        try:
            cost = compile_graph(trt, folder / entry.file, profiles(preset, name, entry.inputs))
        except EngineError as error:
            problems.append(f"{name}: {error}")
            print(f"{name:22} FAILED", flush=True)
            continue
        print(f"{name:22} {to_line(cost)}", flush=True)
        row = rows.setdefault(name, {}) if record else rows.get(name, {})
        if record:
            row.setdefault("budget", first_budget(cost))
            row["measured"] = asdict(cost)
        problems += [f"{name}: {problem}" for problem in over(cost, row.get("budget", {}))]
    if record:
        table["compiler"] = f"TensorRT for RTX {trt.__version__}"
        budgets.write_text(json.dumps(table, indent=1) + "\n")
    if problems:
        raise EngineError("; ".join(problems))


def compile_graph(trt: Any, graph: Path, shapes: list[Profile]) -> Cost:
    """Compile one graph for all `shapes`. Raises EngineError with the compiler's words."""
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(f"not parsed: {parser.get_error(0).desc()}")
    start = time.monotonic()
    if builder.build_serialized_network(network, _config(trt, builder, shapes)) is None:
        raise EngineError(f"not built: {log.problem()}")
    seconds = round(time.monotonic() - start, 1)
    kinds = [str(network.get_layer(i).type) for i in range(network.num_layers)]
    softmaxes = sum(kind.endswith("SOFTMAX") for kind in kinds)
    return read_log(log.text(), softmaxes, loops_of(graph), seconds)


def loops_of(graph: Path) -> int:
    """How many loops an ONNX graph has; TensorRT's own layers for one are many."""
    nodes = onnx.load(str(graph), load_external_data=False).graph.node
    return sum(node.op_type in ("Loop", "Scan") for node in nodes)


def _config(trt: Any, builder: Any, shapes: list[Profile]) -> Any:
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


def first_budget(cost: Cost) -> dict[str, int]:
    """What was measured, with some slack for kernels and memory."""
    slack = {"kernels": SLACK, "scratch_mb": SLACK}
    return {name: math.ceil(value * slack.get(name, 1)) for name, value in cost.bounded.items()}


def over(cost: Cost, budget: Numbers) -> list[str]:
    """What exceeds its budget, in words."""
    return [
        f"{name} {value}, at most {budget[name]}"
        for name, value in cost.bounded.items()
        if value > budget.get(name, value)
    ]


def to_line(cost: Cost) -> str:
    """A graph's figures for people."""
    return ", ".join(f"{name} {value}" for name, value in asdict(cost).items())


def main() -> None:
    """The command."""
    app()


if __name__ == "__main__":
    main()
