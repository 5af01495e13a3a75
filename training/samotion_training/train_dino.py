"""Train the nano dino net by contrast: a surface keeps its features across frames and light,
other things differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from samotion.presets import NANO
from samotion_export.dino import Dino, build_module
from torch import Tensor

from samotion_training import commands
from samotion_training.augment import SIZE_PX, move, place, recolour, warp
from samotion_training.common import Losses, arguments, load_weights, run_of, save_weights, train
from samotion_training.samples import Sample, clips_of, load

Rng = np.random.Generator
CLIPS = 4
POINTS = 96
TEMPERATURE = 0.1
INSTANCE_WEIGHT = 0.5
SIDE_PX = NANO.dino.short_side_px or 0


class Pair(NamedTuple):
    """Two views of one clip and points seen in both, px of 256 with pixel centres at whole
    numbers.
    """

    frames: np.ndarray  # (2, 256, 256, 3) uint8
    xy: np.ndarray  # (N, 2, 2)
    instance: np.ndarray  # (N,)


def pair(rng: Rng, sample: Sample) -> Pair:
    """Two frames, each cropped and coloured on its own; of a clip of one frame, that twice."""
    count = len(sample.frames)
    chosen = rng.choice(count, 2, replace=count < 2)
    frames, places, seen = [], [], np.ones(len(sample.xy), bool)
    for t in chosen:
        matrix = place(rng)
        frames.append(recolour(rng, warp(sample.frames[[t]], matrix), 1.5)[0])
        xy, inside = move(sample.xy[:, t], matrix)
        places.append(xy)
        seen &= inside & sample.visible[:, t]
    points = rng.permutation(np.flatnonzero(seen))[:POINTS]
    return Pair(
        np.stack(frames), np.stack(places, 1)[points], sample.instance[points].astype(np.int64)
    )


def under(features: Tensor, xy: Tensor) -> Tensor:
    """Unit features (N, C) of the cells of (GH, GW, C) that lie under xy (N, 2) px of 256."""
    rows, columns = features.shape[:2]
    x = ((xy[:, 0] + 0.5) * (columns / SIZE_PX)).long().clamp(0, columns - 1)
    y = ((xy[:, 1] + 0.5) * (rows / SIZE_PX)).long().clamp(0, rows - 1)
    return F.normalize(features[y, x], dim=1)


def contrast(first: Tensor, second: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of each row of `first` (N, C) choosing among `second`, all of `same` (N, N)
    being right; 0 where there are none.
    """
    if not len(first):
        return first.sum()
    log_p = F.log_softmax(first @ second.T / TEMPERATURE, 1)
    return -((log_p * same).sum(1) / same.sum(1)).mean()


def losses(dino: Dino, rng: Rng, pool: list[Path]) -> Losses:
    """Points against all points of the batch; and instances, of which the backdrop is left out
    (it has many things).
    """
    pairs = [pair(rng, load(pool[int(rng.integers(len(pool)))])) for _ in range(CLIPS)]
    side = (SIDE_PX, SIDE_PX)
    frames = [cv2.resize(f, side, interpolation=cv2.INTER_AREA) for p in pairs for f in p.frames]
    features = dino(torch.from_numpy(np.stack(frames)))
    views = [
        torch.cat(
            [under(features[2 * i + v], torch.from_numpy(p.xy[:, v])) for i, p in enumerate(pairs)]
        )
        for v in (0, 1)
    ]
    point = contrast(views[0], views[1], torch.eye(len(views[0])))
    instance = torch.from_numpy(
        np.concatenate([p.instance + 1000 * i for i, p in enumerate(pairs)])
    )
    on_object = instance % 1000 > 0
    objects = torch.zeros(())
    if on_object.any():
        same = (instance[on_object, None] == instance[None]).float()
        objects = contrast(views[0][on_object], views[1], same)
    return {"loss": point + INSTANCE_WEIGHT * objects, "point": point, "instance": objects}


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    return arguments("Train the nano dino net on a pool of scenes.", steps=4000, lr=1e-3)


def _work(args: argparse.Namespace) -> None:
    run = run_of(args)
    paths = clips_of(args.pool, "frames", "xy", size_px=SIZE_PX)
    dino = build_module(NANO.dino)
    if args.init:
        load_weights(dino, args.init)
    train(run, dino, lambda rng, _: losses(dino, rng, paths))
    if args.out:
        save_weights(dino, args.out)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
