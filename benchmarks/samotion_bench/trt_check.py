"""Does a real TensorRT compile every graph, for every profile, and to how much work?

    make trt-check
    make trt-check PRESET=fast

TensorRT for RTX has TensorRT 11's parser and compiler and needs no GPU to build engines. Those of a
preset are built, as `samotion-export --target rtx` does (published weights are not downloaded:
random ones of their shapes serve), for all their profiles at once. A graph that fails, that has a
loop, or that exceeds its budget in benchmarks/trt_budgets.json, ends in exit code 4. Nothing is
run: what engines answer, and how fast, needs a GPU (gpu_check).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from samotion import manifest
from samotion.commands.exits import run_command
from samotion.contract import NETS, SIGNATURES
from samotion.errors import EngineError
from samotion.presets import PRESETS, Preset
from samotion_export.trt.build import COST
from samotion_export.trt.compiler import Cost

from samotion_bench.gpu_check import random_weights

BUDGETS = Path(__file__).resolve().parents[1] / "trt_budgets.json"
COMPILER = "tensorrt_rtx"
INSTALL = "pip install 'samotion[rtx]'"
SLACK = 1.1  # of what was measured: a budget for a graph that has none
Numbers = Mapping[str, Any]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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
        problems = build_engines(PRESETS[preset], precision, nets, folder, refine_px)
        check_folder(folder, nets, BUDGETS, record, problems)

    run_command(run)


def build_engines(
    preset: Preset, precision: str, nets: Sequence[str], folder: Path, refine_px: int | None = None
) -> list[str]:
    """Build the engines of `nets` in `folder` that do not lie there already. Returns what was said
    of the nets that failed.
    """
    weights: dict[str, str] = {}
    if preset.name != "nano":
        made = random_weights(preset, folder.with_name(f"{preset.name}-weights"), nets)
        weights = dict(zip(nets, made))
    options = ["--preset", preset.name, "--precision", precision, "--out", str(folder)]
    options += ["--target", "rtx", "--offline", "--no-verify", "-q"]
    if refine_px:
        options += ["--refine-px", str(refine_px)]
    problems = []
    for net in nets:
        command = [net, *options, *([weights[net]] if weights else [])]
        program = "from samotion_export.cli import main; main()"
        # in a process of its own, so that PyTorch's memory is free for the next one
        ended = subprocess.run(
            [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or [f"ended with {ended.returncode}"]
            problems.append(said[-1].removeprefix("error: "))
    return problems


def check_folder(
    folder: Path, nets: Sequence[str], budgets: Path, record: bool, problems: Sequence[str] = ()
) -> None:
    """Print a line for each engine of `nets`.

    Raises EngineError, after the last one, where they exceed their budgets or `problems` came up.
    """
    engines = manifest.read(folder).engines if (folder / manifest.MANIFEST).is_file() else {}
    table = json.loads(budgets.read_text())
    rows = table["graphs"].setdefault(folder.name, {})
    problems, compilers = list(problems), set()
    for name, entry in engines.items():
        if SIGNATURES[name].net not in nets or COST not in entry.meta:
            continue
        cost = Cost(**entry.meta[COST])
        compilers.add(f"TensorRT for RTX {entry.tensorrt}")
        print(f"{name:22} {to_line(cost)}", flush=True)
        row = rows.setdefault(name, {}) if record else rows.get(name, {})
        if record:
            row.setdefault("budget", first_budget(cost))
            row["measured"] = asdict(cost)
        problems += [f"{name}: {problem}" for problem in over(cost, row.get("budget", {}))]
    print(f"{', '.join(compilers) or 'nothing'} compiled {folder.name}")
    if record:
        table["compiler"] = ", ".join(compilers)
        budgets.write_text(json.dumps(table, indent=1) + "\n")
    if problems:
        raise EngineError("; ".join(problems))


def first_budget(cost: Cost) -> dict[str, int]:
    """What was measured, with some slack for kernels and memory, and no loops."""
    slack = {"kernels": SLACK, "scratch_mb": SLACK}
    values = {**cost.bounded, "loops": 0}
    return {name: math.ceil(value * slack.get(name, 1)) for name, value in values.items()}


def over(cost: Cost, budget: Numbers) -> list[str]:
    """What exceeds its budget, in words; a loop always does."""
    limits = {**budget, "loops": 0}
    return [
        f"{name} {value}, at most {limits[name]}"
        for name, value in cost.bounded.items()
        if value > limits.get(name, value)
    ]


def to_line(cost: Cost) -> str:
    """A graph's figures for people."""
    return ", ".join(f"{name} {value}" for name, value in asdict(cost).items())


if __name__ == "__main__":
    app()
