"""Train the nano motion map, a part of the motion net's file, on residuals made by
samotion_training.make_residuals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from samotion.errors import UsageError
from samotion.presets import NANO
from samotion_export.motion.motion_map import MotionMap
from samotion_export.motion.net import build_module
from torch import Tensor

from samotion_training import commands, make_residuals
from samotion_training.common import (
    Losses,
    arguments,
    held,
    load_weights,
    run_of,
    save_weights,
    train,
)

Rng = np.random.Generator
FRAMES = 8
DIFFERENCES = slice(2, 7)  # channels: along the ground, and along the flow
FLOW = slice(7, 9)  # mirroring turns these over
COLOURS = slice(10, 13)
BOUNDARY_WEIGHT = 3.0  # of cells where an object ends, which are few
UNREST = 0.6  # share of frames with spots that differ from frame to frame, as water and leaves do
UNREST_CELLS = (3, 20)  # their size
UNREST_MOST = 2.0  # what they add to log differences, at most, and to the flow


def frame_of(rng: Rng, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A residual (GH,GW,C), and the truth (GH,GW,2): the share of each cell that moves, and where
    objects end; mirrored, turned and recoloured at random.
    """
    residuals, shares, labels = _clip(path)
    index = int(rng.integers(len(residuals)))
    x = residuals[index].astype(np.float32)
    y = np.dstack([shares[index].astype(np.float32) / 255, boundaries(labels[index])])
    for axis in (0, 1):
        if rng.random() < 0.5:
            x, y = np.flip(x, axis).copy(), np.flip(y, axis)
            x[..., FLOW.start + 1 - axis] *= -1
    if rng.random() < 0.5:
        x, y = x.transpose(1, 0, 2).copy(), y.transpose(1, 0, 2)
        x[..., FLOW] = x[..., FLOW][..., ::-1].copy()
    x[..., COLOURS] = x[..., COLOURS] * rng.uniform(0.7, 1.3) + rng.normal(0, 0.2, 3)
    x[..., DIFFERENCES] *= rng.uniform(0.7, 1.3)
    if rng.random() < UNREST:
        spots = rng.uniform(0, UNREST_MOST) * unrest(rng, y.shape[:2])
        x[..., DIFFERENCES] += spots.clip(0)[..., None]
        x[..., FLOW] += (
            np.stack([unrest(rng, y.shape[:2]) for _ in range(2)], -1) * spots.clip(0)[..., None]
        )
    return x, y


def boundaries(labels: np.ndarray) -> np.ndarray:
    """The cells (GH,GW) float32 that have one of another object, or of none, beside them."""
    beside = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(labels, beside) != cv2.erode(labels, beside), np.float32)


def unrest(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth noise (GH,GW) of unit deviation."""
    noise = cv2.GaussianBlur(
        rng.normal(size=shape).astype(np.float32), (0, 0), rng.uniform(*UNREST_CELLS)
    )
    return np.asarray(noise / (noise.std() + 1e-6))


def losses(
    net: MotionMap,
    rng: Rng,
    paths: list[Path],
    teacher: MotionMap | None = None,
    unknown: Sequence[Path] = (),
) -> Losses:
    """Cross-entropy and Dice over frames of some clips, of what moves and of where it ends; Dice
    where something moves.

    A `teacher` is a map whose answers count in what moves as well, but for clips that are
    `unknown` to it: half of the frames are of these, where there are any.
    """
    new = FRAMES // 2 if unknown else 0
    drawn = [unknown] * new + [paths] * (FRAMES - new)
    pairs = [frame_of(rng, some[int(rng.integers(len(some)))]) for some in drawn]
    size = np.min([y.shape[:2] for _, y in pairs], axis=0) // 8 * 8
    crops = []
    for x, y in pairs:
        top, left = (int(rng.integers(n - m + 1)) for n, m in zip(y.shape[:2], size))
        crops.append(
            (
                x[top : top + size[0], left : left + size[1]],
                y[top : top + size[0], left : left + size[1]],
            )
        )
    inputs, truth = (torch.from_numpy(np.ascontiguousarray(np.stack(part))) for part in zip(*crops))
    moving, ends = net(inputs)
    entropy = F.binary_cross_entropy_with_logits(moving, truth[..., 0])
    overlap = dice(moving, truth[..., 0])
    loss = entropy + overlap
    if teacher is not None:
        with torch.no_grad():
            taught, _ = teacher(inputs[new:])
        loss = held(truth_loss(moving[new:], truth[new:, ..., 0]), moving[new:], taught)
        if new:
            loss = (loss + truth_loss(moving[:new], truth[:new, ..., 0])) / 2
    weight = truth.new_tensor(BOUNDARY_WEIGHT)
    boundary = F.binary_cross_entropy_with_logits(ends, truth[..., 1], pos_weight=weight)
    boundary = boundary + dice(ends, truth[..., 1])
    loss = loss + boundary
    return {"loss": loss, "entropy": entropy, "dice": overlap, "boundary": boundary}


def truth_loss(answer: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy and Dice of what moves (B,GH,GW)."""
    return F.binary_cross_entropy_with_logits(answer, truth) + dice(answer, truth)


def dice(answer: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of each frame (B,GH,GW), averaged over those in which something moves."""
    p = torch.sigmoid(answer)
    each = 1 - (2 * (p * truth).sum((1, 2)) + 1) / ((p + truth).sum((1, 2)) + 1)
    some = truth.sum((1, 2)) > 0
    return (each * some).sum() / some.sum().clamp(min=1)


@lru_cache(maxsize=4000)
def _clip(path: Path) -> make_residuals.Example:
    return make_residuals.load(path)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = arguments("Train the nano motion map.", steps=4000, lr=3e-3)
    options.add_argument("--teacher", type=Path, help="weights to whose map the new one is held")
    options.add_argument(
        "--unknown", type=Path, help="more examples, half of each step's, for which it is not held"
    )
    return options


def _work(args: argparse.Namespace) -> None:
    if args.init is None:
        raise UsageError(
            "--init: got none, expected the motion net's weights, of which the map is a part; add"
            " --init runtime/samotion/nano/motion.safetensors"
        )
    run = run_of(args)
    paths, unknown = (
        commands.files_of(folder, make_residuals.Example._fields, "make_residuals")
        if folder
        else []
        for folder in (args.pool, args.unknown)
    )
    motion, teacher = build_module(NANO.motion), None
    load_weights(motion, args.init)
    if args.teacher:
        load_weights(taught := build_module(NANO.motion), args.teacher)
        teacher = taught.map.eval()

    def of_step(rng: Rng, _: float) -> Losses:
        return losses(motion.map, rng, paths, teacher, unknown)

    train(run, motion.map, of_step)
    if args.out:
        save_weights(motion, args.out)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
