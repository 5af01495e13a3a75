"""A pool of rendered clips on disk, reused many times with augmentation: rendering is slower than
training on it.

`python -m samotion_training.pool FOLDER --data DATA --seeds 0 500`: seeds already there are
skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from samotion.errors import UsageError
from samotion_bench.scenes.data import Library, open_library
from samotion_bench.scenes.render import render, surface_points, track
from samotion_bench.scenes.scenes import Build, SceneSettings, build_scene

from samotion_training import commands
from samotion_training.samples import DEPTH_EVERY, POINTS, Sample, points_only, save, seen_disparity


def make_sample(
    seed: int,
    library: Library,
    settings: SceneSettings,
    size_px: int = 256,
    build: Build = build_scene,
) -> Sample:
    """Render the scene of `seed` and follow POINTS of its surface points."""
    scene = build(seed, library, settings)
    clip = render(scene, (size_px, size_px))
    truth = track(scene, clip, surface_points(np.random.default_rng(seed), clip, POINTS))
    return Sample(
        clip.frames,
        clip.disparity[::DEPTH_EVERY].astype(np.float16),
        clip.labels,
        clip.moving,
        truth.xy,
        truth.visible,
        truth.instance.astype(np.int16),
        seen_disparity(clip, truth.xy).astype(np.float16),
        np.array(scene.camera.aspect, np.float32),
    )


def fill(
    folder: Path,
    library: Library,
    settings: SceneSettings,
    seeds: range,
    size_px: int = 256,
    slim: bool = False,
    build: Build = build_scene,
) -> None:
    """Render the clips of `seeds` that `folder` does not hold yet; `slim`: keep the points
    alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"{seed:06d}.npz"
        if not path.exists():
            sample = make_sample(seed, library, settings, size_px, build)
            save(path, points_only(sample) if slim else sample)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(
        description="Render clips with exact tracks and depth into a pool on disk."
    )
    options.add_argument("folder", type=Path)
    options.add_argument(
        "--data", type=Path, help="folder with photos/, instances/, regions/; none: procedural only"
    )
    options.add_argument(
        "--held-out", action="store_true", help="paint with textures and photos that are kept aside"
    )
    options.add_argument(
        "--seeds", type=int, nargs=2, metavar=("FIRST", "END"), help="default: 0 500; see --from"
    )
    options.add_argument(
        "--from",
        dest="source",
        nargs=2,
        metavar=("LAYOUT", "DIR"),
        help="convert a dataset instead: movi-f, kubric-tracks, dynamic-replica or hoi4d, in"
        " windows of --frames; "
        "--seeds then numbers the clips, and says where to stop (default: 0 and at the end)",
    )
    options.add_argument("--frames", type=int, default=32)
    options.add_argument("--size", type=int, default=256, help="px of a side of the pictures")
    options.add_argument(
        "--no-mover-share", type=float, default=SceneSettings.no_mover_share, help="share of scenes"
    )
    options.add_argument(
        "--ground-share", type=float, default=SceneSettings.ground_share, help="share of scenes"
    )
    commands.add_drives(options)
    options.add_argument(
        "--points-only", action="store_true", help="keep tracks alone (for training motion)"
    )
    return options


def main() -> None:
    """The command."""
    commands.run(parser(), lambda args: (_convert if args.source else _render)(args))


def _render(args: argparse.Namespace) -> int:
    _require_numbers(args)
    seeds = commands.seeds_of(*(args.seeds or (0, 500)))
    commands.require_folder(args.folder)
    library = open_library(args.data, args.held_out)
    shares = {"no_mover_share": args.no_mover_share, "ground_share": args.ground_share}
    settings = SceneSettings(frames=args.frames, texture_px=args.size, **shares)
    fill(args.folder, library, settings, seeds, args.size, args.points_only, args.build)
    return 0


def _convert(args: argparse.Namespace) -> int:
    from samotion_training import datasets

    layout, dataset = args.source
    if layout not in datasets.SOURCES:
        raise UsageError(
            f"no layout {layout!r}; expected --from with one of {', '.join(datasets.SOURCES)}"
        )
    _require_numbers(args)
    if args.seeds:
        commands.seeds_of(*args.seeds)
    commands.require_folder(args.folder)
    first, end = args.seeds or (0, None)
    return datasets.convert(
        layout, Path(dataset), args.folder, (first, end), args.frames, args.size, args.points_only
    )


def _require_numbers(args: argparse.Namespace) -> None:
    commands.require_positive(args, "size")
    if args.frames < 2:
        raise UsageError(f"--frames: got {args.frames}, expected 2 or more; points are followed")


if __name__ == "__main__":
    main()
