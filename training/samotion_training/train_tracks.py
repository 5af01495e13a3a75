"""Train the nano tracker in three stages: features on pairs of frames, the whole on short clips,
the refinement alone.

Two things made the refinement learn, which stood still for 440 steps without them: its input layer
starts from whitened inputs (logits near 3 drowned correlations that differ by 0.2), and positions
count only where the initial guess is near, for lost tracks had filled the gradient with noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from samotion.commands.streams import note
from samotion.contract import TRACKER_PX
from samotion.errors import InputError
from samotion.presets import NANO
from samotion_export.tracks.build import build_module
from samotion_export.tracks.maps import TEMPERATURE, WINDOW, similarities
from samotion_export.tracks.tapir import State, Tapir
from torch import Tensor

from samotion_training import commands
from samotion_training.augment import SIZE_PX, move, place, recolour, warp
from samotion_training.common import (
    Losses,
    arguments,
    drawn,
    load_weights,
    run_of,
    save_weights,
    train,
)
from samotion_training.samples import MADE, Sample, clips_of, load

Rng = np.random.Generator
PAIR_SHARE = 0.3  # of training: the features alone, on pairs
REFINE_SHARE = 0.35  # of training, at its end: the refinement alone
PAIRS = 8
PAIR_POINTS = 160
LEAST_PAIR = 9  # points of a pair
# pairs are cut to this size around one of their points: 2.5 times the pairs of whole frames
PAIR_PX = 160
CLIP_FRAMES = 12
CLIP_POINTS = 64
MATCH_POINTS = 160
NEAR_PX = 6.0  # what expected_dist calls near, as TAPIR does
REFINE_POINTS = 96
# refinement looks three coarse cells far: what is farther off is lost to it, and only noise in its
# loss
REACH_PX = 24.0
HUBER_PX = 1.0


class Batch(NamedTuple):
    """Frames and points of one clip, px of 256 with pixel centres at .5 (the tracker's
    convention).
    """

    frames: Tensor  # (T, 256, 256, 3) uint8
    xy: Tensor  # (N, T, 2)
    visible: Tensor  # (N, T) bool


def choose_frames(rng: Rng, available: int, count: int) -> np.ndarray:
    """`count` frames in a row, or every second or third one where the clip is long enough,
    forward or backward; all of a shorter clip.
    """
    count = min(count, available)
    stride = int(rng.integers(1, max(1, min(3, (available - 1) // max(1, count - 1))) + 1))
    first = int(rng.integers(available - stride * (count - 1)))
    index = first + stride * np.arange(count)
    return index[::-1] if rng.random() < 0.5 else index


def cut(rng: Rng, sample: Sample, frames: np.ndarray, points: int) -> Batch:
    """An augmented batch of these frames, with up to `points` points that are visible in two of
    them at least.
    """
    matrix = place(rng)
    images = recolour(rng, warp(sample.frames[frames], matrix))
    xy, inside = move(sample.xy[:, frames], matrix)
    visible = sample.visible[:, frames] & inside
    able = np.flatnonzero(visible.sum(1) >= 2)
    chosen = rng.permutation(able)[:points]
    return Batch(
        *(torch.from_numpy(a) for a in (images, xy[chosen] + np.float32(0.5), visible[chosen]))
    )


def zoom(rng: Rng, pair: Batch) -> Batch:
    """Windows of PAIR_PX around one point of a pair, set off by chance, with the points that lie in
    both.

    Positions are still given for a picture of 256, as the tracker's grids count them.
    """
    if not len(pair.xy):
        return pair
    centre = (
        pair.xy[int(rng.integers(len(pair.xy)))].numpy() + rng.uniform(-0.4, 0.4, (2, 2)) * PAIR_PX
    )
    corner = np.clip(centre - PAIR_PX / 2, 0, TRACKER_PX - PAIR_PX).astype(int)
    frames = torch.stack(
        [f[y : y + PAIR_PX, x : x + PAIR_PX] for f, (x, y) in zip(pair.frames, corner.tolist())]
    )
    xy = pair.xy - torch.from_numpy(corner)
    inside = ((xy > 0) & (xy < PAIR_PX)).all(-1).all(-1)
    return Batch(frames, (xy[inside] * (TRACKER_PX / PAIR_PX)).float(), pair.visible[inside])


def matching_loss(grid: Tensor, query: Tensor, xy: Tensor) -> Tensor:
    """Cross-entropy of `query` (N,C) over all cells of `grid` (S,S,C) against its place `xy`
    (N,2) px of 256.
    """
    cells = grid.shape[0]
    logits = similarities(grid[None], query[None])[0] * TEMPERATURE
    place_cells = (xy * (cells / TRACKER_PX) - 0.5).clamp(0, cells - 1)
    low = place_cells.floor().clamp_max(cells - 2)
    part = place_cells - low
    log_p = F.log_softmax(logits, 1)
    total = torch.zeros(())
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            cell = ((low[:, 1] + dy) * cells + low[:, 0] + dx).long()
            total = total - (weight * log_p.gather(1, cell[:, None])[:, 0]).mean()
    return total


def pair_losses(tapir: Tapir, rng: Rng, pool: list[Path]) -> Losses:
    """Where is a point of one frame in another of the same clip? Asked of both grids, PAIRS
    clips at a time.
    """
    batches: list[Batch] = []
    while len(batches) < PAIRS:
        batches.append(drawn(lambda: _pair(rng, pool), f"{LEAST_PAIR} points seen twice"))
    lowres, hires = tapir.features(torch.cat([b.frames for b in batches]))
    low, high = torch.zeros(()), torch.zeros(())
    for i, batch in enumerate(batches):
        queries = torch.cat((torch.full((len(batch.xy), 1), 2.0 * i), batch.xy[:, 0].flip(1)), 1)
        query_low, query_high = tapir.query(lowres, hires, queries)
        low = low + matching_loss(lowres[2 * i + 1], query_low, batch.xy[:, 1]) / PAIRS
        high = high + matching_loss(hires[2 * i + 1], query_high, batch.xy[:, 1]) / PAIRS
    return {"loss": low + high, "low": low, "high": high}


def _pair(rng: Rng, pool: list[Path]) -> Batch | None:
    """Two frames of a clip; None where they share too few points."""
    sample = load(pool[int(rng.integers(len(pool)))])
    count = len(sample.frames)
    gap = int(rng.integers(1, min(count, 25)))
    first = int(rng.integers(count - gap))
    frames = np.array([first, first + gap])[:: rng.choice([1, -1])]
    batch = zoom(rng, cut(rng, sample, frames, PAIR_POINTS))
    return batch if len(batch.xy) >= LEAST_PAIR else None


def state_loss(
    state: State, batch: Batch, near: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Position (where visible and `near`, by default everywhere), occlusion, and expected
    distance of one state.
    """
    visible = batch.visible.float()
    error = (state.tracks - batch.xy).norm(dim=-1)
    huber = F.huber_loss(
        error, torch.zeros_like(error), reduction="none", delta=HUBER_PX
    ).clamp_max(64)
    counts = visible if near is None else visible * near
    position = (huber * counts).sum() / counts.sum().clamp_min(1)
    occlusion = F.binary_cross_entropy_with_logits(state.occlusion, 1 - visible)
    far = (error.detach() > NEAR_PX).float()
    distance = F.binary_cross_entropy_with_logits(state.expected_dist, far, weight=visible)
    return position, occlusion, distance


