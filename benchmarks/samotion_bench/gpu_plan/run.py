"""The plan, run: `python -m samotion_bench.gpu_plan.run`."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from samotion.commands.exits import run_command
from samotion.errors import SamotionError

from samotion_bench import pages
from samotion_bench.gpu_plan import arithmetic, chains
from samotion_bench.gpu_plan.steps import Missing, Step, Table, Work
from samotion_bench.machine import gpus

STEPS = (
    Step("arithmetic", "copies, products, attention, modules in PyTorch", arithmetic.run),
    Step("host", "the host's part, over a stand-in GPU", chains.host),
    Step("tensorrt", "TensorRT engines against the CPU, and their times", chains.tensorrt),
    Step("onnxruntime", "onnxruntime on CUDA: nodes, answers, masks", chains.onnxruntime_cuda),
    Step("end-to-end", "clips, file to labels", chains.end_to_end),
    Step("kernels", "the longest kernels", chains.kernels),
)
COMMAND = "python -m samotion_bench.gpu_plan.run"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    step: Annotated[
        list[int] | None, typer.Option(min=1, max=len(STEPS), help="Only these; repeatable.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Where engines and random weights go.")] = Path(
        "engines-gpu"
    ),
    out: Annotated[Path, typer.Option(help="Where tables go.")] = pages.RESULTS,
    frames: Annotated[int, typer.Option(min=4, help="Frames of the clips of steps 3 to 6.")] = 24,
) -> None:
    """Run the plan, most telling step first; a step that lacks something says what."""
    numbers = step or range(1, len(STEPS) + 1)
    run_command(lambda: run_steps([*numbers], Work(work, frames), out), False)


def run_steps(numbers: Sequence[int], work: Work, out: Path) -> None:
    """Run steps by number. Raises SamotionError at the end where one failed."""
    failed = []
    for number in numbers:
        one = STEPS[number - 1]
        print(f"step {number}, {one.name}: {one.what}", flush=True)
        try:
            run_step(number, one, work, out)
        except Missing as missing:
            print(f"  not here; it needs {missing}", flush=True)
        except Exception as error:  # of any kind: the steps after it may still tell something
            print(f"  failed: {type(error).__name__}: {error}", flush=True)
            failed.append(one.name)
    if failed:
        raise SamotionError(f"gpu-check: {', '.join(failed)} failed; what they said is above")


def run_step(number: int, step: Step, work: Work, out: Path) -> None:
    """Run one step; its page is written anew with every table, so that none is lost."""
    path, tables, start = out / f"gpu-plan-{number}-{step.name}.md", list[Table](), time.time()
    for table in step.run(work):
        tables.append(table)
        pages.write(path, page(number, step, tables, time.time() - start))
        print("\n".join([*table.lines(), ""]), flush=True)
    print(f"  {path}", flush=True)


def page(number: int, step: Step, tables: Sequence[Table], seconds: float) -> list[str]:
    """A step's page: what it is, the machine, its tables."""
    lines = [f"# gpu-check, step {number}: {step.what}", "", f"`{COMMAND} --step {number}`", ""]
    cards = ", ".join(gpu["name"] for gpu in gpus()) or "none"
    lines += [f"- GPUs: {cards}", f"- system: {platform.platform()}", f"- after {seconds:.0f} s"]
    for table in tables:
        lines += ["", *table.lines()]
    return lines


if __name__ == "__main__":
    app()
