"""Train the nano motion transformer: on exact tracks with made-up errors first, then on what the nano nets make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from samotion.presets import NANO
from samotion_export.motion import Motion, build_module
from torch import Tensor

from samotion_training import motion_data, pool
from samotion_training.common import Losses, arguments, load_weights, run_of, save_weights, train
from samotion_training.motion_data import TrackSet

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
CLIPS = 3
TRACKS = 144


def logits(motion: Motion, tracks: TrackSet) -> Tensor:
    """(N,) before the sigmoid."""
    return motion.logits(*(torch.from_numpy(np.ascontiguousarray(a)) for a in tracks[:-1]))


def losses(motion: Motion, rng: Rng, sets: list[TrackSet]) -> Losses:
    """Cross-entropy over the tracks of some clips; each clip counts the same."""
    total, right = torch.zeros(()), []
    for tracks in sets:
        answer = logits(motion, tracks)
        truth = torch.from_numpy(tracks.moving)
        total = total + F.binary_cross_entropy_with_logits(answer, truth.float()) / len(sets)
        right.append(((answer > 0) == truth).float().mean())
    return {"loss": total, "accuracy": torch.stack(right).mean()}


def exact(rng: Rng, folder: Path) -> TrackSet:
    """A clip of `folder` (made by samotion_training.pool) with made-up errors."""
    paths = sorted(folder.glob("*.npz"))
    sample = pool.load(paths[int(rng.integers(len(paths)))])
    tracks = motion_data.from_truth(rng, sample, sample.frames.shape[1], NANO.motion.dino_channels)
    return motion_data.augment(rng, tracks, TRACKS)


def made(rng: Rng, folder: Path) -> TrackSet:
    """A clip of `folder` (made by samotion_training.make_tracks), augmented."""
    paths = sorted(folder.glob("*.npz"))
    return motion_data.augment(rng, motion_data.load(paths[int(rng.integers(len(paths)))]), TRACKS)


def main() -> None:
    parser = arguments("Train the nano motion transformer.", steps=6000, lr=1e-3)
    parser.add_argument("--made", type=Path, help="tracks of the nano nets, made by samotion_training.make_tracks")
    parser.add_argument("--made-share", type=float, default=0.7, help="share of clips taken from --made")
    args = parser.parse_args()
    run = run_of(args)
    motion = build_module(NANO.motion)
    if args.init:
        load_weights(motion, args.init)

    def clip(rng: Rng) -> TrackSet:
        is_made = args.made is not None and rng.random() < args.made_share and any(args.made.glob("*.npz"))
        return made(rng, args.made) if is_made else exact(rng, args.pool)

    train(run, motion, lambda rng, _: losses(motion, rng, [clip(rng) for _ in range(CLIPS)]))
    if args.out:
        save_weights(motion, args.out)


if __name__ == "__main__":
    main()