def random_queries(rng: Rng, batch: Batch) -> Tensor:
    """(N, 3) t, y, x: each point at a random frame in which it is visible."""
    weight = rng.random(batch.visible.shape) * batch.visible.numpy()
    frame = torch.from_numpy(weight.argmax(1))
    xy = batch.xy[torch.arange(len(frame)), frame]
    return torch.cat((frame[:, None].float(), xy.flip(1)), 1)


def clip_losses(tapir: Tapir, rng: Rng, pool: list[Path]) -> Losses:
    """The tracker on one clip, every state of it; the features are asked for more points than
    are tracked.
    """
    batch = _clip(rng, pool, MATCH_POINTS)
    queries = random_queries(rng, batch)
    lowres, hires = tapir.features(batch.frames)
    query_low, query_high = tapir.query(lowres, hires, queries)
    match = torch.zeros(())
    for t in range(len(batch.frames)):
        seen = batch.visible[:, t] & (queries[:, 0] != t)
        if seen.any():
            match = match + matching_loss(lowres[t], query_low[seen], batch.xy[seen, t]) / len(
                batch.frames
            )
            match = match + matching_loss(hires[t], query_high[seen], batch.xy[seen, t]) / len(
                batch.frames
            )
    tracked = Batch(batch.frames, batch.xy[:CLIP_POINTS], batch.visible[:CLIP_POINTS])
    looks = (query_low[:CLIP_POINTS], query_high[:CLIP_POINTS], queries[:CLIP_POINTS])
    values = states_losses(list(tapir.states(lowres, hires, *looks)), tracked)
    return {**values, "loss": values["loss"] + 0.3 * match, "match": match}


def states_losses(states: list[State], batch: Batch) -> Losses:
    """All states against the truth, positions where the first state is within REACH_PX of it."""
    near = ((states[0].tracks.detach() - batch.xy).norm(dim=-1) < REACH_PX).float()
    parts = [state_loss(state, batch, near) for state in states]
    position, occlusion, distance = (torch.stack(p) for p in zip(*parts))
    last = {
        "first_px": position[0],
        "last_px": position[-1],
        "occlusion": occlusion[-1],
        "distance": distance[-1],
    }
    return {"loss": position.mean() + occlusion.mean() + distance.mean(), **last}


