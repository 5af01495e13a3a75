"""What all training commands share: arguments, the loop, checkpoints that resume exactly, curves
and weights.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from safetensors.torch import save as dump
from samotion.commands.streams import note
from samotion.errors import EngineError, InputError, UsageError
from samotion.manifest import write_atomically
from torch import Tensor, nn

from samotion_training import commands

Losses = Mapping[str, Tensor]
# Losses of one step: given a generator of this step's own and the share of training that is over, 0
# to 1. The loop minimises the one called "loss"; the others are only written down.
StepLosses = Callable[[np.random.Generator, float], Losses]
CHECKPOINT = "checkpoint.pt"
WARMUP = 0.03  # share of training
LOG_EVERY = 20
CHECKPOINT_EVERY = 100  # a multiple of LOG_EVERY
LINE_OF_STEP = re.compile(rb'(?:\{"step": )?(\d+)\b')  # of a curve
TRUTH_SHARE = 0.5  # of the truth's losses, beside a teacher's
DRAWS = 1000  # before it is said that the data has no example of a kind
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Run:
    """One training. Ends after `steps` or `minutes`, whichever is first; the learning rate falls
    towards that end.
    """

    folder: Path  # CHECKPOINT and curve.csv
    steps: int
    minutes: float = math.inf
    lr: float = 1e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    seed: int = 0
    resume: bool = False


def arguments(description: str, steps: int, lr: float) -> argparse.ArgumentParser:
    """The options every training command takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="folder for the checkpoint and the loss curve")
    parser.add_argument(
        "--pool", type=Path, required=True, help="clips made by samotion_training.pool"
    )
    parser.add_argument(
        "--out", type=Path, help="write float16 weights here at the end (safetensors)"
    )
    parser.add_argument("--init", type=Path, help="start from these weights (safetensors)")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end after so many minutes at the latest"
    )
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run folder's checkpoint"
    )
    return parser


def run_of(args: argparse.Namespace) -> Run:
    """The run that a command line asks for; threads and seed are set.

    Raises UsageError for numbers that make no sense, and where a training that is there already
    would be lost; OutputError where the run's folder or the weights cannot be written.
    """
    commands.require_positive(args, "steps", "minutes", "lr", "threads")
    commands.require_not_negative(args, "seed")
    checkpoint = args.run / CHECKPOINT
    commands.require_output(checkpoint)
    if args.out:
        commands.require_output(args.out)
    if checkpoint.exists() and not args.resume:
        raise UsageError(
            f"{args.run}: got a folder with a {CHECKPOINT}, expected a new one; add --resume to go"
            " on with it, or name another folder"
        )
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    return Run(args.run, args.steps, args.minutes, args.lr, seed=args.seed, resume=args.resume)


