"""Trains the nano SAM 2: prompted single images first, short clips through the memory after.

    python -m samotion_training.train_sam2 --data DATA --out runs/sam2 --minutes 100

Without --data it trains on procedural pictures. With --prompts half of the single images are scenes
with the prompts that a run draws over them (samotion_training.make_prompts). A run stopped at any
time goes on with the same command.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from samotion.commands.streams import note
from samotion.errors import DeviceError, EngineError, UsageError
from samotion.presets import NANO
from samotion_export.sam2.net import build_module
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from samotion_training import commands, make_prompts
from samotion_training import sam2_data as data
from samotion_training import sam2_model as sam2
from samotion_training.common import CHECKPOINT, forget, load_weights, save_weights
from samotion_training.sam2_losses import frame_loss
from samotion_training.sam2_prompts import Prompt, simulate

CLIP_FRAMES = 4
SAVE_EVERY_S = 120
CURVE = "curve.jsonl"
PROMPTS_SHARE = 0.5  # of single images, where there are prompts of runs


@dataclass(frozen=True)
class Stage:
    """A part of the training: until which share of the time, at which size, and how often with
    clips.
    """

    until: float
    size_px: int
    images: int
    objects: int
    clip_share: float
    balance: float


STAGES = (
    Stage(0.03, 128, 16, 2, 0.0, 1.0),
    Stage(0.15, 128, 16, 2, 0.0, 0.3),
    Stage(0.25, 128, 16, 2, 0.3, 0.1),
    Stage(0.58, 256, 8, 3, 0.2, 0.05),
    Stage(1.0, 384, 4, 4, 0.3, 0.0),
)
# from trained weights on
FINE_STAGES = (Stage(0.35, 256, 8, 3, 0.2, 0.05), Stage(1.0, 384, 4, 4, 0.3, 0.0))


class Batch(NamedTuple):
    """B clips of F frames, single images where F is 1, with O objects. Prompted frames are
    answered first.
    """

    kind: str  # clip, run or still
    stage: Stage
    frames: Tensor  # (B*F,S,S,3) uint8
    owners: Tensor  # (O,) each object's clip
    wanted: Tensor  # (O,F,S/4,S/4) share of each cell that the object covers
    prompts: dict[int, sam2.Prompts]  # by frame of the clips
    tokens: list[int]  # (F,) which of the four masks is remembered

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        prompts = {
            t: sam2.Prompts(*(part.to(device) for part in some)) for t, some in self.prompts.items()
        }
        return self._replace(
            frames=self.frames.to(device),
            owners=self.owners.to(device),
            wanted=self.wanted.to(device),
            prompts=prompts,
        )


@dataclass
class Progress:
    """Where a run stands; saved with its weights."""

    step: int = 0
    seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class Plan:
    """What is trained on, for how long, and where it goes."""

    folder: Path | None  # of instances/, regions/ and photos/; None: procedural pictures
    out: Path
    seconds: float
    seed: int = 0
    stages: tuple[Stage, ...] = STAGES
    init: Path | None = None  # weights to start from
    highest: float = 1e-3  # learning rate
    prompts: Path | None = None  # folder of prompts that runs drew
    device: str = "cpu"
    workers: int = 0  # processes that draw batches; 0: this one does


class Nets(NamedTuple):
    """What a training changes: the model, the mean of its weights, and the optimizer's state."""

    model: Any
    average: Any
    optimizer: torch.optim.Optimizer


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--data", type=Path, help="folder with instances/, regions/ and photos/")
    options.add_argument(
        "--out", type=Path, required=True, help="checkpoint and loss curve go here"
    )
    options.add_argument(
        "--minutes", type=float, default=100.0, help="training time, all stages together"
    )
    options.add_argument(
        "--prompts", type=Path, help="folder made by samotion_training.make_prompts"
    )
    options.add_argument(
        "--init", type=Path, help="start from these weights (safetensors), and at 256 px"
    )
    options.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate")
    options.add_argument(
        "--weights",
        type=Path,
        help="write the averaged weights here at the end, float16 safetensors",
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--device", default="cpu", help="of PyTorch: cpu, or cuda")
    options.add_argument(
        "--workers",
        type=int,
        default=0,
        help="processes that draw batches; 0: the training one does",
    )
    options.add_argument(
        "--batch", type=int, default=1, help="times as many images a step, for a GPU"
    )
    return options


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


def _work(args: argparse.Namespace) -> None:
    commands.require_positive(args, "minutes", "lr", "threads", "batch")
    commands.require_not_negative(args, "seed", "workers")
    _require_device(args.device)
    commands.require_output(args.out / CHECKPOINT)
    if args.weights:
        commands.require_output(args.weights)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    stages = tuple(
        replace(s, images=args.batch * s.images) for s in (FINE_STAGES if args.init else STAGES)
    )
    plan = Plan(
        folder=args.data,
        out=args.out,
        seconds=args.minutes * 60,
        seed=args.seed,
        stages=stages,
        init=args.init,
        highest=args.lr,
        prompts=args.prompts,
        device=args.device,
        workers=args.workers,
    )
    train(plan)
    if args.weights:
        write_weights(args.out / CHECKPOINT, args.weights)


def _require_device(name: str) -> None:
    """Raises DeviceError for one that PyTorch cannot use."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(
            f"--device {name}: got {str(error).splitlines()[0]!r}, expected a device that PyTorch"
            " can use; try --device cpu"
        ) from error


def train(plan: Plan) -> Progress:
    """Trains for the plan's time, from the checkpoint in its folder if there is one, and leaves
    checkpoint and curve there. Ctrl-C and SIGTERM end it after the step at hand.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    sources, of_runs = data.load(plan.folder), _runs(plan.prompts)
    nets = _start(plan)
    progress = _resume(plan, nets)
    saved = started = time.monotonic() - progress.seconds
    means: dict[str, float] = {}
    batches = Batches(sources, of_runs, plan.seed)
    asked = _asked(plan, progress.step, started)
    loader = DataLoader(
        batches, None, sampler=asked, num_workers=plan.workers, worker_init_fn=_ignore_signals
    )
    with commands.signals_wait() as came:
        for batch in loader:
            figures = _learn(nets, batch, plan, progress)
            progress.step += 1
            progress.images += batch.stage.images
            progress.seconds = time.monotonic() - started
            for name, value in figures.items():
                means[name] = 0.98 * means.get(name, value) + 0.02 * value
            if progress.step % 20 == 0:
                _log(plan.out / CURVE, progress, batch.stage, means)
            if time.monotonic() - saved > SAVE_EVERY_S:
                saved = time.monotonic()
                _save(plan, nets, progress)
            if came:
                break
        _save(plan, nets, progress)
        if came:
            saved_at = f"saved {plan.out / CHECKPOINT} at step {progress.step}"
            note(f"{saved_at}; the same command goes on from there")
    return progress


def _ignore_signals(_: int) -> None:
    """Those for all processes of a terminal or a job; the training one ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _runs(prompts: Path | None) -> list[Path]:
    """Files with the prompts of runs. Raises InputError for a folder without any."""
    fields = make_prompts.Example._fields
    return commands.files_of(prompts, fields, "make_prompts", ["frame"]) if prompts else []


def _start(plan: Plan) -> Nets:
    """The nets before the first step."""
    torch.manual_seed(plan.seed)
    model: Any = build_module(NANO.sam2)
    sam2.orthogonal_start(model)
    if plan.init:
        load_weights(model, plan.init)
    model.to(plan.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02, fused=True
    )
    return Nets(model, copy.deepcopy(model), optimizer)


def _asked(plan: Plan, first: int, started: float) -> Iterator[tuple[int, Stage]]:
    """Steps and their stages until the time is over; workers draw a few of them ahead."""
    for number in itertools.count(first):
        share = (time.monotonic() - started) / plan.seconds
        if share >= 1:
            return
        yield number, next(s for s in plan.stages if share < s.until)


def _learn(nets: Nets, batch: Batch, plan: Plan, progress: Progress) -> dict[str, float]:
    """One update of the model and of its average. Returns figures to watch."""
    for group in nets.optimizer.param_groups:
        share = min(progress.seconds / plan.seconds, 1)
        group["lr"] = rate(share, progress.step, plan.highest)
    figures = step(nets.model, nets.optimizer, batch.to(torch.device(plan.device)))
    _follow(nets.average, nets.model, min(0.998, (1 + progress.step) / (10 + progress.step)))
    return figures


def write_weights(checkpoint: Path, path: Path) -> None:
    """The averaged weights of a checkpoint as they are bundled."""
    model = build_module(NANO.sam2)
    load_average(model, checkpoint)
    save_weights(model, path)


def load_average(model: Any, checkpoint: Path) -> None:
    """The averaged weights of a checkpoint. Raises EngineError where it is broken, or another
    net's.
    """
    with commands.reading(checkpoint, "a checkpoint of train_sam2", EngineError):
        kept = torch.load(checkpoint, weights_only=True, map_location="cpu")
        model.load_state_dict(kept["average"])


def rate(share: float, step: int, highest: float = 1e-3, lowest: float = 3e-5) -> float:
    """Learning rate: 100 steps up, then a half cosine down over the whole time."""
    return min(1.0, (step + 1) / 100) * (
        lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * share))
    )


def step(model: Any, optimizer: torch.optim.Optimizer, batch: Batch) -> dict[str, float]:
    """One update on a batch. Returns figures to watch: loss, and J of unprompted frames where a
    clip has some.
    """
    sam2.resize(model, batch.stage.size_px)
    length = batch.wanted.shape[1]
    encoded = sam2.encode(model, batch.frames)
    memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    losses: list[Tensor] = []
    prompted: list[Tensor] = []
    rest: list[Tensor] = []
    for t in sorted(range(length), key=lambda t: (t not in batch.prompts, t)):
        prompts, level = batch.prompts.get(t), encoded.take(batch.owners * length + t)
        conditioned = (
            sam2.without_memory(model, level)
            if prompts
            else sam2.with_memory(model, level, t, memory)
        )
        answer = sam2.decode(model, level, conditioned, prompts)
        target = batch.wanted[:, t, None]
        loss, found = frame_loss(
            answer.masks, answer.ious, answer.score, target, batch.stage.balance
        )
        losses.append(loss)
        (prompted if prompts else rest).append(found)
        if length > 1:
            present = (target.amax(dim=(-2, -1)) > 0.5).float()
            kind = "cond_frame_outputs" if prompts else "non_cond_frame_outputs"
            memory[kind][t] = sam2.remember(
                model, level, answer, batch.tokens[t], present, prompts is not None
            )
    total = torch.stack(losses).mean()
    optimizer.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {
        f"{batch.kind}_loss": float(total.detach()),
        f"{batch.kind}_j": float(torch.stack(rest or prompted).mean()),
    }


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """Batches by (step, stage): the same whoever draws them, in this process or in workers."""

    sources: data.Sources
    of_runs: Sequence[Path]
    seed: int

    def __getitem__(self, asked: tuple[int, Stage]) -> Batch:
        step, stage = asked
        rng = np.random.default_rng((self.seed, step))
        if rng.random() < stage.clip_share:
            return _clips(self.sources, stage, rng)
        if self.of_runs and rng.random() < PROMPTS_SHARE:
            return _of_runs(self.of_runs, stage, rng)
        clips, owners, masks, prompts = _draw(self.sources, stage, 1, stage.images, rng)
        return _batch(
            "still", stage, np.concatenate([c.frames for c in clips]), owners, masks, {0: prompts}
        )


def _of_runs(of_runs: Sequence[Path], stage: Stage, rng: np.random.Generator) -> Batch:
    """Single images with the prompts that runs draw over them; each of the files has some."""
    frames: list[np.ndarray] = []
    owners: list[int] = []
    masks: list[np.ndarray] = []
    prompts: list[Prompt] = []
    while len(frames) < stage.images:
        example = make_prompts.load(of_runs[int(rng.integers(len(of_runs)))])
        frame, wanted, drawn = make_prompts.draw(example, stage.size_px, stage.objects, rng)
        owners += [len(frames)] * len(drawn)
        frames.append(data.coloured(frame[None], rng)[0])
        masks += wanted
        prompts += drawn
    return _batch("run", stage, np.stack(frames), owners, np.stack(masks)[:, None], {0: prompts})


def _clips(sources: data.Sources, stage: Stage, rng: np.random.Generator) -> Batch:
    """Clips with a prompt on the first frame, or on the first and the last, the rest from
    memory.
    """
    clips, owners, masks, first = _draw(
        sources, stage, CLIP_FRAMES, max(1, stage.images // CLIP_FRAMES), rng
    )
    prompts = {0: first}
    if rng.random() < 0.5:
        prompts[CLIP_FRAMES - 1] = [
            simulate(m[-1], clips[o].aspect, rng, clips[o].frames[-1])
            for m, o in zip(masks, owners)
        ]
    tokens = [int(rng.integers(4)) if rng.random() < 0.5 else 0 for _ in range(CLIP_FRAMES)]
    return _batch(
        "clip", stage, np.concatenate([c.frames for c in clips]), owners, masks, prompts, tokens
    )


def _draw(
    sources: data.Sources, stage: Stage, frames: int, count: int, rng: np.random.Generator
) -> tuple[list[data.Clip], list[int], np.ndarray, list[Prompt]]:
    """`count` clips with objects: the clips, each object's clip (O,), masks (O,F,S,S), prompts
    on the first frame.
    """
    clips: list[data.Clip] = []
    owners, masks, prompts = [], [], []
    while len(clips) < count:
        drawn = (
            data.still(sources, stage.size_px, rng)
            if frames == 1
            else data.moving(sources, stage.size_px, frames, rng)
        )
        for mask in data.objects_of(drawn, stage.objects, rng):
            owners.append(len(clips))
            masks.append(mask)
            prompts.append(simulate(mask[0], drawn.aspect, rng, drawn.frames[0]))
        if owners and owners[-1] == len(clips):
            clips.append(drawn)
    return clips, owners, np.stack(masks), prompts


def _batch(
    kind: str,
    stage: Stage,
    frames: np.ndarray,
    owners: Sequence[int],
    masks: np.ndarray,
    prompts: Mapping[int, list[Prompt]],
    tokens: Sequence[int] = (0,),
) -> Batch:
    """Masks (O,F,S,S) bool become shares, none where a frame's prompts, or all of a clip's,
    follow no object.
    """
    wanted = torch.nn.functional.avg_pool2d(torch.from_numpy(masks).float(), 4)
    noise = {t: torch.tensor([p.is_noise for p in some]) for t, some in prompts.items()}
    lost = torch.stack(list(noise.values())).all(dim=0)
    for t in range(wanted.shape[1]):
        wanted[noise.get(t, lost), t] = 0
    stacked = {t: stack(some) for t, some in prompts.items()}
    return Batch(
        kind, stage, torch.from_numpy(frames), torch.tensor(owners), wanted, stacked, list(tokens)
    )


def stack(prompts: list[Prompt]) -> sam2.Prompts:
    """Prompts of single objects as one batch."""
    return sam2.Prompts(
        torch.from_numpy(np.stack([p.logits for p in prompts]))[:, None],
        torch.tensor([p.has_mask for p in prompts]),
        torch.from_numpy(np.stack([p.points for p in prompts])),
        torch.from_numpy(np.stack([p.labels for p in prompts])),
    )


def _follow(average: Any, model: Any, keep: float) -> None:
    """Moves the running average of the weights a little towards the current ones."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


def _resume(plan: Plan, nets: Nets) -> Progress:
    """Where the plan's checkpoint stands, which `nets` then do as well; said on stderr. Raises
    UsageError where one was begun from weights and the other is not: its stages would be others.
    """
    progress, path = Progress(), plan.out / CHECKPOINT
    if path.exists():
        with commands.reading(path, "a checkpoint of train_sam2", EngineError):
            kept = torch.load(path, weights_only=True, map_location="cpu")
            for name, part in nets._asdict().items():
                part.load_state_dict(kept[name])
            progress = Progress(**kept["progress"])
        begun = kept.get("fine", bool(plan.init))  # older ones do not tell
        if begun != bool(plan.init):
            raise UsageError(
                f"--init: got {plan.init or 'none'}, expected"
                f" {'the weights' if begun else 'none'} that {path} was begun with; give the same,"
                " or another folder as --out"
            )
        _tell(plan, path, progress)
    forget(plan.out / CURVE, progress.step)
    return progress


def _tell(plan: Plan, checkpoint: Path, progress: Progress) -> None:
    """Say on stderr how a training goes on, or that it does not."""
    spent = f"{progress.seconds:.0f} s of {plan.seconds:.0f}"
    if progress.seconds < plan.seconds:
        note(f"{checkpoint}: going on from step {progress.step} at {spent}")
        return
    note(
        f"{checkpoint}: its time is used up, {spent} at step {progress.step}; nothing is trained."
        " Raise --minutes to go on, or name another folder as --out to begin anew"
    )


def _save(plan: Plan, nets: Nets, progress: Progress) -> None:
    path = plan.out / CHECKPOINT
    kept = {name: part.state_dict() for name, part in nets._asdict().items()}
    kept |= {"progress": asdict(progress), "fine": bool(plan.init)}
    torch.save(kept, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def _log(path: Path, progress: Progress, stage: Stage, means: dict[str, float]) -> None:
    line = {
        **asdict(progress),
        "size_px": stage.size_px,
        **{k: round(v, 4) for k, v in means.items()},
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
