"""Residuals of scenes, as nano's tracks and scores give them, and what moves in which cells:
training data for the motion map.

`python -m samotion_training.make_residuals FOLDER --engine-dir engines --data DATA`: seeds already
there are skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import samotion
from samotion import motion
from samotion.backends.engines import Engines
from samotion.contract import MAP_CHANNELS
from samotion.cues.densify import RESERVED_SHARE
from samotion.cues.motion_residuals import MotionResiduals
from samotion.errors import InputError
from samotion.presets import NANO
from samotion.tracks.records import Tracks
from samotion_bench.scenes.data import Library, open_library
from samotion_bench.scenes.render import Clip, render, shown_hw
from samotion_bench.scenes.scenes import Build, SceneSettings, build_scene

from samotion_training import commands, samples
from samotion_training.motion_data import through_nets

FRAMES, EVERY = 24, 3  # of a clip; every third gives a residual
SHORT_SIDE_PX = 256
TRACKS, TRACK_CHANCES = (640, 1024, 1536), (0.55, 0.3, 0.15)
RESERVED_TRACKS = NANO.max_tracks // RESERVED_SHARE
STILL_CAMERA, NO_MOVER = 0.3, 0.15  # shares of clips
SMALLEST = 0.002  # movers that take a smaller share of the clip's pixels are left out


Make = Callable[[Engines, int, Library], "NamedTuple | None"]


class Example(NamedTuple):
    """Some frames of one clip."""

    residuals: np.ndarray  # (F, GH, GW, MAP_CHANNELS) float16
    moving: np.ndarray  # (F, GH, GW) uint8: which share of a cell moves, 255 for all
    labels: np.ndarray  # (F, GH, GW) uint8: which object moves there, 0 for none


def make(
    engines: Engines, seed: int, library: Library, build: Build = build_scene
) -> Example | None:
    """The example of a seed; None where its movers hardly show."""
    clip, max_tracks = drawn(seed, library, NO_MOVER, STILL_CAMERA, build)
    if 0 < clip.masks.mean() < SMALLEST:
        return None
    residuals = MotionResiduals(clip.frames, *scored(engines, clip.frames, max_tracks, seed))
    frames = range(seed % EVERY, FRAMES, EVERY)
    made = np.stack([residuals[t] for t in frames]).astype(np.float16)
    cells = made.shape[2], made.shape[1]
    moving = [
        cv2.resize(clip.masks[t].astype(np.float32), cells, interpolation=cv2.INTER_AREA)
        for t in frames
    ]
    movers = clip.moving_labels
    labels = [cv2.resize(movers[t], cells, interpolation=cv2.INTER_NEAREST) for t in frames]
    return Example(made, np.rint(255 * np.stack(moving)).astype(np.uint8), np.stack(labels))


def drawn(
    seed: int, library: Library, no_mover: float, still_camera: float, build: Build = build_scene
) -> tuple[Clip, int]:
    """The clip of a seed, and how many tracks to follow in it.

    `no_mover` and `still_camera` are the shares of clips in which nothing moves, and of those in
    which only movers do.
    """
    rng = np.random.default_rng(seed)
    draw = rng.random()
    settings = SceneSettings(
        frames=FRAMES,
        no_mover_share=float(draw < no_mover),
        still_camera_share=float(draw > 1 - still_camera),
    )
    scene = build(seed, library, settings)
    return render(scene, shown_hw(scene, SHORT_SIDE_PX)), int(rng.choice(TRACKS, p=TRACK_CHANCES))


def scored(
    engines: Engines, frames: np.ndarray, max_tracks: int, seed: int
) -> tuple[Tracks, np.ndarray]:
    """Tracks of frames (T,H,W,3) and their scores (N,) as samotion-run makes them before the
    motion map.
    """
    found, disparity, features = through_nets(engines, frames, max_tracks, seed)
    hw = frames.shape[1], frames.shape[2]
    return found, motion.score_tracks(engines, hw, found, disparity, features)


def load(path: Path) -> Example:
    """An example that `fill` wrote. Raises InputError for a broken one, or one of another
    samotion.
    """
    example = samples.read(path, Example, "an example of samotion_training.make_residuals")
    if (channels := example.residuals.shape[-1]) != MAP_CHANNELS:
        raise InputError(
            f"{path}: its residuals have {channels} channels, expected {MAP_CHANNELS}; make its"
            " folder again with samotion_training.make_residuals"
        )
    return example


def arguments(description: str, seeds: tuple[int, int]) -> argparse.ArgumentParser:
    """What `fill` takes."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("folder", type=Path)
    options.add_argument("--engine-dir", type=Path, required=True)
    options.add_argument(
        "--data", type=Path, help="folder with photos/, instances/, regions/; none: procedural only"
    )
    options.add_argument("--seeds", type=int, nargs=2, default=seeds, metavar=("FIRST", "END"))
    return options


def fill(make: Make, args: argparse.Namespace) -> None:
    """Write the examples of seeds that a folder does not hold yet; `make` gives None for a seed to
    be left out.
    """
    seeds = commands.seeds_of(*args.seeds)
    library = open_library(args.data, held_out=False)
    commands.require_folder(args.folder)
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        for seed in seeds:
            path = args.folder / f"{seed:06d}.npz"
            if not path.exists() and (example := make(engines, seed, library)) is not None:
                samples.save(path, example)
                print(path, flush=True)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = arguments(
        "Render clips and run nano's tracker and motion net over them.", (500_000, 500_300)
    )
    commands.add_drives(options)
    return options


def _work(args: argparse.Namespace) -> None:
    fill(lambda engines, seed, library: make(engines, seed, library, args.build), args)


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
