"""Fit the numbers of samotion.multicut and samotion.movers, by logistic regression.

`python -m samotion_training.fit_objects --engine-dir engines --data DATA` renders clips, runs
nano's nets over them, and prints their weights and biases. The motion map decides what pairs and
sets of tracks show, so this comes after it. Sets are made with the weights of samotion.multicut as
they are: where those change much, run this twice.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import samotion
from samotion import prompts
from samotion.cues import movers, multicut, prompting
from samotion.cues.densify import second_look
from samotion.cues.motion_map import MotionMaps
from samotion.presets import NANO_CUES, Prompting
from samotion.tracks.tracking import Tracks
from samotion_bench.scenes.data import open_library
from samotion_bench.track_metrics import starts_on

from samotion_training.make_residuals import SECOND_TRACKS, drawn, scored

Array = np.ndarray[Any, Any]
Shown = tuple[Array, Array]  # what is shown (n,traits), and whether it is so (n,) bool
PAIRS = 3000  # of a clip, at most
NO_MOVER, STILL_CAMERA = 0.2, 0.2  # shares of clips
ON_IT = 0.5  # of a set's tracks must be on a mover for the set to be on it
FITTED = {  # and `root` of `fit`
    "multicut.WEIGHTS": True,
    "multicut.OF_PARTS": False,
    "movers.WEIGHTS": False,
    "movers.ON_ONE": False,
}
ROUNDS = 20  # Newton steps
RIDGE = 1e-3


def shown_by(
    tracks: Tracks,
    scores: Array,
    maps: MotionMaps,
    labels: Array,
    style: Prompting,
    grow_threshold: float,
    rng: np.random.Generator,
) -> tuple[Shown, Shown, Shown, Shown]:
    """What pairs of likely tracks, and of their parts, show of being one object's; and sets, of
    what they are on.

    That is a mover's largest set, and a mover at all. Tracks, scores and maps are those of
    `second_look`, `labels` (T,H,W) the truth. At least one track, or part, of a pair is on a mover.
    """
    hw = labels.shape[1], labels.shape[2]
    moving = prompts.select_moving(scores, len(labels), style)
    likely = prompting.candidates(scores, moving, grow_threshold)
    own, pool = starts_on(tracks, labels), np.flatnonzero(likely)
    compared = tracks.take(pool), scores[pool], hw, multicut.spacings(tracks.visible, hw), maps
    of_tracks = _on_a_mover(*multicut.traits(*compared), own[pool])
    use = rng.permutation(len(of_tracks[1]))[:PAIRS]

    pairs = multicut.compare(*compared)
    parts = pairs.parts()
    first, second = np.triu_indices(len(parts), 1)
    shown = np.stack(pairs.ties(parts), axis=-1)[first, second]
    known = np.isfinite(shown).all(axis=1)
    of_parts = _on_a_mover(
        (first[known], second[known]),
        shown[known],
        np.array([_most(own[pool[k]])[0] for k in parts]),
    )

    sets, ties = multicut.split(tracks, scores, moving, likely, hw, maps, style)
    of_sets = movers.traits(sets, ties, tracks, scores, hw)
    on_one = np.array([(own[one] > 0).mean() >= ON_IT for one in sets], bool)
    on_it = of_sets[:, : len(movers.ON_ONE)], on_one
    return (of_tracks[0][use], of_tracks[1][use]), of_parts, (of_sets, largest(sets, own)), on_it


def _on_a_mover(pairs: tuple[Array, Array], shown: Array, own: Array) -> Shown:
    """Of pairs of which at least one is on a mover, what they show, and whether both are on the
    same.
    """
    first, second = (own[side] for side in pairs)
    use = (first > 0) | (second > 0)
    return shown[use], (first == second)[use]


def _most(own: Array) -> tuple[int, int]:
    """The commonest of labels (P,), and how often it is there."""
    values, counts = np.unique(own, return_counts=True)
    return int(values[counts.argmax()]), int(counts.max())


def largest(sets: list[Array], own: Array) -> Array:
    """Which of sets (P,) of tracks are the largest on their mover (S,) bool; own (N,) is each
    track's, 0 for none.
    """
    found, taken = np.zeros(len(sets), bool), {0}
    for i in sorted(range(len(sets)), key=lambda i: -len(sets[i])):
        most, count = _most(own[sets[i]])
        if count >= ON_IT * len(sets[i]) and most not in taken:
            found[i] = True
            taken.add(most)
    return found


def fit(shown: list[Shown], root: bool = False) -> tuple[Array, float]:
    """Weights and bias of a logistic regression over what clips show; with `root` a clip counts
    by the root of it.
    """
    x = np.concatenate([np.column_stack([one, np.ones(len(one))]) for one, _ in shown])
    y = np.concatenate([is_so for _, is_so in shown]).astype(np.float64)
    counts = np.concatenate(
        [np.full(len(one), len(one) ** (-0.5 if root else 0.0)) for one, _ in shown if len(one)]
    )
    found = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-(x @ found)))
        slope = x.T @ (counts * (y - p)) - RIDGE * found
        found = found + np.linalg.solve(
            (x * (counts * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(found)), slope
        )
    return found[:-1], float(found[-1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Fit what samotion makes of pairs and sets of tracks."
    )
    parser.add_argument("--engine-dir", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, help="folder with photos/, instances/, regions/; none: procedural only"
    )
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(520_000, 520_400), metavar=("FIRST", "END")
    )
    args = parser.parse_args()
    library = open_library(args.data, held_out=False)
    clips = []
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        for seed in range(*args.seeds):
            clip, max_tracks = drawn(seed, library, NO_MOVER, STILL_CAMERA)
            seen = second_look(
                engines,
                clip.frames,
                *scored(engines, clip.frames, max_tracks, seed),
                SECOND_TRACKS,
                seed,
            )
            labels, rng = np.where(clip.masks, clip.labels, 0), np.random.default_rng(seed)
            clips.append(
                shown_by(*seen, labels, engines.preset.prompting, NANO_CUES.grow_threshold, rng)
            )
            print(seed, *(len(is_so) for _, is_so in clips[-1]), flush=True)
    for (name, root), parts in zip(FITTED.items(), zip(*clips)):
        weights, bias = fit(list(parts), root)
        print(f"{name} {np.round(weights, 2).tolist()}, bias {bias:.2f}")


if __name__ == "__main__":
    main()
