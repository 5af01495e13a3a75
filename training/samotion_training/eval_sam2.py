"""Measures a nano SAM 2: what it adds to coarse masks on single frames, and how long its memory
holds.

    python -m samotion_training.eval_sam2 --data DATA --weights FILE

Prompts are simulated from the true masks with the same errors as in training, with seeds of their
own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from samotion.errors import UsageError
from samotion.presets import NANO
from samotion_bench.scenes.data import read_rgb
from samotion_bench.scores import region_similarity
from samotion_export.sam2.net import build_module

from samotion_training import commands
from samotion_training import sam2_data as data
from samotion_training import sam2_model as sam2
from samotion_training.common import load_weights
from samotion_training.evaluate import masks_of, pictures_of, sequences
from samotion_training.sam2_prompts import Prompt, drawn, noisy_tracks
from samotion_training.train_sam2 import load_average, stack

CELLS = 32  # px: sides are whole numbers of the coarsest cells


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(
        description="Measure a nano SAM 2: prints one line per measurement."
    )
    options.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with instances/, regions/, photos/ and davis/",
    )
    options.add_argument(
        "--weights", type=Path, required=True, help="sam2.safetensors, or a training checkpoint"
    )
    options.add_argument("--size", type=int, default=NANO.sam2.image_size_px)
    options.add_argument(
        "--frames", type=int, default=32, help="frames of each DAVIS sequence to propagate through"
    )
    options.add_argument(
        "--stride", type=int, default=10, help="every so many frames of DAVIS as single frames"
    )
    options.add_argument("--every", type=int, nargs="*", default=[4, 16])
    options.add_argument("--threads", type=int, default=1)
    return options


def _work(args: argparse.Namespace) -> None:
    commands.require_positive(args, "size", "frames", "stride", "threads")
    if min(args.every, default=2) < 2:
        raise UsageError(
            f"--every: got {min(args.every)}, expected 2 or more; the frames between are measured"
        )
    if args.frames < 2:
        raise UsageError(f"--frames: got {args.frames}, expected 2 or more")
    if args.size % CELLS:
        raise UsageError(f"--size: got {args.size}, expected a multiple of {CELLS}")
    of_davis = sequences(args.data / "davis")
    torch.set_num_threads(args.threads)
    model = load(args.weights, args.size)
    _stills(model, args.data)
    _davis_stills(model, of_davis, args.stride)
    for every in args.every:
        found = {s.name: propagated(model, *read_sequence(s, args.frames), every) for s in of_davis}
        _report(f"davis, prompts on every {every}th frame of {args.frames}, J", found)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


def load(path: Path, size_px: int) -> Any:
    """The net with bundled weights, or with the averaged weights of a training checkpoint."""
    model: Any = build_module(NANO.sam2)
    if path.suffix == ".safetensors":
        load_weights(model, path)
    else:
        load_average(model, path)
    sam2.resize(model, size_px)
    return model.eval()


@torch.no_grad()
def snapped(model: Any, frame: np.ndarray, prompts: list[Prompt]) -> np.ndarray:
    """Mask logits (O,S/4,S/4) of O prompted objects on one frame (S,S,3), without memory; -1024
    where none is.
    """
    levels = sam2.encode(model, torch.from_numpy(frame[None])).take(
        torch.zeros(len(prompts), dtype=torch.long)
    )
    answer = sam2.decode(model, levels, sam2.without_memory(model, levels), stack(prompts))
    return np.asarray(torch.where(answer.score[..., None] > 0, answer.masks[:, 0], -1024.0))


@torch.no_grad()
def propagated(
    model: Any, frames: np.ndarray, masks: np.ndarray, every: int
) -> tuple[float, float]:
    """Mean J over frames (T,H,W,3) with prompts on every `every`-th one, and over the unprompted
    ones alone.
    """
    size, rng = model.image_size, np.random.default_rng(7)
    squares = torch.from_numpy(
        np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames])
    )
    levels = [sam2.encode(model, s[None]) for s in squares]
    memory: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    scores = np.zeros(len(frames))
    prompted = {
        t: track_prompt(masks[t], size, rng) for t in range(0, len(frames), every) if masks[t].any()
    }
    for t in sorted(range(len(frames)), key=lambda t: (t not in prompted, t)):
        own = t in prompted
        conditioned = (
            sam2.without_memory(model, levels[t])
            if own
            else sam2.with_memory(model, levels[t], t, memory)
        )
        answer = sam2.decode(model, levels[t], conditioned, stack([prompted[t]]) if own else None)
        present = (answer.score > 0).float()
        kind = "cond_frame_outputs" if own else "non_cond_frame_outputs"
        memory[kind][t] = sam2.remember(model, levels[t], answer, 0, present, own)
        logits = (
            answer.masks[0, 0].numpy()
            if present.item()
            else np.full((size // 4,) * 2, -1024, np.float32)
        )
        scores[t] = jaccard(logits, masks[t])
    rest = [t for t in range(len(frames)) if t not in prompted]
    return float(scores.mean()), float(scores[rest].mean())


def track_prompt(mask: np.ndarray, size_px: int, rng: np.random.Generator) -> Prompt:
    """A prompt for a mask (H,W) as about 1000 noisy tracks would give it, with clicks."""
    square = cv2.resize(
        mask.astype(np.uint8), (size_px, size_px), interpolation=cv2.INTER_NEAREST
    ).astype(bool)
    for _ in range(20):
        xy, positive = noisy_tracks(square, rng)
        if positive.any():
            break
    return drawn(xy, positive, size_px, mask.shape[1] / mask.shape[0], rng)


def jaccard(logits: np.ndarray, mask: np.ndarray) -> float:
    """IoU of logits (h,w), enlarged to a true mask (H,W) and cut at 0, with it."""
    guess = cv2.resize(logits, mask.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0
    return region_similarity(mask, guess)


def read_sequence(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` frames (T,480,W,3) uint8 RGB and masks (T,480,W) bool of a DAVIS
    sequence.
    """
    paths = pictures_of(folder)[:count]
    return np.stack([read_rgb(p) for p in paths]), masks_of(folder, paths)


