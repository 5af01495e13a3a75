"""Tracks, depth and features of scenes as the exported nano engines really make them: training data
for motion.

`python -m samotion_training.make_tracks FOLDER --engine-dir engines --pool POOL`: clips already
there are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import samotion
from samotion.backends.engines import Engines
from samotion.commands.streams import note
from samotion.errors import InputError

from samotion_training import commands, motion_data, samples

SHORTEST = 16  # frames


def make(
    engines: Engines, sample: samples.Sample, seed: int, max_tracks: int
) -> motion_data.TrackSet:
    """One clip of the pool, cut to a random length of at least SHORTEST frames, through the
    engines.
    """
    rng = np.random.default_rng(seed)
    count = len(sample.frames)
    length = int(rng.integers(min(SHORTEST, count), count + 1))
    part = slice((count - length) // 2, (count - length) // 2 + length)
    masks = sample.instance_moving[sample.labels[part]]
    return motion_data.from_nets(engines, sample.frames[part], masks, max_tracks, seed)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(
        description="Run the nano tracker, depth and dino over a pool of scenes."
    )
    options.add_argument("folder", type=Path)
    options.add_argument("--engine-dir", type=Path, required=True)
    options.add_argument("--pool", type=Path, required=True)
    options.add_argument("--max-tracks", type=int, default=256)
    options.add_argument("--clips", type=int, default=10**9, help="stop after so many")
    return options


def _work(args: argparse.Namespace) -> None:
    commands.require_positive(args, "max_tracks", "clips")
    paths = samples.clips_of(args.pool, "frames", "labels", "instance_moving")
    if unnumbered := [path for path in paths if not path.stem.isdecimal()]:
        raise InputError(
            f"{unnumbered[0]}: got a name that is no number, expected the clip's seed; rename it as"
            " 000000.npz"
        )
    commands.require_folder(args.folder)
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        for path in paths[: args.clips]:
            out = args.folder / path.name
            if not out.exists():
                made = make(engines, samples.load(path), int(path.stem), args.max_tracks)
                if not len(made.moving):
                    note(f"{path}: no tracks were found in it; it is left out")
                    continue
                motion_data.save(out, made)
                print(out, flush=True)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
