"""Prompts as a run draws them from tracks, simulated from true masks with the errors that tracks
really have.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from samotion import dino
from samotion.cues import appearance
from samotion.cues.coarse_masks import LOGIT_MAX, splat
from samotion.cues.mask_prompts import APPEARANCE_LOGITS
from samotion.cues.motion_residuals import CELL_PX, LONG_SIDE_PX
from samotion.prompts import spread

POINTS = 6  # clicks per prompt; shorter lists are padded with label -1
NEGATIVE_CLICKS = 3  # of these at most; runs have none, those who click may
MASK_PX = 192  # longer side of the picture on which a training prompt is drawn
WITH_APPEARANCE = 0.72  # share of coarse masks to which appearance scores are added


class Prompt(NamedTuple):
    """One object's prompt on one square image of side S."""

    logits: np.ndarray  # (S/4,S/4) float32, the coarse mask
    has_mask: bool  # False: clicks only, `logits` is to be ignored
    points: np.ndarray  # (POINTS,2) float32, x and y px of S
    labels: np.ndarray  # (POINTS,) int32; 1 the object, 0 not, -1 padding
    is_noise: bool  # True: the prompt follows no object, nothing is there to segment


def simulate(
    mask: np.ndarray, aspect: float, rng: np.random.Generator, image: np.ndarray | None = None
) -> Prompt:
    """Draws a prompt for `mask` (S,S) bool, an image squeezed to a square from one `aspect` times
    as wide as high.

    With the image (S,S,3) uint8, mostly with appearance scores, as a run does.
    """
    if rng.random() < 0.12:
        return _clicks_only(mask, rng)
    is_noise = rng.random() < 0.05
    xy, positive = noisy_tracks(np.zeros_like(mask) if is_noise else mask, rng)
    if not positive.any():
        positive[rng.choice(len(xy), 3)] = True
        is_noise = is_noise or not mask.any()
    small = None
    if image is not None and rng.random() < WITH_APPEARANCE:
        small = shrunk(image, aspect)
    return drawn(xy, positive, mask.shape[0], aspect, rng, is_noise, small)