def _stills(model: Any, folder: Path) -> None:
    """Held-out instances, regions and composites."""
    sources = data.load(folder, held_out=True)
    size = model.image_size

    def picture(pictures: list[data.Picture], rng: np.random.Generator) -> data.Clip:
        return data.warped(pictures[rng.integers(len(pictures))], size, 1, rng)

    kinds: dict[str, Callable[[np.random.Generator], data.Clip]] = {
        "instances": lambda rng: picture(sources.instances, rng),
        "regions": lambda rng: picture(sources.regions, rng),
        "composites": lambda rng: data.composite(sources, size, 1, rng),
    }
    for name, draw in kinds.items():
        rng = np.random.default_rng(5)
        coarse: list[float] = []
        fine: list[float] = []
        for _ in range(40):
            clip = draw(rng)
            masks = [m[0] for m in data.objects_of(clip, 3, rng)]
            prompts = [_prompt_like(m, clip.aspect, size, rng) for m in masks]
            if masks:
                coarse += [jaccard(p.logits, m) for p, m in zip(prompts, masks)]
                fine += [
                    jaccard(x, m) for x, m in zip(snapped(model, clip.frames[0], prompts), masks)
                ]
        print(
            f"{name}: coarse {np.mean(coarse):.3f} -> {np.mean(fine):.3f} ({len(fine)} objects)",
            flush=True,
        )


def _prompt_like(mask: np.ndarray, aspect: float, size: int, rng: np.random.Generator) -> Prompt:
    xy, positive = noisy_tracks(mask, rng)
    return drawn(xy, positive, size, aspect, rng)


def _davis_stills(model: Any, sequences: Iterable[Path], stride: int) -> None:
    rng, found = np.random.default_rng(6), {}
    for folder in sequences:
        frames, masks = read_sequence(folder, 100)
        coarse, fine = [], []
        for frame, mask in zip(frames[::stride], masks[::stride]):
            prompt = track_prompt(mask, model.image_size, rng)
            square = cv2.resize(frame, (model.image_size,) * 2, interpolation=cv2.INTER_AREA)
            coarse.append(jaccard(prompt.logits, mask))
            fine.append(jaccard(snapped(model, square, [prompt])[0], mask))
        found[folder.name] = (float(np.mean(coarse)), float(np.mean(fine)))
    _report("davis, single frames, J of the coarse mask -> of the net", found)


def _report(title: str, found: dict[str, tuple[float, float]]) -> None:
    print(title)
    for name, (first, second) in found.items():
        print(f"  {name}: {first:.3f} {second:.3f}")
    first, second = np.mean(list(found.values()), axis=0)
    print(f"  mean: {first:.3f} {second:.3f}", flush=True)


if __name__ == "__main__":
    main()
