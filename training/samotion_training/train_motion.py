"""Train the nano motion transformer: on exact tracks with made-up errors first, then on what the
nano nets make.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from samotion.presets import NANO
from samotion_bench.track_metrics import area_under_curve
from samotion_export.motion.net import CHANNELS, OCTAVES, WIDTH, Motion, build_module
from torch import Tensor

from samotion_training import commands, motion_data, samples
from samotion_training.common import (
    Losses,
    arguments,
    drawn,
    held,
    load_weights,
    run_of,
    save_weights,
    train,
)
from samotion_training.motion_data import TrackSet

Rng = np.random.Generator
CLIPS = 4
TRACKS = 144  # of a long cut; half as many of a short one
DICE = 0.5  # its weight beside the cross-entropy
PER_POINT = ("xy", "visible", "instance", "point_disparity")


def prepare(motion: Motion) -> None:
    """Start where tracks are compared: attention takes half of the mean away, and steps outweigh
    places.

    From PyTorch's own start the net learns first that what is fast moves, and with a following
    camera that is wrong; differences from the other tracks' steps it has to find through sixteen
    channels and four layers.
    """
    encoder = motion.joint_encoder
    with torch.no_grad():
        gain = encoder.input_fc1.weight[0, :, 0, 0].new_ones(CHANNELS)
        half = (CHANNELS - 4) // 2
        for octave in range(OCTAVES):
            rows = slice(2 + 4 * octave, 6 + 4 * octave)
            # fine waves of the place are noise to begin with
            gain[:half][rows] = 0.5 if octave < 3 else 0.05
            # steps of 0.5 to 10 % of the picture
            gain[half : 2 * half][rows] = 2.0 if 2 <= octave <= 6 else 0.3
        encoder.input_fc1.weight.mul_(gain[None, :, None, None])
        for stack in encoder.transformer_model.values():
            layers: Any = stack.layers
            for layer in layers:
                attention = layer.self_attn
                attention.in_proj_weight[: 2 * WIDTH].mul_(0.5)
                attention.in_proj_weight[2 * WIDTH :] = torch.eye(WIDTH)
                attention.out_proj.weight.copy_(-0.5 * torch.eye(WIDTH))


def logits(motion: Motion, tracks: TrackSet) -> Tensor:
    """(N,) before the sigmoid."""
    return motion.logits(*(torch.from_numpy(np.ascontiguousarray(a)) for a in tracks[:-1]))


def losses(
    motion: Motion, rng: Rng, sets: list[TrackSet], teacher: Motion | None = None, new: int = 0
) -> Losses:
    """Cross-entropy over the tracks of some clips, and Dice where something moves.

    In the cross-entropy of a clip movers and the rest count the same: else, with one mover in
    sixteen tracks, the net says no to everything and stays there. Dice is what puts the best
    threshold near 0.5. A `teacher` is a net whose answers count as well, but for the `new` first
    clips.
    """
    total, found = torch.zeros(()), []
    for index, tracks in enumerate(sets):
        answer, truth = logits(motion, tracks), torch.from_numpy(tracks.moving)
        each = F.binary_cross_entropy_with_logits(answer, truth.float(), reduction="none")
        sides = [each[side].mean() for side in (truth, ~truth) if side.any()]
        loss = torch.stack(sides).mean() + DICE * dice(answer, truth)
        if teacher is not None and index >= new:
            with torch.no_grad():
                taught = logits(teacher, tracks)
            loss = held(loss, answer, taught)
        total = total + loss / len(sets)
        found.append(area_under_curve(answer.detach().numpy(), tracks.moving))
    known = [area for area in found if area is not None]
    return {"loss": total, "auc": torch.tensor(np.mean(known or [0.5]))}


def dice(answer: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice of the tracks that `answer` (N,) logits calls moving; 0 where none of `truth`
    (N,) bool moves.
    """
    score = torch.sigmoid(answer)
    return (1 - 2 * (score * truth).sum() / (score.sum() + truth.sum())) * truth.any()


def exact(rng: Rng, paths: Sequence[Path]) -> TrackSet:
    """One of the clips (made by samotion_training.pool) with made-up errors, on some of its
    points.
    """
    sample = _sample(paths[int(rng.integers(len(paths)))])
    some = rng.permutation(len(sample.xy))[: 2 * TRACKS]
    sample = sample._replace(**{name: getattr(sample, name)[some] for name in PER_POINT})
    tracks = motion_data.from_truth(rng, sample, sample.frames.shape[1], NANO.motion.dino_channels)
    return motion_data.augment(rng, tracks, TRACKS)


def made(rng: Rng, paths: Sequence[Path]) -> TrackSet:
    """One of the clips (made by samotion_training.make_tracks), augmented."""
    return motion_data.augment(rng, _made(paths[int(rng.integers(len(paths)))]), TRACKS)


_sample = lru_cache(maxsize=4000)(samples.load)  # points alone: 0.5 MB a clip
_made = lru_cache(maxsize=4000)(motion_data.load)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = arguments("Train the nano motion transformer.", steps=6000, lr=1e-3)
    options.add_argument(
        "--made", type=Path, help="tracks of the nano nets, made by samotion_training.make_tracks"
    )
    options.add_argument(
        "--made-share", type=float, default=0.7, help="share of clips taken from --made"
    )
    options.add_argument("--teacher", type=Path, help="weights to which the new ones are held")
    options.add_argument(
        "--unknown", type=Path, help="more of --made, half of each step's, for which they are not"
    )
    return options


def _work(args: argparse.Namespace) -> None:
    run = run_of(args)
    exact_paths: list[Path] = []
    made_paths, unknown = (
        commands.files_of(folder, TrackSet._fields, "make_tracks", ["xy"]) if folder else []
        for folder in (args.made, args.unknown)
    )
    if args.made is None or args.made_share < 1:
        exact_paths = samples.clips_of(args.pool, "xy", "instance_moving")
    new = CLIPS // 2 if unknown else 0
    motion, teacher = build_module(NANO.motion), None
    if args.teacher:
        load_weights(teacher := build_module(NANO.motion).eval(), args.teacher)
    if args.init:
        load_weights(motion, args.init)
    else:
        prepare(motion)

    def clip(rng: Rng, is_new: bool) -> TrackSet | None:
        if is_new:
            tracks = made(rng, unknown)
        elif args.made is not None and rng.random() < args.made_share:
            tracks = made(rng, made_paths)
        else:
            tracks = exact(rng, exact_paths)
        return tracks if len(tracks.moving) else None

    def of_step(rng: Rng, _: float) -> Losses:
        clips = [partial(clip, rng, index < new) for index in range(CLIPS)]
        sets = [drawn(one, "visible tracks") for one in clips]
        return losses(motion, rng, sets, teacher, new)

    train(run, motion, of_step)
    if args.out:
        save_weights(motion, args.out)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