def drawn(
    xy: np.ndarray,
    positive: np.ndarray,
    size_px: int,
    aspect: float,
    rng: np.random.Generator,
    is_noise: bool = False,
    small: np.ndarray | None = None,
) -> Prompt:
    """The prompt of labelled tracks: xy (N,2) in [0,1], positive (N,) bool. Now and then without
    its clicks.

    With `small`, the image at the size of a motion map, appearance scores are added.
    """
    hw = (round(MASK_PX / max(aspect, 1)), round(MASK_PX * min(aspect, 1)))
    coarse = splat(xy * hw[::-1], positive[None], hw)[0]
    if small is not None and positive.any() and not positive.all():
        cells = appearance.colour_and_place(small, small.shape[:2])
        model = appearance.fit(dino.sample(cells, xy * hw[::-1], hw), positive)
        large = cv2.resize(
            appearance.scores(cells, [model])[0], hw[::-1], interpolation=cv2.INTER_LINEAR
        )
        coarse = (coarse + APPEARANCE_LOGITS * large).clip(-LOGIT_MAX, LOGIT_MAX)
    logits = cv2.resize(coarse, (size_px // 4,) * 2, interpolation=cv2.INTER_LINEAR)
    yes, no = xy[positive] * hw[::-1], xy[~positive] * hw[::-1]
    yes = yes[spread(yes)] if len(yes) else yes
    if len(no) and len(yes):
        distance = np.linalg.norm(no[:, None] - (xy[positive] * hw[::-1])[None], axis=-1).min(
            axis=1
        )
        no = no[np.argsort(distance)[:NEGATIVE_CLICKS]]
    if rng.random() < 0.1:
        yes, no = yes[:0], no[:0]
    return Prompt(
        logits,
        True,
        *_padded(yes / hw[::-1] * size_px, no[:NEGATIVE_CLICKS] / hw[::-1] * size_px),
        is_noise,
    )


def shrunk(image: np.ndarray, aspect: float) -> np.ndarray:
    """A square image (S,S,3) uint8 in its own proportions, at the size of a motion map."""
    cells = LONG_SIDE_PX / CELL_PX
    size = round(cells * min(aspect, 1)), round(cells / max(aspect, 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def noisy_tracks(mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tracks over an image with labels of `mask` (S,S) as a motion net gives them: xy (N,2) in
    [0,1], positive (N,).

    The labels bleed or shrink by up to 3 % of the image, are displaced smoothly, wrong here and
    there, and sometimes miss a whole part of the object or most of its tracks.
    """
    size = mask.shape[0]
    xy = _places(rng)
    looked_up = _grown(mask, rng)
    seen = xy + _displacement(xy, rng)
    cell = np.clip(seen * size, 0, size - 1).astype(int)
    inside = looked_up[cell[:, 1], cell[:, 0]]
    positive = inside.copy()
    positive[inside & (rng.random(len(xy)) < rng.choice([0, 0.05, 0.2]))] = False
    positive[~inside & (rng.random(len(xy)) < rng.choice([0, 0, 0.005, 0.02]))] = True
    keep = np.ones(len(xy), bool)
    if rng.random() < 0.25 and inside.any():
        positive[_chunk(xy, xy[inside], rng)] = False
    if rng.random() < 0.3:
        keep &= ~inside | (rng.random(len(xy)) < rng.uniform(0.2, 1))
    if rng.random() < 0.3:
        keep &= rng.random(len(xy)) < 0.5 + 0.5 * xy[:, rng.integers(2)]
    return (xy[keep], positive[keep]) if keep.any() else (xy, positive)


def _places(rng: np.random.Generator) -> np.ndarray:
    """250 to 1500 points in [0,1], on a jittered grid or anywhere."""
    count = int(np.exp(rng.uniform(np.log(250), np.log(1500))))
    if rng.random() < 0.5:
        return rng.random((count, 2))
    columns = max(4, round(np.sqrt(count * 1.6)))
    rows = max(4, count // columns)
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    jitter = rng.uniform(0, 0.8) * (rng.random((columns * rows, 2)) - 0.5) / (columns, rows)
    return np.asarray(np.clip(np.stack([x.ravel(), y.ravel()], axis=1) + jitter, 0, 0.9999))


def _grown(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`mask` grown (often) or shrunk (seldom) by up to 3 % of the image."""
    kind, radius = rng.random(), round(mask.shape[0] * rng.uniform(0.003, 0.03))
    if kind > 0.6 or radius < 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    if kind < 0.4:
        return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), bool)
    eroded: np.ndarray = cv2.erode(mask.astype(np.uint8), kernel).astype(bool)
    return mask if eroded.sum() < 0.3 * mask.sum() else eroded


def _displacement(xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth field at xy (N,2), up to about 2 % of the image, with a common shift now and
    then.
    """
    field = rng.normal(size=(7, 7, 2)).astype(np.float32) * rng.uniform(0, 0.012)
    if rng.random() < 0.15:
        field += rng.normal(size=2).astype(np.float32) * 0.012
    place = (xy * 6).astype(np.float32)
    return np.asarray(
        cv2.remap(field, place[:, None, 0], place[:, None, 1], cv2.INTER_LINEAR)
    ).reshape(-1, 2)


def _chunk(xy: np.ndarray, own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which points lie in a part of the object: beyond a random line through it, or in a disc on
    it.
    """
    centre, extent = own[rng.integers(len(own))], own.std(axis=0).mean() + 0.01
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        offset = (xy - own.mean(axis=0)) @ np.array([np.cos(angle), np.sin(angle)])
        return np.asarray(offset > rng.uniform(0.3, 1.5) * extent)
    return np.asarray(np.linalg.norm(xy - centre, axis=1) < rng.uniform(0.3, 1.0) * extent)


def _clicks_only(mask: np.ndarray, rng: np.random.Generator) -> Prompt:
    """One to three true clicks on the object and up to three beside it."""
    size = mask.shape[0]
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    yes = _some(inner if inner.any() else mask, int(rng.integers(1, 4)), rng)
    no = _some(~mask, int(rng.integers(0, 4)), rng)
    return Prompt(np.zeros((size // 4,) * 2, np.float32), False, *_padded(yes, no), not mask.any())


def _some(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    places = np.flatnonzero(mask)
    picked = rng.choice(places, count) if len(places) else places
    return np.stack([picked % mask.shape[1], picked // mask.shape[1]], axis=1).astype(np.float32)


def _padded(yes: np.ndarray, no: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, labels = np.zeros((POINTS, 2), np.float32), np.full(POINTS, -1, np.int32)
    both = np.concatenate([yes, no])[:POINTS]
    points[: len(both)] = both
    labels[: len(both)] = ([1] * len(yes) + [0] * len(no))[:POINTS]
    return points, labels
