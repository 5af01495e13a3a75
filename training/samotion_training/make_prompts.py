"""Prompts as samotion-run draws them, over scenes whose objects are known: training data for the
nano SAM 2.

`python -m samotion_training.make_prompts FOLDER --engine-dir engines --data DATA`: seeds already
there are skipped. The tracks and the motion map decide what is drawn, so this comes after them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from samotion import sam2
from samotion.backends.engines import Engines
from samotion.cues.densify import densify
from samotion.cues.prompting import group_objects, prompt_objects
from samotion.presets import NANO_CUES
from samotion.prompts import select_sure, visible_members
from samotion.settings import Settings
from samotion_bench.scenes.data import Library
from samotion_bench.track_metrics import starts_on

from samotion_training import commands, samples
from samotion_training.make_residuals import RESERVED_TRACKS, arguments, drawn, fill, scored
from samotion_training.sam2_prompts import POINTS, Prompt

Rng = np.random.Generator
EVERY = 2  # frames; prompts on the others are much the same
STILL_CAMERA, NO_MOVER = 0.3, 0.2  # shares of clips
LEAST_SHARE = 0.2  # of an object's tracks must be on a mover for it to be part of what is wanted
CROP = 0.75  # least share of each side that is shown


class Example(NamedTuple):
    """Some frames of one clip, and K prompts of what was found there."""

    frames: np.ndarray  # (F, H, W, 3) uint8 RGB
    labels: np.ndarray  # (F, H, W) uint8: the movers, 0 is still
    frame: np.ndarray  # (K,) index of the frame
    logits: np.ndarray  # (K, S/4, S/4) float16: the coarse mask
    points: np.ndarray  # (K, POINTS, 2) float32 in [0,1], x and y
    signs: np.ndarray  # (K, POINTS) int32: 1 the object, 0 not, -1 padding
    # (K, L) bool by label: what the prompt is drawn for; nothing: no mover is there
    wanted: np.ndarray


def make(engines: Engines, seed: int, library: Library) -> Example:
    """The example of a seed."""
    clip, max_tracks = drawn(seed, library, NO_MOVER, STILL_CAMERA)
    return prompts_of(engines, clip.frames, clip.moving_labels, max_tracks, seed)


def prompts_of(
    engines: Engines, frames: np.ndarray, labels: np.ndarray, max_tracks: int, seed: int
) -> Example:
    """What samotion-run would prompt SAM 2 with in frames (T,H,W,3), whose movers are `labels`
    (T,H,W).
    """
    hw = frames.shape[1], frames.shape[2]
    tracks, scores, maps = densify(
        engines, frames, *scored(engines, frames, max_tracks, seed), RESERVED_TRACKS, seed
    )
    prompting = replace(engines.preset.prompting, every_frames=EVERY)
    cues = engines.preset.cues or NANO_CUES
    images = sam2.Features(engines, frames)
    candidate = scores > cues.grow_threshold
    every = group_objects(tracks, scores, candidate, maps, hw, prompting)
    sure, _ = select_sure(every, engines.preset.min_confidence)
    chosen = sure[: Settings.max_objects]
    visible = [visible_members(one, tracks, prompting) for one in chosen]
    objects = prompt_objects(chosen, visible, tracks, candidate, frames, maps, images.mask_side)
    own = starts_on(tracks, labels)
    rows = []
    for one in objects:
        shares = np.bincount(own[one.members], minlength=int(labels.max()) + 1) / len(one.members)
        wanted = (shares >= LEAST_SHARE) & (np.arange(len(shares)) > 0)
        rows += [(*_row(click, hw), wanted) for click in one.clicks if click.frame % EVERY == 0]
    columns = [np.array(column) for column in zip(*rows)] or [np.zeros(0, int)] * 5
    return Example(frames[::EVERY], labels[::EVERY], *columns)


def _row(click: sam2.Click, hw: tuple[int, int]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    assert click.mask is not None
    points, signs = np.zeros((POINTS, 2), np.float32), np.full(POINTS, -1, np.int32)
    points[: len(click.labels)] = click.points_xy / np.array(hw[::-1])
    signs[: len(click.labels)] = click.labels
    return click.frame // EVERY, click.mask.astype(np.float16), points, signs


def draw(
    example: Example, size_px: int, count: int, rng: Rng
) -> tuple[np.ndarray, list[np.ndarray], list[Prompt]]:
    """One frame (S,S,3) with up to `count` prompts and the masks (S,S) bool that they are for.

    Cropped and mirrored at random. A prompt for nothing has an empty mask and counts as noise.
    """
    at = int(rng.choice(np.unique(example.frame)))
    picked = rng.permutation(np.flatnonzero(example.frame == at))[:count]
    span = rng.uniform(CROP, 1, 2) if rng.random() < 0.5 else np.ones(2)
    corner, mirror = rng.random(2) * (1 - span), rng.random() < 0.5

    def view(picture: np.ndarray, side: int, how: int) -> np.ndarray:
        """The part of a picture that is shown, as a square."""
        scale = np.array(picture.shape[1::-1]) * span / side
        offset = (corner * picture.shape[1::-1]) + scale / 2 - 0.5
        matrix = np.column_stack([np.diag(scale), offset])
        flags = how | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(
            picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return np.ascontiguousarray(seen[:, ::-1] if mirror else seen)

    labels = view(example.labels[at], size_px, cv2.INTER_NEAREST)
    masks, prompts = [], []
    for k in picked:
        masks.append(
            example.wanted[k][labels] if example.wanted[k].any() else np.zeros(labels.shape, bool)
        )
        logits = view(example.logits[k].astype(np.float32), size_px // 4, cv2.INTER_LINEAR)
        points = (example.points[k] - corner) / span
        signs = np.where(((points > 0) & (points < 1)).all(-1), example.signs[k], -1)
        points[:, 0] = 1 - points[:, 0] if mirror else points[:, 0]
        points = np.where(signs[:, None] < 0, 0, points * size_px).astype(np.float32)
        prompts.append(Prompt(logits, True, points, signs.astype(np.int32), not masks[-1].any()))
    return view(example.frames[at], size_px, cv2.INTER_LINEAR), masks, prompts


def load(path: Path) -> Example:
    """An example that `fill` wrote. Raises InputError for a broken one."""
    return samples.read(path, Example, "an example of samotion_training.make_prompts")


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    return arguments("Render clips and prompt what nano finds to move in them.", (510_000, 510_700))


def main() -> None:
    """The command."""
    commands.run(parser(), lambda args: fill(make, args))


if __name__ == "__main__":
    main()
