"""Fit the numbers of samotion.multicut: log odds that two tracks are of one object, by logistic regression.

`python -m samotion_training.fit_multicut --engine-dir engines --data DATA` renders clips, runs nano's nets over them,
and prints WEIGHTS and BIAS. The motion map decides what pairs show, so this comes after it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import samotion
from samotion import motion_map, multicut
from samotion.engine import Engines
from samotion.tracks import Tracks

from samotion_training.data import open_library
from samotion_training.make_residuals import FRAMES, SHORT_SIDE_PX, TRACK_CHANCES, TRACKS, scored
from samotion_training.motion_data import starts_on
from samotion_training.render import render, shown_hw
from samotion_training.scenes import SceneSettings, build_scene

Array = np.ndarray[Any, Any]
PAIRS = 3000  # of a clip, at most
ROUNDS = 20  # Newton steps
RIDGE = 1e-3


def pairs_of(
    engines: Engines, frames: Array, tracks: Tracks, scores: Array, labels: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """What pairs of likely tracks show (Q,5), and whether they are of one object (Q,) bool; `labels` (T,H,W).

    At least one of the two is on an object.
    """
    hw = frames.shape[1], frames.shape[2]
    maps = motion_map.MotionMaps(engines, frames, tracks, scores)
    weighed = motion_map.weigh(scores, tracks, maps, hw)
    likely = np.flatnonzero(weighed > engines.preset.prompting.grow_threshold)
    spacing = multicut.spacings(tracks.visible, hw)
    (first, second), shown = multicut.traits(tracks.take(likely), weighed[likely], hw, spacing, maps)
    own = starts_on(tracks, labels)[likely]
    use = np.flatnonzero((own[first] > 0) | (own[second] > 0))
    use = rng.permutation(use)[:PAIRS]
    return shown[use], own[first[use]] == own[second[use]]


def fit(shown: list[Array], same: list[Array]) -> tuple[Array, float]:
    """Weights (5,) and bias of a logistic regression over clips' pairs; a clip counts by the root of its pairs."""
    x = np.concatenate([np.column_stack([one, np.ones(len(one))]) for one in shown])
    y = np.concatenate(same).astype(np.float64)
    counts = np.concatenate([np.full(len(one), len(one) ** -0.5) for one in same])
    found = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-(x @ found)))
        slope = x.T @ (counts * (y - p)) - RIDGE * found
        found = found + np.linalg.solve((x * (counts * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(found)), slope)
    return found[:-1], float(found[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit what samotion.multicut makes of pairs of tracks.")
    parser.add_argument("--engine-dir", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with photos/, instances/, regions/; none: procedural only")
    parser.add_argument("--seeds", type=int, nargs=2, default=(520_000, 520_400), metavar=("FIRST", "END"))
    args = parser.parse_args()
    library = open_library(args.data, held_out=False)
    pairs = []
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        for seed in range(*args.seeds):
            rng = np.random.default_rng(seed)
            scene = build_scene(seed, library, SceneSettings(frames=FRAMES))
            clip = render(scene, shown_hw(scene, SHORT_SIDE_PX))
            tracks, scores = scored(engines, clip.frames, int(rng.choice(TRACKS, p=TRACK_CHANCES)), seed)
            labels = np.where(clip.masks, clip.labels, 0)
            shown, same = pairs_of(engines, clip.frames, tracks, scores, labels, rng)
            if len(same):
                pairs.append((shown, same))
                print(seed, len(same), flush=True)
    weights, bias = fit(*map(list, zip(*pairs)))
    print("WEIGHTS", np.round(weights, 2).tolist(), "BIAS", round(bias, 2))


if __name__ == "__main__":
    main()
