"""Clicks, SAM 2's prompts, and their decoding to masks on their own frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.checks.arguments import whole_number
from samotion.errors import UsageError
from samotion.sam2.features import Features
from samotion.sam2.logits import HOLE_AREA, fill_holes, to_frame

PROMPT_LIMIT = 32.0  # largest mask logit that is fed back as a prompt
LABELS = (0, 1, 2, 3)  # outside, inside, a box's top left and its bottom right corner
NO_POINT = -1  # the label of the sam2 package's stand-in for no points


@dataclass(frozen=True, eq=False)
class Click:
    """A prompt for one object on one frame.

    points_xy (P,2) float px of the frame; labels (P,) int: 1 inside, 0 outside, 2 and 3 the corners
    of a box. mask, optional: float32 logits of a coarse mask, positive inside; (H,W) of the frame's
    size, or (M,M) as the decoder takes it, a quarter of SAM 2's image side. A second click on the
    same object and frame is a correction: it is decoded with the first one's mask as a prompt.
    """

    object_id: int
    frame: int
    points_xy: np.ndarray
    labels: np.ndarray
    mask: np.ndarray | None = None


class Decoded(NamedTuple):
    """A mask (M,M) of logits at the decoder's size, the object's pointer (C,), and its score, a
    logit.
    """

    mask: np.ndarray
    pointer: np.ndarray
    score: float


def segment(
    engines: Engines, features: Features, click: Click, fill_holes_area: int = HOLE_AREA
) -> np.ndarray:
    """The mask (H,W) bool of one prompt on its own frame, without memory; for one point, the
    best of three.
    """
    check_click(click, features)
    decoded = decode(engines, features, [click], [None], fill_holes_area)
    return to_frame(decoded[0].mask, features.hw) > 0


def checked_clicks(clicks: Iterable[Click], images: Features) -> list[Click]:
    """The clicks. Raises UsageError for one that does not fit the clip."""
    every = list(clicks)
    for click in every:
        check_click(click, images)
    return every


def check_click(click: Click, images: Features) -> None:
    """Raises UsageError for a click that does not fit the clip."""
    points, labels = np.asarray(click.points_xy), np.asarray(click.labels)
    where = f"click on object {click.object_id}, frame {click.frame}"
    if not 0 <= whole_number(click.frame, f"{where}: frame") < len(images):
        raise UsageError(f"{where}: the clip has frames 0 to {len(images) - 1}")
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise UsageError(
            f"{where}: points {points.shape}, labels {labels.shape}; expected (P,2) and (P,)"
        )
    if not np.isin(labels, LABELS).all() or not np.isfinite(points).all():
        raise UsageError(
            f"{where}: labels {labels.tolist()}, points {points.tolist()}; labels are 0 to 3"
        )
    if click.mask is None and not len(points):
        raise UsageError(f"{where}: neither points nor a mask")
    mask_hw = None if click.mask is None else np.shape(click.mask)
    if mask_hw not in (None, images.hw, (images.mask_side,) * 2):
        raise UsageError(f"{where}: its mask is {mask_hw}, the frames {images.hw}")


def decode(
    engines: Engines,
    images: Features,
    clicks: Sequence[Click],
    previous: Sequence[np.ndarray | None],
    fill_holes_area: int,
) -> list[Decoded]:
    """Decode clicks with as many points each, on one frame, in one call; `previous` (M,M) are the
    logits of an earlier click on the same object and frame.
    """
    features = images[clicks[0].frame]
    levels = {name: features[name] for name in ("level0", "level1", "level2")}
    prompts = [_points_and_labels(click, images) for click in clicks]
    side = images.mask_side
    masks = [_mask_prompt(click, earlier, side) for click, earlier in zip(clicks, previous)]
    has_mask = [mask is not None for mask in masks]
    out = engines["sam2_prompt"](
        **levels,
        points=np.stack([points for points, _ in prompts]),
        labels=np.stack([labels for _, labels in prompts]),
        mask_prompt=np.stack([_clamped(mask, side) for mask in masks]),
        has_mask=np.array(has_mask, np.uint8),
    )
    return [
        Decoded(fill_holes(mask, fill_holes_area), pointer, float(score))
        for mask, pointer, score in zip(out["masks"], out["pointer"], out["object_score"])
    ]


def _points_and_labels(click: Click, images: Features) -> tuple[np.ndarray, np.ndarray]:
    """A click's points (P,2) in px of SAM 2's square image, and their labels (P,)."""
    points = np.asarray(click.points_xy, np.float32)
    labels = np.asarray(click.labels, np.int64)
    if not len(points):
        points = np.zeros((1, 2), np.float32)
        labels = np.full(1, NO_POINT, np.int64)
    return geometry.sam2_xy(points, images.hw, images.side_px), labels


def _mask_prompt(click: Click, previous: np.ndarray | None, side: int) -> np.ndarray | None:
    """The logits (side,side) that a click is decoded with: its own mask, or an earlier click's."""
    if click.mask is None:
        return previous
    mask = np.asarray(click.mask, np.float32)
    small: np.ndarray = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    return small


def _clamped(mask: np.ndarray | None, side: int) -> np.ndarray:
    """A mask prompt inside the limits of its logits; zeros for none."""
    if mask is None:
        return np.zeros((side, side), np.float32)
    return mask.clip(-PROMPT_LIMIT, PROMPT_LIMIT)


def batches(clicks: Sequence[Click]) -> Iterator[list[Click]]:
    """The clicks of one frame in batches of equally many points, no object's corrections before
    what they correct.
    """
    rounds: Counter[int] = Counter()
    by_round_and_length: dict[tuple[int, int], list[Click]] = {}
    for click in clicks:
        key = rounds[click.object_id], max(1, len(click.labels))
        by_round_and_length.setdefault(key, []).append(click)
        rounds[click.object_id] += 1
    for key in sorted(by_round_and_length):
        yield by_round_and_length[key]
