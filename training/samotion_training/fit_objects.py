"""Fit the weights of samotion.cues.grouping and samotion.cues.movers by logistic regression.

`python -m samotion_training.fit_objects --engine-dir engines --data DATA [--davis DAVIS]` renders
clips, runs nano's nets over them, and prints weights and biases. Features depend on the motion map,
so this comes after its training. Groups are made with the weights as they are in
samotion.cues.grouping: where those change much, run this twice.

Real clips, annotated as DAVIS is, and excerpts of them count for groups alone.
Most of the rendered clips have no moving objects, or false alarms would hardly count.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import samotion
from samotion import prompts
from samotion.cues import grouping, movers
from samotion.cues.densify import densify
from samotion.cues.motion_map import MotionMaps
from samotion.errors import InputError
from samotion.manifest import write_atomically
from samotion.presets import NANO, NANO_CUES, Prompting
from samotion.tracks.records import Tracks
from samotion_bench.scenes.data import open_library
from samotion_bench.track_metrics import starts_on

from samotion_training import commands
from samotion_training.evaluate import davis, sequences
from samotion_training.make_residuals import RESERVED_TRACKS, drawn, scored

Examples = tuple[np.ndarray, np.ndarray]  # features (n,F), and whether it is so (n,) bool
MAX_PAIRS = 3000  # of a clip
NO_MOVER, STILL_CAMERA = 0.7, 0.2  # shares of clips
MEMBER_SHARE = 0.5  # of a group's tracks that must be on a mover for the group to be on it
ROUNDS = 20  # Newton steps
RIDGE = 1e-3


def examples_of(
    tracks: Tracks,
    scores: np.ndarray,
    maps: MotionMaps,
    labels: np.ndarray,
    numbers: Prompting,
    grow_threshold: float,
    rng: np.random.Generator,
) -> tuple[Examples, Examples]:
    """Pairs of candidate tracks: are they of one object? Groups: are they on a mover?

    Tracks, scores and maps are those of `densify`, `labels` (T,H,W) the truth. At least one track
    of a pair is on a mover.
    """
    hw = labels.shape[1], labels.shape[2]
    moving = prompts.select_moving(scores, len(labels), numbers)
    candidates, label_of = np.flatnonzero(scores > grow_threshold), starts_on(tracks, labels)
    (first, second), features = grouping.pairwise_features(tracks, candidates, hw, maps)
    own = label_of[candidates]
    on_mover = np.flatnonzero((own[first] > 0) | (own[second] > 0))
    chosen = rng.permutation(on_mover)[:MAX_PAIRS]
    of_pairs = features[chosen], (own[first] == own[second])[chosen]
    groups = grouping.partition(tracks, moving, candidates, hw, maps, numbers)
    moves = [(label_of[group] > 0).mean() >= MEMBER_SHARE for group in groups]
    of_motion = movers.group_features(groups, tracks, scores, hw), np.array(moves, bool)
    return of_pairs, of_motion


def fit(
    clips: list[Examples], by_root: bool = False, by_clip: bool = False
) -> tuple[np.ndarray, float]:
    """Weights and bias of a logistic regression over the examples of clips.

    With `by_root` a clip of n examples counts as the root of n, with `by_clip` as one. Raises
    InputError where no clip has any.
    """
    if not any(len(part) for part, _ in clips):
        raise InputError("got no examples to fit to, expected some; give fit_objects more --seeds")
    x = np.concatenate([np.column_stack([part, np.ones(len(part))]) for part, _ in clips])
    y = np.concatenate([is_so for _, is_so in clips]).astype(np.float64)
    power = -1.0 if by_clip else -0.5 if by_root else 0.0
    importance = np.concatenate(
        [np.full(len(part), len(part) ** power) for part, _ in clips if len(part)]
    )
    weights = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-(x @ weights)))
        gradient = x.T @ (importance * (y - p)) - RIDGE * weights
        curvature = (importance * p * (1 - p))[:, None]
        hessian = (x * curvature).T @ x + RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(hessian, gradient)
    return weights[:-1], float(weights[-1])


def save_groups(path: Path, clips: dict[str, Examples]) -> None:
    """Write the groups of clips by name: features, whether they move, how many each clip has. The
    file has the name given, and appears whole.
    """
    features, moving = (np.concatenate(parts) for parts in zip(*clips.values()))
    counts = [len(part) for part, _ in clips.values()]
    data = io.BytesIO()
    np.savez(data, features=features, moving=moving, counts=counts, names=list(clips))
    write_atomically(path, data.getvalue())


def load_groups(path: Path) -> dict[str, Examples]:
    """What `save_groups` wrote."""
    with np.load(path) as file:
        ends = np.cumsum(file["counts"])[:-1]
        features, moving = (np.split(file[name], ends) for name in ("features", "moving"))
        return dict(zip(file["names"].tolist(), zip(features, moving)))


def rendered(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    """Name, frames, labels of what moves, and number of tracks of each rendered clip."""
    library = open_library(args.data, held_out=False)
    for seed in range(*args.seeds):
        clip, max_tracks = drawn(seed, library, NO_MOVER, STILL_CAMERA)
        yield str(seed), clip.frames, clip.moving_labels, max_tracks


def real(folder: Path | None) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    """The same of annotated sequences, and excerpts from them: "goat", "goat first" and so on."""
    for name, frames, masks in davis(folder) if folder else ():
        for excerpt, part in excerpts(len(frames)).items():
            labels = masks[part].astype(np.uint8)
            yield f"{name}{excerpt}", frames[part], labels, NANO.max_tracks - RESERVED_TRACKS


def excerpts(length: int) -> dict[str, slice]:
    """A clip of so many frames; its first 60, middle 30 and last 40, for there less is sure."""
    middle = max(0, length - 30) // 2
    parts = slice(0, 60), slice(middle, middle + 30), slice(max(0, length - 40), length)
    return {"": slice(0, length), **dict(zip((" first", " middle", " last"), parts))}


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Fit the weights of pairs and groups of tracks.")
    options.add_argument("--engine-dir", type=Path, required=True)
    options.add_argument(
        "--data", type=Path, help="folder with photos/, instances/, regions/; none: procedural only"
    )
    options.add_argument(
        "--davis", type=Path, help="folder with JPEGImages/480p and Annotations/480p"
    )
    options.add_argument("--groups", type=Path, help="write the groups here, for reliability.py")
    options.add_argument(
        "--seeds", type=int, nargs=2, default=(520_000, 520_400), metavar=("FIRST", "END")
    )
    return options


def _work(args: argparse.Namespace) -> None:
    commands.seeds_of(*args.seeds)
    if args.davis:
        sequences(args.davis)
    if args.groups:
        commands.require_output(args.groups)
    found = {}
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        for number, (name, frames, labels, most) in enumerate(
            chain(rendered(args), real(args.davis))
        ):
            first = scored(engines, frames, most, number)
            densified = densify(engines, frames, *first, RESERVED_TRACKS, number)
            numbers, grow = engines.preset.prompting, NANO_CUES.grow_threshold
            rng = np.random.default_rng(number)
            found[name] = examples_of(*densified, labels, numbers, grow, rng)
            print(name, *(len(is_so) for _, is_so in found[name]), flush=True)
    synthetic = [one for name, one in found.items() if name.isdigit()]
    groups = {name: of_motion for name, (_, of_motion) in found.items()}
    if args.groups:
        save_groups(args.groups, groups)
    tell("grouping.PAIR_WEIGHTS", fit([pairs for pairs, _ in synthetic], by_root=True))
    tell("movers.MOTION_WEIGHTS", fit(list(groups.values()), by_clip=True))


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


def tell(name: str, fitted: tuple[np.ndarray, float]) -> None:
    """Print weights and bias."""
    print(f"{name} {np.round(fitted[0], 2).tolist()}, bias {fitted[1]:.2f}")


if __name__ == "__main__":
    main()