def train(run: Run, module: nn.Module, losses: StepLosses) -> nn.Module:
    """Minimise `losses` over `module`'s parameters; each step has its own seed, so a resumed run
    sees the same data. Ctrl-C and SIGTERM end it after the step at hand, with a checkpoint; where a
    step fails, one of the last good step is left.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        module.parameters(), run.lr, (0.9, 0.98), weight_decay=run.weight_decay
    )
    first, spent = restore(run, module, optimizer) if run.resume else (0, 0.0)
    step, start = first, time.monotonic() - spent
    curve, sums = run.folder / "curve.csv", dict[str, list[float]]()
    forget(curve, first)

    def write(checkpoint: bool) -> None:
        log(curve, step, time.monotonic() - start, sums)
        if checkpoint:
            save(run, module, optimizer, step, time.monotonic() - start)

    module.train()
    with commands.signals_wait() as came:
        failed = True
        try:
            while not came and (share := _share(run, step, time.monotonic() - start)) < 1:
                values = losses(np.random.default_rng([run.seed, step]), share)
                _descend(optimizer, values["loss"], run.lr * learning_rate(share), run.clip)
                step += 1
                _add(sums, values)
                if step % LOG_EVERY == 0:
                    write(checkpoint=step % CHECKPOINT_EVERY == 0)
            failed = False
        finally:
            if step > first or not failed:
                write(checkpoint=True)
            if came or (failed and step > first):
                note(f"saved {run.folder / CHECKPOINT} at step {step}; go on with --resume")
    return module.eval()


def _add(sums: dict[str, list[float]], values: Losses) -> None:
    """Add a step's losses to those of the curve's next row."""
    for name, value in values.items():
        sums.setdefault(name, []).append(float(value.detach()))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float, clip: float) -> None:
    """One step down the gradient of a loss, with a learning rate; gradients of a larger norm than
    `clip` are cut to it.
    """
    (group,) = optimizer.param_groups
    group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()


def drawn(draw: Callable[[], Drawn | None], wanted: str) -> Drawn:
    """The first answer of `draw` that is not None. Raises InputError where none of DRAWS is: the
    data has no such example.
    """
    for _ in range(DRAWS):
        if (one := draw()) is not None:
            return one
    raise InputError(f"got {DRAWS} examples without {wanted}, expected some; train on other clips")


def held(loss: Tensor, answer: Tensor, taught: Tensor) -> Tensor:
    """The truth's loss beside the cross-entropy to a teacher's answer, both answers in logits."""
    likeness = F.binary_cross_entropy_with_logits(answer, torch.sigmoid(taught))
    return TRUTH_SHARE * loss + likeness


def _share(run: Run, step: int, seconds: float) -> float:
    return max(step / run.steps, seconds / 60 / run.minutes)


def learning_rate(share: float) -> float:
    """Factor at this share of training: a short rise, then half a cosine down to 1 %."""
    rise = min(1.0, (share + 1e-3) / WARMUP)
    return rise * (0.505 + 0.495 * math.cos(math.pi * min(share, 1)))


def save(
    run: Run, module: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Write a checkpoint; it appears whole."""
    partial = run.folder / "checkpoint.tmp"
    state = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, partial)
    partial.replace(run.folder / CHECKPOINT)


def restore(run: Run, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the run's checkpoint; steps and seconds done so far. None there yet: start from
    nothing. Raises EngineError where it is broken, or another net's.
    """
    path = run.folder / CHECKPOINT
    if not path.exists():
        return 0, 0.0
    with commands.reading(path, f"a checkpoint of {type(module).__name__}", EngineError):
        state = torch.load(path, weights_only=True, map_location="cpu")
        module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["seconds"])


def log(path: Path, step: int, seconds: float, sums: dict[str, list[float]]) -> None:
    """Append means since the last row to the curve and print them, where there are some; `sums` is
    empty then. One value a row: stages write different losses.
    """
    if not sums:
        return
    means = {name: round(sum(values) / len(values), 5) for name, values in sums.items()}
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(("step", "seconds", "name", "value"))
        writer.writerows((step, round(seconds), name, value) for name, value in means.items())
    print(step, round(seconds), means, flush=True)
    sums.clear()


def forget(path: Path, step: int) -> None:
    """Leave out of a curve, of CSV or JSON lines, what was written after a step: a training that
    was killed does these steps again.
    """
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    steps = [LINE_OF_STEP.match(line) for line in lines]
    kept = [
        x for x, at in zip(lines, steps) if x.endswith(b"\n") and (not at or int(at[1]) <= step)
    ]
    write_atomically(path, b"".join(kept))


def save_weights(module: nn.Module, path: Path) -> None:
    """The module's state dict as float16 safetensors; counts stay whole, the file appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        name: t.half() if t.is_floating_point() else t for name, t in module.state_dict().items()
    }
    write_atomically(path, dump({name: tensor.contiguous() for name, tensor in state.items()}))


def load_weights(module: nn.Module, path: Path) -> None:
    """Weights written by save_weights, back in float32. Raises EngineError where they are broken,
    or another net's.
    """
    with commands.reading(path, f"weights of {type(module).__name__} (safetensors)", EngineError):
        state = {name: tensor.float() for name, tensor in load_file(str(path)).items()}
        module.load_state_dict(state)
