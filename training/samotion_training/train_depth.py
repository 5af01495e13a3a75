"""Train the nano depth net on the exact disparity of scenes, each frame's own range taken as 0 to
1.

The runtime brings every frame's disparity to that range, so scale and shift are settled in the
truth. A loss that normalises the answer too (to unit deviation, say) punishes doubt: in four CPU
minutes it stayed worse than a constant.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from samotion.depth import net_size
from samotion.presets import NANO
from samotion_export.depth import Depth, build_module
from torch import Tensor, nn

from samotion_training import commands
from samotion_training.augment import SIZE_PX, place, recolour, warp
from samotion_training.common import Losses, arguments, load_weights, run_of, save_weights, train
from samotion_training.samples import DEPTH_EVERY, Sample, clips_of, load

Rng = np.random.Generator
CLIPS = 4
FRAMES_PER_CLIP = 3
# px: the shapes that clips of all aspects take
CLIPS_HW = ((1000, 1000), (1000, 1300), (1000, 1800), (1300, 1000), (1000, 1500))
SIZES = tuple(net_size(hw, NANO.depth.short_side_px) for hw in CLIPS_HW)
GRADIENT_WEIGHT = 0.5
# the farthest is asked to be this, not 0, where the closing ReLU would cut what lies below
OFFSET = 0.3


def batch(rng: Rng, pool: list[Path], hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """uint8 frames (B, H, W, 3) and their disparity (B, H, W) float32, of CLIPS clips."""
    frames, disparity = [], []
    for _ in range(CLIPS):
        images, depths = some_frames(rng, load(pool[int(rng.integers(len(pool)))]))
        size = (hw[1], hw[0])
        frames += [cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images]
        disparity += [cv2.resize(d, size, interpolation=cv2.INTER_NEAREST) for d in depths]
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(disparity))


def some_frames(rng: Rng, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """A few augmented frames of one clip and their disparity."""
    chosen = rng.permutation(len(sample.disparity))[:FRAMES_PER_CLIP]
    matrix = place(rng)
    images = recolour(rng, warp(sample.frames[chosen * DEPTH_EVERY], matrix))
    return images, warp(sample.disparity[chosen].astype(np.float32), matrix, nearest=True)


def unit_range(disparity: Tensor) -> Tensor:
    """(B, H, W) brought to 0 (farthest) to 1 (nearest) in every frame; a frame of one depth
    becomes 0.
    """
    flat = disparity.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(1e-4)).reshape(disparity.shape)


def disparity_loss(answer: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute difference from the truth's range, and that of the gradients at three scales
    (edges).
    """
    difference = answer - OFFSET - unit_range(truth)
    gradient = torch.zeros(())
    for scale in (1, 2, 4):
        coarse = F.avg_pool2d(difference[:, None], scale)[:, 0]
        gradient = gradient + coarse.diff(dim=1).abs().mean() + coarse.diff(dim=2).abs().mean()
    return difference.abs().mean(), gradient / 3


def losses(depth: Depth, rng: Rng, pool: list[Path]) -> Losses:
    """Of one batch."""
    frames, truth = batch(rng, pool, SIZES[int(rng.integers(len(SIZES)))])
    value, gradient = disparity_loss(depth(frames), truth)
    return {"loss": value + GRADIENT_WEIGHT * gradient, "value": value, "gradient": gradient}


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    return arguments("Train the nano depth net on a pool of scenes.", steps=4000, lr=1e-3)


def _work(args: argparse.Namespace) -> None:
    run = run_of(args)
    paths = clips_of(args.pool, "frames", "disparity", size_px=SIZE_PX)
    depth = build_module(NANO.depth)
    if args.init:
        load_weights(depth, args.init)
    # The last ReLU is left out in training: once closed everywhere it would never open again.
    closing, depth.depth_head.scratch.output_conv2[3] = (
        depth.depth_head.scratch.output_conv2[3],
        nn.Identity(),
    )
    train(run, depth, lambda rng, _: losses(depth, rng, paths))
    depth.depth_head.scratch.output_conv2[3] = closing
    if args.out:
        save_weights(depth, args.out)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
