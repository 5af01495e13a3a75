"""Trains the nano SAM 2: prompted single images first, short clips through the memory after.

    python -m samotion_training.train_sam2 --data ../shared/data --out runs/sam2 --minutes 100

Without --data it trains on procedural pictures. With --prompts half of the single images are scenes with the prompts
that a run draws over them (samotion_training.make_prompts). A run stopped at any time goes on with the same command.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from samotion.commands import exit_code
from samotion.errors import UsageError
from samotion.presets import NANO
from samotion_export.sam2_net import build_module
from torch import Tensor

from samotion_training import make_prompts
from samotion_training import sam2_data as data
from samotion_training import sam2_model as sam2
from samotion_training.common import load_weights, save_weights
from samotion_training.sam2_losses import frame_loss
from samotion_training.sam2_prompts import Prompt, simulate

Array = np.ndarray[Any, Any]
CLIP_FRAMES = 4
SAVE_EVERY_S = 120
PROMPTS_SHARE = 0.5  # of single images, where there are prompts of runs


@dataclass(frozen=True)
class Stage:
    """A part of the training: until which share of the time, at which size, and how often with clips."""

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
FINE_STAGES = (Stage(0.35, 256, 8, 3, 0.2, 0.05), Stage(1.0, 384, 4, 4, 0.3, 0.0))  # from trained weights on


@dataclass
class Progress:
    """Where a run stands; saved with its weights."""

    step: int = 0
    seconds: float = 0.0
    images: int = 0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with instances/, regions/ and photos/")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and loss curve go here")
    parser.add_argument("--minutes", type=float, default=100.0, help="training time, all stages together")
    parser.add_argument("--prompts", type=Path, help="folder made by samotion_training.make_prompts")
    parser.add_argument("--init", type=Path, help="start from these weights (safetensors), and at 256 px")
    parser.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--weights", type=Path, help="write the averaged weights here at the end, float16 safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if code := exit_code(lambda: _run(args)):
        sys.exit(code)


def _run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    stages = FINE_STAGES if args.init else STAGES
    train(args.data, args.out, args.minutes * 60, args.seed, stages, args.init, args.lr, args.prompts)
    if args.weights:
        write_weights(args.out / "checkpoint.pt", args.weights)
    return 0


def train(
    folder: Path | None,
    out: Path,
    seconds: float,
    seed: int,
    stages: tuple[Stage, ...] = STAGES,
    init: Path | None = None,
    highest: float = 1e-3,
    prompts: Path | None = None,
) -> Progress:
    """Trains for `seconds`, from the checkpoint in `out` if there is one, and leaves checkpoint and curve there."""
    out.mkdir(parents=True, exist_ok=True)
    sources = data.load(folder)
    of_runs = sorted(prompts.glob("*.npz")) if prompts else []
    if prompts and not of_runs:
        raise UsageError(f"no prompts in {prompts}; make some with: python -m samotion_training.make_prompts {prompts}")
    torch.manual_seed(seed)
    model: Any = build_module(NANO.sam2)
    sam2.orthogonal_start(model)
    if init:
        load_weights(model, init)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    progress = _resume(out / "checkpoint.pt", model, average, optimizer)
    rng = np.random.default_rng((seed, progress.step))
    saved = started = time.monotonic() - progress.seconds
    means: dict[str, float] = {}
    while progress.seconds < seconds:
        share = progress.seconds / seconds
        stage = next(s for s in stages if share < s.until)
        for group in optimizer.param_groups:
            group["lr"] = rate(share, progress.step, highest)
        figures = step(model, optimizer, sources, stage, rng, of_runs)
        _follow(average, model, min(0.998, (1 + progress.step) / (10 + progress.step)))
        progress.step += 1
        progress.images += stage.images
        progress.seconds = time.monotonic() - started
        for name, value in figures.items():
            means[name] = 0.98 * means.get(name, value) + 0.02 * value
        if progress.step % 20 == 0:
            _log(out / "curve.jsonl", progress, stage, means)
        if time.monotonic() - saved > SAVE_EVERY_S or progress.seconds >= seconds:
            saved = time.monotonic()
            _save(out / "checkpoint.pt", model, average, optimizer, progress)
    return progress


def write_weights(checkpoint: Path, path: Path) -> None:
    """The averaged weights of a checkpoint as they are bundled."""
    model = build_module(NANO.sam2)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    save_weights(model, path)


def rate(share: float, step: int, highest: float = 1e-3, lowest: float = 3e-5) -> float:
    """Learning rate: 100 steps up, then a half cosine down over the whole time."""
    return min(1.0, (step + 1) / 100) * (lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * share)))


def step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    sources: data.Sources,
    stage: Stage,
    rng: np.random.Generator,
    of_runs: Sequence[Path] = (),
) -> dict[str, float]:
    """One update on a batch of images or of clips. Returns figures to watch."""
    sam2.resize(model, stage.size_px)
    if rng.random() < stage.clip_share:
        name, (loss, found) = "clip", _clip_batch(model, sources, stage, rng)
    elif of_runs and rng.random() < PROMPTS_SHARE:
        name, (loss, found) = "run", _run_batch(model, of_runs, stage, rng)
    else:
        name, (loss, found) = "still", _still_batch(model, sources, stage, rng)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {f"{name}_loss": float(loss.detach()), f"{name}_j": found}


def _still_batch(model: Any, sources: data.Sources, stage: Stage, rng: np.random.Generator) -> tuple[Tensor, float]:
    clips, owners, masks, prompts = _draw(sources, stage, 1, stage.images, rng)
    return _answered(model, np.stack([c.frames[0] for c in clips]), owners, masks[:, 0], prompts, stage)


def _run_batch(model: Any, of_runs: Sequence[Path], stage: Stage, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Single images with the prompts that runs draw over them."""
    frames, owners, masks, prompts = [], [], [], []
    while len(frames) < stage.images:
        example = make_prompts.load(of_runs[rng.integers(len(of_runs))])
        if len(example.frame):
            frame, wanted, drawn = make_prompts.draw(example, stage.size_px, stage.objects, rng)
            owners += [len(frames)] * len(drawn)
            frames.append(data.coloured(frame[None], rng)[0])
            masks += wanted
            prompts += drawn
    return _answered(model, np.stack(frames), torch.tensor(owners), np.stack(masks), prompts, stage)


