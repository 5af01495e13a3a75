"""Figures of exported nano engines on held-out scenes, and of motion scores on annotated video.

`python -m samotion_training.evaluate --engine-dir engines --pool HELD_OUT [--davis DAVIS]`. The
pool is one made with `--held-out`. No net is trained on DAVIS (JPEGImages/480p, Annotations/480p);
fit_objects fits the weights of confidence with some of its sequences.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import samotion
from samotion.backends.engines import Engines
from samotion.clips.video import IMAGE_SUFFIXES
from samotion.errors import InputError, UsageError
from samotion_bench.datasets import sorted_files
from samotion_bench.labels import read_labels, stack_labels
from samotion_bench.scenes.data import read_rgb
from samotion_bench.track_metrics import area_under_curve, track_scores

from samotion_training import commands, motion_data, samples

POINTS = 128
CALM = 0.5  # a clip without movers raises a false alarm when 10 tracks or more score above this
ALARM_TRACKS = 10
LONG_SIDE_PX = 480
# what a clip of a pool is measured by
POOL_FIELDS = ("frames", "disparity", "labels", "instance_moving", "xy")


def tracker(engines: Engines, sample: samples.Sample) -> dict[str, float]:
    """TAP-Vid figures at 256 px; each point is asked for at the first frame in which it is
    visible.
    """
    chosen = np.flatnonzero(sample.visible.any(1))
    chosen = chosen[np.random.default_rng(0).permutation(len(chosen))[:POINTS]]
    xy, visible = sample.xy[chosen] + np.float32(0.5), sample.visible[chosen]
    first = visible.argmax(1)
    yx = xy[np.arange(len(chosen)), first][:, ::-1]
    queries = np.concatenate([first[:, None], yx], 1).astype(np.float32)
    raw = samotion.tracks.track(engines, sample.frames, queries)
    visibility, confidence = samotion.tracks.visibility_of(raw.occlusion, raw.expected_dist)
    sure = visibility * confidence > 0.5
    asked = np.arange(visible.shape[1]) > first[:, None]
    found = track_scores(raw.tracks, sure, xy, visible, asked)
    return {
        "delta_avg": found.delta_avg,
        "occlusion_accuracy": found.occlusion_accuracy,
        "AJ": found.average_jaccard,
    }


def depth(engines: Engines, sample: samples.Sample) -> dict[str, float]:
    """Mean absolute error of disparity per frame after the best scale and shift, in shares of
    the frame's range.
    """
    answer = samotion.depth.estimate(engines, sample.frames[:: samples.DEPTH_EVERY])
    errors = []
    for a, b in zip(answer, sample.disparity.astype(np.float32)):
        truth = (b - b.min()) / max(float(b.max() - b.min()), 1e-6)
        x = np.stack([a.ravel(), np.ones(a.size, np.float32)], 1)
        fit = np.linalg.lstsq(x, truth.ravel(), rcond=None)[0]
        errors.append(float(np.abs(x @ fit - truth.ravel()).mean()))
    return {"depth_error": float(np.mean(errors))}


def motion(
    engines: Engines, frames: np.ndarray, masks: np.ndarray, max_tracks: int
) -> tuple[dict[str, float | None], np.ndarray, np.ndarray]:
    """AUC of the scores, or the false alarm where nothing moves; and the scores and truth
    themselves.
    """
    tracks = motion_data.from_nets(engines, frames, masks, max_tracks, seed=0)
    score = engines["motion"](**motion_data.inputs_of(tracks))["score"]
    if not masks.any():
        return {"false_alarm": float((score > CALM).sum() >= ALARM_TRACKS)}, score, tracks.moving
    return {"motion_auc": area_under_curve(score, tracks.moving)}, score, tracks.moving


def sequences(folder: Path) -> list[Path]:
    """The folders of frames in a copy of DAVIS. Raises InputError where there are none, or where
    one has no pictures or no masks.
    """
    frames, masks = folder / "JPEGImages" / "480p", folder / "Annotations" / "480p"
    found = sorted(path for path in frames.glob("*") if path.is_dir())
    if not found:
        raise InputError(
            f"{frames}: got no folders of frames, expected those of DAVIS; name the folder that"
            " JPEGImages and Annotations lie in"
        )
    for path in found:
        if not pictures_of(path):
            raise InputError(f"{path}: got no pictures, expected frames; copy DAVIS again")
        if not (masks / path.name).is_dir():
            raise InputError(
                f"{masks / path.name}: got no folder, expected masks for {path}; copy DAVIS again"
            )
    return found


def pictures_of(sequence: Path) -> tuple[Path, ...]:
    """The frames of one of `sequences`, in order."""
    return sorted_files(sequence, IMAGE_SUFFIXES)


def masks_of(sequence: Path, pictures: Sequence[Path]) -> np.ndarray:
    """What moves in some frames of a sequence (T, H, W) bool: anything that is annotated, be it
    white, a label, or a colour of a palette. Raises InputError for a mask that is not there.
    """
    folder = sequence.parents[2] / "Annotations" / "480p" / sequence.name
    maps = [read_labels(folder / f"{path.stem}.png") for path in pictures]
    return stack_labels(maps, folder) > 0


def davis(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, frames (T, H, W, 3) at LONG_SIDE_PX and masks (T, H, W) bool of each annotated
    sequence.
    """
    for sequence in sequences(folder):
        frames, masks = [], []
        pictures = pictures_of(sequence)
        for path, mark in zip(pictures, masks_of(sequence, pictures)):
            image = read_rgb(path)
            size = (LONG_SIDE_PX, round(image.shape[0] * LONG_SIDE_PX / image.shape[1]))
            frames.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            small = cv2.resize(mark.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            masks.append(small > 0)
        yield sequence.name, np.stack(frames), np.stack(masks)


def on_scenes(engines: Engines, paths: Sequence[Path], max_tracks: int) -> dict[str, float | None]:
    """Means over clips of a pool, None where no clip has a figure, plus the AUC over all their
    tracks together (one threshold for all clips).
    """
    figures: dict[str, list[float | None]] = {}
    scores, truths = [], []
    for path in paths:
        sample = samples.load(path)
        masks = sample.instance_moving[sample.labels]
        moved, score, truth = motion(engines, sample.frames, masks, max_tracks)
        scores.append(score)
        truths.append(truth)
        for name, value in {**tracker(engines, sample), **depth(engines, sample), **moved}.items():
            figures.setdefault(name, []).append(value)
    means = {name: mean_of(values) for name, values in figures.items()}
    over_all = area_under_curve(np.concatenate(scores), np.concatenate(truths))
    return {**means, "motion_auc_over_all": over_all}


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the values that there are; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    options = argparse.ArgumentParser(description="Measure exported nano engines.")
    options.add_argument("--engine-dir", type=Path, required=True)
    options.add_argument("--pool", type=Path, help="held-out clips")
    options.add_argument(
        "--davis", type=Path, help="folder with JPEGImages/480p and Annotations/480p"
    )
    options.add_argument("--clips", type=int, default=24)
    options.add_argument("--max-tracks", type=int, default=512)
    return options


def _work(args: argparse.Namespace) -> None:
    if not (args.pool or args.davis):
        raise UsageError("nothing to measure on; expected --pool DIR or --davis DIR")
    commands.require_positive(args, "clips", "max_tracks")
    paths = samples.clips_of(args.pool, *POOL_FIELDS) if args.pool else []
    if args.davis:
        sequences(args.davis)
    found: dict[str, Any] = {}
    with samotion.open_engines(args.engine_dir, device="cpu") as engines:
        if args.pool:
            found["scenes"] = on_scenes(engines, paths[: args.clips], args.max_tracks)
        if args.davis:
            found["davis_motion_auc"] = {
                # none where nothing moves
                name: motion(engines, frames, masks, args.max_tracks)[0].get("motion_auc")
                for name, frames, masks in davis(args.davis)
            }
    print(json.dumps(found, indent=2))


def main() -> None:
    """The command."""
    commands.run(parser(), _work)


if __name__ == "__main__":
    main()
