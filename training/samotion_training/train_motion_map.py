"""Train the nano motion map, a part of the motion net's file, on residuals made by
samotion_training.make_residuals.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from samotion.presets import NANO
from samotion_export.motion.motion_map import MotionMap
from samotion_export.motion.net import build_module
from torch import Tensor

from samotion_training import make_residuals
from samotion_training.common import Losses, arguments, load_weights, run_of, save_weights, train

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
FRAMES = 8
DIFFERENCES = slice(2, 7)  # channels: along the ground, and along the flow
FLOW = slice(7, 9)  # mirroring turns these over
COLOURS = slice(10, 13)
UNREST = 0.6  # share of frames with spots that differ from frame to frame, as water and leaves do
UNREST_CELLS = (3, 20)  # their size
UNREST_MOST = 2.0  # what they add to log differences, at most, and to the flow


def frame_of(rng: Rng, path: Path) -> tuple[Array, Array]:
    """A residual (GH,GW,C) and the share of each cell that moves, mirrored, turned and
    recoloured at random.
    """
    residuals, shares = _clip(path)
    index = int(rng.integers(len(residuals)))
    x, y = residuals[index].astype(np.float32), shares[index].astype(np.float32) / 255
    for axis in (0, 1):
        if rng.random() < 0.5:
            x, y = np.flip(x, axis).copy(), np.flip(y, axis)
            x[..., FLOW.start + 1 - axis] *= -1
    if rng.random() < 0.5:
        x, y = x.transpose(1, 0, 2).copy(), y.T
        x[..., FLOW] = x[..., FLOW][..., ::-1].copy()
    x[..., COLOURS] = x[..., COLOURS] * rng.uniform(0.7, 1.3) + rng.normal(0, 0.2, 3)
    x[..., DIFFERENCES] *= rng.uniform(0.7, 1.3)
    if rng.random() < UNREST:
        spots = rng.uniform(0, UNREST_MOST) * unrest(rng, y.shape)
        x[..., DIFFERENCES] += spots.clip(0)[..., None]
        x[..., FLOW] += (
            np.stack([unrest(rng, y.shape) for _ in range(2)], -1) * spots.clip(0)[..., None]
        )
    return x, y


def unrest(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Smooth noise (GH,GW) of unit deviation."""
    noise = cv2.GaussianBlur(
        rng.normal(size=shape).astype(np.float32), (0, 0), rng.uniform(*UNREST_CELLS)
    )
    return np.asarray(noise / (noise.std() + 1e-6))


def losses(net: MotionMap, rng: Rng, paths: list[Path]) -> Losses:
    """Cross-entropy and Dice over frames of some clips; Dice where something moves."""
    pairs = [frame_of(rng, paths[int(rng.integers(len(paths)))]) for _ in range(FRAMES)]
    size = np.min([y.shape for _, y in pairs], axis=0) // 8 * 8
    crops = []
    for x, y in pairs:
        top, left = (int(rng.integers(n - m + 1)) for n, m in zip(y.shape, size))
        crops.append(
            (
                x[top : top + size[0], left : left + size[1]],
                y[top : top + size[0], left : left + size[1]],
            )
        )
    inputs, truth = (torch.from_numpy(np.ascontiguousarray(np.stack(part))) for part in zip(*crops))
    answer = net(inputs)
    entropy = F.binary_cross_entropy_with_logits(answer, truth)
    overlap = dice(answer, truth)
    return {"loss": entropy + overlap, "entropy": entropy, "dice": overlap}


def dice(answer: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of each frame (B,GH,GW), averaged over those in which something moves."""
    p = torch.sigmoid(answer)
    each = 1 - (2 * (p * truth).sum((1, 2)) + 1) / ((p + truth).sum((1, 2)) + 1)
    some = truth.sum((1, 2)) > 0
    return (each * some).sum() / some.sum().clamp(min=1)


@lru_cache(maxsize=4000)
def _clip(path: Path) -> make_residuals.Example:
    return make_residuals.load(path)


def main() -> None:
    """The command."""
    args = arguments("Train the nano motion map.", steps=4000, lr=3e-3).parse_args()
    run = run_of(args)
    motion = build_module(NANO.motion)
    if args.init:
        load_weights(motion, args.init)
    train(run, motion.map, lambda rng, _: losses(motion.map, rng, sorted(args.pool.glob("*.npz"))))
    if args.out:
        save_weights(motion, args.out)


if __name__ == "__main__":
    main()