def refine_losses(tapir: Tapir, rng: Rng, pool: list[Path]) -> Losses:
    """The refinement alone, from the initial guess of features that stay as they are."""
    batch = _clip(rng, pool, REFINE_POINTS)
    queries = random_queries(rng, batch)
    with torch.no_grad():
        lowres, hires = tapir.features(batch.frames)
        states = tapir.states(lowres, hires, *tapir.query(lowres, hires, queries), queries)
        first = next(states)
    return states_losses([first, *states], batch)


def whiten(tapir: Tapir, pool: list[Path], clips: int = 6) -> None:
    """Start the refinement anew, its input layer scaled to what it really gets, its answer in
    the order of a px.
    """
    mixer = tapir.torch_pips_mixer
    got: list[Tensor] = []
    handle = mixer.register_forward_pre_hook(
        lambda _, inputs: got.append(inputs[0].detach().flatten(0, 1))
    )
    with torch.no_grad():
        for i in range(clips):
            refine_losses(tapir, np.random.default_rng(i), pool)
        handle.remove()
        inputs = torch.cat(got)
        mean, spread = inputs.mean(0), inputs.std(0)
        spread[spread < 1e-3] = 1  # the two position slots are always 0
        for module in mixer.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset:
                reset()
        around = torch.full_like(mean, 0.5)
        # the correlations say where to go; features and logits how sure to be
        around[-3 * WINDOW**2 :] = 1.5
        mixer.linear.weight.mul_(around / spread)
        mixer.linear.bias.sub_(mixer.linear.weight @ mean)
        mixer.linear_1.weight[2:].mul_(0.1)


def _clip(rng: Rng, pool: list[Path], points: int) -> Batch:
    def draw() -> Batch | None:
        sample = load(pool[int(rng.integers(len(pool)))])
        batch = cut(rng, sample, choose_frames(rng, len(sample.frames), CLIP_FRAMES), points)
        return batch if len(batch.xy) >= least(points) else None

    return drawn(draw, f"{least(points)} points seen twice")


def least(points: int) -> int:
    """How many points a clip must have for it to be trained on, where so many are asked for."""
    return points // 2


def with_points(paths: list[Path], points: int) -> list[Path]:
    """The clips of a pool in which two frames at least show as many points. Raises InputError where
    there are none: drawing from them would go on for long, and end with nothing.
    """
    folder = paths[0].parent
    found = [path for path in paths if seen_twice(path) >= points]
    if not found:
        raise InputError(
            f"{folder}: got no clip with tracks of {points} points that two frames show, expected"
            " some; make a pool with samotion_training.pool"
        )
    if len(found) < len(paths):
        note(
            f"{folder}: {len(paths) - len(found)} of {len(paths)} clips are left out: two frames"
            f" show fewer than {points} points"
        )
    return found


def seen_twice(path: Path) -> int:
    """How many points of a clip are visible in two of its frames. Raises InputError where it is
    broken.
    """
    with commands.reading(path, MADE), np.load(path) as arrays:
        return int((arrays["visible"].sum(1) >= 2).sum())


def points_of(args: argparse.Namespace) -> int:
    """How many points a clip must have for the stages of a training."""
    start_of_refinement = 1 - args.refine_share
    needed = [LEAST_PAIR]
    if args.pair_share < start_of_refinement:
        needed.append(least(MATCH_POINTS))
    if args.whiten or max(args.pair_share, start_of_refinement) < 1:
        needed.append(least(REFINE_POINTS))
    return max(needed)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = arguments("Train the nano tracker on a pool of scenes.", steps=3000, lr=2e-3)
    options.add_argument(
        "--pair-share", type=float, default=PAIR_SHARE, help="share of training on pairs alone"
    )
    options.add_argument(
        "--refine-share", type=float, default=REFINE_SHARE, help="share at the end for refinement"
    )
    options.add_argument(
        "--whiten", action="store_true", help="start the refinement anew on whitened inputs"
    )
    return options


def _work(args: argparse.Namespace) -> None:
    run = run_of(args)
    pool = with_points(clips_of(args.pool, "frames", size_px=SIZE_PX), points_of(args))
    tapir = build_module(NANO.tracks)
    if args.init:
        load_weights(tapir, args.init)

    def losses(rng: Rng, share: float) -> Losses:
        if share < args.pair_share:
            return pair_losses(tapir, rng, pool)
        return (clip_losses if share < 1 - args.refine_share else refine_losses)(tapir, rng, pool)

    if args.whiten:
        whiten(tapir, pool)
    train(run, tapir, losses)
    if args.out:
        save_weights(tapir, args.out)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