def _answered(
    model: Any, frames: Array, owners: Tensor, masks: Array, prompts: list[Prompt], stage: Stage
) -> tuple[Tensor, float]:
    """Loss and J of O prompts on frames (B,S,S,3), each prompt's frame being owners (O,), and masks (O,S,S) wanted."""
    levels = sam2.encode(model, torch.from_numpy(frames)).take(owners)
    answer = sam2.decode(model, levels, sam2.without_memory(model, levels), stack(prompts))
    loss, found = frame_loss(answer.masks, answer.ious, answer.score, targets(masks, prompts), stage.balance)
    return loss, float(found)


def _clip_batch(model: Any, sources: data.Sources, stage: Stage, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Clips with a prompt on the first frame, or on the first and the last, the rest from memory."""
    count = max(1, stage.images // 4)
    clips, owners, masks, first = _draw(sources, stage, CLIP_FRAMES, count, rng)
    frames = torch.from_numpy(np.concatenate([c.frames for c in clips]))
    encoded = sam2.encode(model, frames)
    at = [encoded.take(owners * CLIP_FRAMES + t) for t in range(CLIP_FRAMES)]
    prompted = {0: first}
    if rng.random() < 0.5:
        prompted[CLIP_FRAMES - 1] = [
            simulate(m[-1], clips[o].aspect, rng, clips[o].frames[-1]) for m, o in zip(masks, owners.tolist())
        ]
    memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    losses, founds = [], []
    for t in sorted(range(CLIP_FRAMES), key=lambda t: (t not in prompted, t)):
        prompts = prompted.get(t)
        conditioned = sam2.without_memory(model, at[t]) if prompts else sam2.with_memory(model, at[t], t, memory)
        answer = sam2.decode(model, at[t], conditioned, stack(prompts) if prompts else None)
        target = targets(masks[:, t], prompts)
        loss, found = frame_loss(answer.masks, answer.ious, answer.score, target, stage.balance)
        losses.append(loss)
        if not prompts:
            founds.append(float(found))
        present = (target.amax(dim=(-2, -1)) > 0.5).float()
        kind = "cond_frame_outputs" if prompts else "non_cond_frame_outputs"
        token = int(rng.integers(4)) if rng.random() < 0.5 else 0
        memory[kind][t] = sam2.remember(model, at[t], answer, token, present, bool(prompts))
    return torch.stack(losses).mean(), float(np.mean(founds))


def _draw(
    sources: data.Sources, stage: Stage, frames: int, count: int, rng: np.random.Generator
) -> tuple[list[data.Clip], Tensor, Array, list[Prompt]]:
    """`count` clips with objects: the clips, each object's clip (O,), masks (O,F,S,S), prompts on the first frame."""
    clips: list[data.Clip] = []
    owners, masks, prompts = [], [], []
    while len(clips) < count:
        drawn = (
            data.still(sources, stage.size_px, rng) if frames == 1 else data.moving(sources, stage.size_px, frames, rng)
        )
        for mask in data.objects_of(drawn, stage.objects, rng):
            owners.append(len(clips))
            masks.append(mask)
            prompts.append(simulate(mask[0], drawn.aspect, rng, drawn.frames[0]))
        if owners and owners[-1] == len(clips):
            clips.append(drawn)
    return clips, torch.tensor(owners), np.stack(masks), prompts


def targets(masks: Array, prompts: list[Prompt] | None) -> Tensor:
    """Masks (O,S,S) bool as shares (O,1,S/4,S/4); empty where the prompt follows no object."""
    target = torch.nn.functional.avg_pool2d(torch.from_numpy(masks).float()[:, None], 4)
    if prompts is not None:
        target[torch.tensor([p.is_noise for p in prompts])] = 0
    return target


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


def _resume(path: Path, model: Any, average: Any, optimizer: torch.optim.Optimizer) -> Progress:
    if not path.exists():
        return Progress()
    kept = torch.load(path, weights_only=True)
    model.load_state_dict(kept["model"])
    average.load_state_dict(kept["average"])
    optimizer.load_state_dict(kept["optimizer"])
    return Progress(**kept["progress"])


def _save(path: Path, model: Any, average: Any, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    kept = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(kept | {"progress": asdict(progress)}, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def _log(path: Path, progress: Progress, stage: Stage, means: dict[str, float]) -> None:
    line = {**asdict(progress), "size_px": stage.size_px, **{k: round(v, 4) for k, v in means.items()}}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
