"""Prompts to masks of whole clips with SAM 2, as the sam2 package's video predictor does it,
several objects at once.

images = Features(engines, frames)
masks = propagate(engines, frames, [Click(1, 0, np.array([[210.0, 350.0]]), np.array([1]))])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion import geometry
from samotion.backends.engines import Engines
from samotion.errors import UsageError
from samotion.manifest import meta_number
from samotion.sam2.features import Features
from samotion.sam2.memory import (
    NO_MEMORY,
    Bank,
    Reach,
    Remembered,
    frames_attended,
    recall,
    remember,
    to_bfloat16,
)

__all__ = ["Click", "Features", "propagate", "segment"]

Array = np.ndarray[Any, Any]
# done, in all: prompted frames, then frames tracked in either direction
Progress = Callable[[int, int], None]
# a frame (H,W,3), the logits (H,W) of a mask on it -> better logits
Refine = Callable[[Array, Array], Array]

# px of the decoder's mask (a quarter of SAM 2's image side); build_sam.py's fill_hole_area
HOLE_AREA = 8
PROMPT_LIMIT = 32.0  # largest mask logit that is fed back as a prompt
LABELS = (0, 1, 2, 3)  # outside, inside, a box's top left and its bottom right corner


@dataclass(frozen=True)
class Click:
    """A prompt for one object on one frame.

    points_xy (P,2) float px of the frame; labels (P,) int: 1 inside, 0 outside, 2 and 3 the corners
    of a box. mask, optional: float32 logits of a coarse mask, positive inside; (H,W) of the frame's
    size, or (M,M) as the decoder takes it, a quarter of SAM 2's image side. A second click on the
    same object and frame is a correction: it is decoded with the first one's mask as a prompt.
    """

    object_id: int
    frame: int
    points_xy: Array
    labels: Array
    mask: Array | None = None


class Decoded(NamedTuple):
    """A mask (M,M) of logits at the decoder's size, the object's pointer (C,), and its score, a
    logit.
    """

    mask: Array
    pointer: Array
    score: float


def segment(
    engines: Engines, features: Features, click: Click, fill_holes_area: int = HOLE_AREA
) -> Array:
    """The mask (H,W) bool of one prompt on its own frame, without memory; for one point, the
    best of three.
    """
    _check(click, features)
    return to_frame(_prompt(engines, features, click, None, fill_holes_area).mask, features.hw) > 0


def propagate(
    engines: Engines,
    frames: Array,
    clicks: Sequence[Click],
    return_logits: bool = False,
    features: Features | None = None,
    progress: Progress | None = None,
    fill_holes_area: int = HOLE_AREA,
    reach_frames: int | None = None,
    refine: Refine | None = None,
) -> dict[int, Array]:
    """Follow every prompted object through the clip: object id -> (T,H,W) bool, or float32 logits.

    frames (T,H,W,3) uint8 RGB; `features` of the same frames, where the caller has some already.
    Each object is tracked forward from its earliest prompted frame and then backward from it; on
    prompted frames the mask is the prompt's. With `reach_frames`, frames farther than this from all
    of an object's prompts are passed over and have no mask: there nobody has seen the object, and a
    small SAM 2 finds something all the same. `refine` has the last word on each frame's logits.
    Raises UsageError for clicks outside the clip or without points.
    """
    images = features if features is not None else Features(engines, frames)
    for click in clicks:
        _check(click, images)
    clip = _Clip(
        engines, images, _reach(engines), fill_holes_area, getattr(engines, "device", None) == "cpu"
    )
    kind, shape = (np.float32 if return_logits else np.bool_), (len(images), *images.hw)
    found: dict[int, Array] = {click.object_id: np.zeros(shape, kind) for click in clicks}

    def keep(frame: int, object_id: int, mask: Array) -> None:
        logits = to_frame(mask, images.hw)
        if refine is not None:
            logits = refine(images.frames[frame], logits)
        found[object_id][frame] = logits if return_logits else logits > 0

    prompted = {i: sorted({click.frame for click in clicks if click.object_id == i}) for i in found}
    sweep = _sweep(prompted, len(images), reach_frames)
    asked_for = _asked_for(prompted, sweep, clip.reach)
    first = len({click.frame for click in clicks})
    whole = first + len(sweep)
    tell = progress or (lambda done, total: None)
    made = _prompt_all(clip, clicks, asked_for, keep, lambda done: tell(done, whole))
    banks = {object_id: Bank(min(mine), mine) for object_id, mine in made.items()}
    for done, (frame, reverse, active) in enumerate(sweep, start=first):
        for object_id, (mask, bank) in _step(
            clip, {i: banks[i] for i in active}, frame, reverse
        ).items():
            banks[object_id] = bank
            keep(frame, object_id, mask)
        tell(done + 1, whole)
    return found


class _Clip(NamedTuple):
    """What stays the same through a clip."""

    engines: Engines
    images: Features
    reach: Reach
    fill_holes_area: int
    one_by_one: bool  # objects go through the per-frame step each by itself


def _reach(engines: Engines) -> Reach:
    meta = engines.entry("sam2_track").meta
    frames, pointers = meta_number(meta, "memory_frames"), meta_number(meta, "max_pointers")
    return Reach(frames, pointers, engines.preset.sam2.max_conditioning_frames)


def _check(click: Click, images: Features) -> None:
    """Refuse a click that does not fit the clip."""
    points, labels = np.asarray(click.points_xy), np.asarray(click.labels)
    where = f"click on object {click.object_id}, frame {click.frame}"
    if not 0 <= click.frame < len(images):
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
    if click.mask is not None and click.mask.shape not in (images.hw, (images.mask_side,) * 2):
        raise UsageError(f"{where}: its mask is {click.mask.shape}, the frames {images.hw}")


def _prompt(
    engines: Engines, images: Features, click: Click, previous: Array | None, fill_holes_area: int
) -> Decoded:
    """Decode one click; `previous` (M,M): the logits of an earlier click on the same object and
    frame.
    """
    return _decode(engines, images, [click], [previous], fill_holes_area)[0]


def _decode(
    engines: Engines,
    images: Features,
    clicks: Sequence[Click],
    previous: Sequence[Array | None],
    fill_holes_area: int,
) -> list[Decoded]:
    """Decode clicks with as many points each, on one frame, in one call."""
    levels = {name: images[clicks[0].frame][name] for name in ("level0", "level1", "level2")}
    side = levels["level0"].shape[-1]
    points, labels, coarse = [], [], []
    for click, earlier in zip(clicks, previous):
        if click.mask is not None:
            earlier = cv2.resize(
                np.asarray(click.mask, np.float32), (side, side), interpolation=cv2.INTER_AREA
            )
        coarse.append(earlier)
        own = np.asarray(click.points_xy, np.float32), np.asarray(click.labels, np.int64)
        if not len(own[0]):  # the package's stand-in for no points
            own = np.zeros((1, 2), np.float32), np.full(1, -1, np.int64)
        points.append(geometry.sam2_xy(own[0], images.hw, images.side_px))
        labels.append(own[1])
    out = engines["sam2_prompt"](
        **levels,
        points=np.stack(points),
        labels=np.stack(labels),
        mask_prompt=np.stack([_as_prompt(mask, side) for mask in coarse]),
        has_mask=np.array([mask is not None for mask in coarse], np.uint8),
    )
    return [
        Decoded(fill_holes(mask, fill_holes_area), pointer, float(score))
        for mask, pointer, score in zip(out["masks"], out["pointer"], out["object_score"])
    ]


def _as_prompt(mask: Array | None, side: int) -> Array:
    if mask is None:
        return np.zeros((side, side), np.float32)
    return mask.clip(-PROMPT_LIMIT, PROMPT_LIMIT)


def _prompt_all(
    clip: _Clip,
    clicks: Sequence[Click],
    asked_for: Mapping[int, set[int]],
    keep: Callable[[int, int, Array], None],
    tell: Callable[[int], None],
) -> dict[int, dict[int, Remembered]]:
    """Memories of all objects on their prompted frames: object id -> frame -> memory.

    Frame by frame, for image features are held of a few frames only. Memories that nothing asks for
    stay empty. Each mask (M,M) of logits goes to `keep`, with its frame and object before it;
    `tell` is told how many frames are done.
    """
    made: dict[int, dict[int, Remembered]] = {click.object_id: {} for click in clicks}
    for done, frame in enumerate(sorted({click.frame for click in clicks}), start=1):
        decoded: dict[int, Decoded] = {}
        for some in _together([click for click in clicks if click.frame == frame]):
            earlier = [decoded[c.object_id].mask if c.object_id in decoded else None for c in some]
            answers = _decode(clip.engines, clip.images, some, earlier, clip.fill_holes_area)
            decoded.update(zip((c.object_id for c in some), answers))
        for object_id, one in decoded.items():
            memory = NO_MEMORY
            if frame in asked_for[object_id]:
                found = clip.engines["sam2_memory"](
                    level2=clip.images[frame]["level2"],
                    masks=one.mask[None],
                    object_score=np.array([one.score], np.float32),
                )
                memory = to_bfloat16(found["memory"][0])
            made[object_id][frame] = Remembered(memory, one.pointer)
            keep(frame, object_id, one.mask)
        tell(done)
    return made


def _together(clicks: Sequence[Click]) -> Iterator[list[Click]]:
    """The clicks of one frame in calls of equally many points, no object's corrections before
    what they correct.
    """
    rounds: Counter[int] = Counter()
    calls: dict[tuple[int, int], list[Click]] = {}
    for click in clicks:
        calls.setdefault((rounds[click.object_id], max(1, len(click.labels))), []).append(click)
        rounds[click.object_id] += 1
    for key in sorted(calls):
        yield calls[key]


# frames in the order they are tracked: frame, reverse, objects
Sweep = list[tuple[int, bool, list[int]]]


def _sweep(prompted: Mapping[int, list[int]], frame_count: int, reach: int | None) -> Sweep:
    """The frames to track objects to, forward and then backward; `prompted`: object id -> its
    prompted frames.
    """
    starts = [min(frames) for frames in prompted.values()] or [0]
    forward = ((t, False) for t in range(min(starts), frame_count))
    backward = ((t, True) for t in range(max(starts), -1, -1))
    order = []
    for frame, reverse in (*forward, *backward):
        active = [
            i
            for i, frames in prompted.items()
            if (frame < min(frames) if reverse else frame > min(frames))
            and frame not in frames
            and (reach is None or min(abs(frame - t) for t in frames) <= reach)
        ]
        if active:
            order.append((frame, reverse, active))
    return order


def _asked_for(
    prompted: Mapping[int, list[int]], sweep: Sweep, reach: Reach
) -> dict[int, set[int]]:
    """The prompted frames whose memories some tracked frame attends to: object id -> frames."""
    return {
        i: {
            t
            for frame, reverse, active in sweep
            if i in active
            for t in frames_attended(frames, frame, reverse, reach)
        }
        for i, frames in prompted.items()
    }


def _step(
    clip: _Clip, banks: dict[int, Bank], frame: int, reverse: bool
) -> dict[int, tuple[Array, Bank]]:
    """Track objects to one frame: object id -> mask (M,M) of logits and the new bank.

    Objects whose memories are of one length go through the engine together, but for a CPU: there
    each by itself is a tenth faster, for the attention scores of several together leave the cache
    (three of tiny at 1024 px: 9.9 against 8.9 s).
    """
    levels = clip.images.pass_by(frame)
    recalled = {
        i: recall(bank, frame, len(clip.images), reverse, clip.reach) for i, bank in banks.items()
    }
    result = {}
    for group in [[i] for i in recalled] if clip.one_by_one else _equal_lengths(recalled.items()):
        inputs = {
            name: np.stack([getattr(recalled[i], name) for i in group])
            for name in recalled[group[0]]._fields
        }
        out = clip.engines["sam2_track"](**levels, **inputs)
        for row, i in enumerate(group):
            bank = remember(banks[i], frame, out["memory"][row], out["pointer"][row], clip.reach)
            result[i] = fill_holes(out["masks"][row], clip.fill_holes_area), bank
    return result


def _equal_lengths(recalled: Iterable[tuple[int, Any]]) -> list[list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for object_id, one in recalled:
        groups.setdefault((len(one.bank), len(one.pointers)), []).append(object_id)
    return list(groups.values())


def fill_holes(mask: Array, area: int) -> Array:
    """Logits (M,M) with holes of at most `area` px (8-connected) raised to 0.1, just inside."""
    if area <= 0:
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (mask <= 0).astype(np.uint8), connectivity=8
    )
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False  # label 0 is the mask itself
    return np.where(small[labels], np.float32(0.1), mask)


def to_frame(mask: Array, hw: tuple[int, int]) -> Array:
    """Logits (M,M) at the frame's size, bilinearly."""
    return cv2.resize(mask, (hw[1], hw[0]), interpolation=cv2.INTER_LINEAR)
