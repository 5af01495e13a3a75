"""Prompts to masks of whole clips with SAM 2, as the sam2 package's video predictor does it,
several objects at once.

images = Features(engines, frames)
masks = propagate(engines, frames, [Click(1, 0, np.array([[210.0, 350.0]]), np.array([1]))])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from samotion.backends.engines import Engines
from samotion.checks.stages import StageProgress
from samotion.manifest import meta_number
from samotion.sam2.clicks import Click, Decoded, batches, check_click, decode, segment
from samotion.sam2.features import Features
from samotion.sam2.logits import HOLE_AREA, fill_holes, to_frame
from samotion.sam2.memory import (
    NO_MEMORY,
    Bank,
    MemoryEntry,
    MemoryInputs,
    MemoryWindow,
    frames_attended,
    recall,
    remember,
    to_bfloat16,
)

__all__ = ["Click", "Features", "propagate", "segment"]

Array = np.ndarray[Any, Any]
# a frame (H,W,3), the logits (H,W) of a mask on it -> better logits
Refine = Callable[[Array, Array], Array]
# frame, object id, and the object's logits (M,M) there
Keep = Callable[[int, int, Array], None]


def propagate(  # noqa: PLR0913 (a public signature)
    engines: Engines,
    frames: Array,
    clicks: Sequence[Click],
    return_logits: bool = False,
    features: Features | None = None,
    progress: StageProgress | None = None,
    fill_holes_area: int = HOLE_AREA,
    reach_frames: int | None = None,
    refine: Refine | None = None,
) -> dict[int, Array]:
    """Follow every prompted object through the clip: object id -> (T,H,W) bool, or float32 logits.

    frames (T,H,W,3) uint8 RGB; `features` of the same frames, where the caller has some already.
    Each object is tracked forward from its earliest prompted frame and then backward from it; on
    prompted frames the mask is the prompt's. With `reach_frames`, frames farther than this from all
    of an object's prompts are passed over and have no mask: there no prompt shows the object, and a
    small SAM 2 finds something all the same. `refine` replaces each frame's logits by its answer.
    Raises UsageError for clicks outside the clip or without points.
    """
    images = features if features is not None else Features(engines, frames)
    for click in clicks:
        check_click(click, images)
    one_by_one = getattr(engines, "device", None) == "cpu"
    clip = _Clip(engines, images, _memory_window(engines), fill_holes_area, one_by_one)
    shape = (len(images), *images.hw)
    kind = np.float32 if return_logits else np.bool_
    masks: dict[int, Array] = {click.object_id: np.zeros(shape, kind) for click in clicks}

    def keep(frame: int, object_id: int, mask: Array) -> None:
        logits = to_frame(mask, images.hw)
        if refine is not None:
            logits = refine(images.frames[frame], logits)
        masks[object_id][frame] = logits if return_logits else logits > 0

    prompted = {i: _frames_of(clicks, i) for i in masks}
    steps = _steps(prompted, len(images), reach_frames)
    frame_count = len({click.frame for click in clicks})

    def report(done: int) -> None:
        if progress:
            progress(done, frame_count + len(steps))

    attended = _attended(prompted, steps, clip.window)
    memories = _decode_all(clip, clicks, attended, keep, report)
    banks = {object_id: Bank(min(own), own) for object_id, own in memories.items()}
    for done, step in enumerate(steps, start=frame_count + 1):
        _track_step(clip, banks, step, keep)
        report(done)
    return masks


class _Clip(NamedTuple):
    """What stays the same through a clip."""

    engines: Engines
    images: Features
    window: MemoryWindow
    fill_holes_area: int
    one_by_one: bool  # objects go through the per-frame step each by itself


class _Step(NamedTuple):
    """One frame to track objects to, from earlier frames, or from later ones where `reverse`."""

    frame: int
    reverse: bool
    objects: list[int]


def _memory_window(engines: Engines) -> MemoryWindow:
    meta = engines.entry("sam2_track").meta
    return MemoryWindow(
        frames=meta_number(meta, "memory_frames"),
        pointers=meta_number(meta, "max_pointers"),
        prompted=engines.preset.sam2.max_conditioning_frames,
    )


def _frames_of(clicks: Sequence[Click], object_id: int) -> list[int]:
    """An object's prompted frames, in order."""
    return sorted({click.frame for click in clicks if click.object_id == object_id})


def _decode_all(
    clip: _Clip,
    clicks: Sequence[Click],
    attended: Mapping[int, set[int]],
    keep: Keep,
    report: Callable[[int], None],
) -> dict[int, dict[int, MemoryEntry]]:
    """Decode all prompts: object id -> frame -> memory entry. Masks go to `keep`, the number of
    frames done to `report`.

    Frame by frame, for image features are held of a few frames only.
    """
    entries: dict[int, dict[int, MemoryEntry]] = {click.object_id: {} for click in clicks}
    frames = sorted({click.frame for click in clicks})
    for done, frame in enumerate(frames, start=1):
        on_frame = [click for click in clicks if click.frame == frame]
        for object_id, decoded in _decode_frame(clip, on_frame).items():
            is_attended = frame in attended[object_id]
            memory = _memory_of(clip, frame, decoded) if is_attended else NO_MEMORY
            entries[object_id][frame] = MemoryEntry(memory, decoded.pointer)
            keep(frame, object_id, decoded.mask)
        report(done)
    return entries


def _decode_frame(clip: _Clip, clicks: Sequence[Click]) -> dict[int, Decoded]:
    """Decode the clicks of one frame, corrections last: object id -> its answer."""
    decoded: dict[int, Decoded] = {}
    for batch in batches(clicks):
        ids = [click.object_id for click in batch]
        previous = [decoded[i].mask if i in decoded else None for i in ids]
        answers = decode(clip.engines, clip.images, batch, previous, clip.fill_holes_area)
        decoded.update(zip(ids, answers))
    return decoded


def _memory_of(clip: _Clip, frame: int, decoded: Decoded) -> Array:
    """The spatial memory (L,D) of a prompted frame, as bfloat16 bits."""
    out = clip.engines["sam2_memory"](
        level2=clip.images[frame]["level2"],
        masks=decoded.mask[None],
        object_score=np.array([decoded.score], np.float32),
    )
    return to_bfloat16(out["memory"][0])


def _steps(
    prompted: Mapping[int, list[int]], frame_count: int, reach_frames: int | None
) -> list[_Step]:
    """The frames to track objects to, forward and then backward; `prompted`: object id -> its
    prompted frames.
    """
    starts = [min(frames) for frames in prompted.values()] or [0]
    forward = [(t, False) for t in range(min(starts), frame_count)]
    backward = [(t, True) for t in range(max(starts), -1, -1)]
    steps = []
    for frame, reverse in forward + backward:
        objects = [
            object_id
            for object_id, frames in prompted.items()
            if _is_tracked(frames, frame, reverse, reach_frames)
        ]
        if objects:
            steps.append(_Step(frame, reverse, objects))
    return steps


def _is_tracked(
    prompted: Sequence[int], frame: int, reverse: bool, reach_frames: int | None
) -> bool:
    """Whether an object with these prompted frames is tracked to `frame` in this direction."""
    start = min(prompted)
    is_ahead = frame < start if reverse else frame > start
    if not is_ahead or frame in prompted:
        return False
    return reach_frames is None or min(abs(frame - t) for t in prompted) <= reach_frames


def _attended(
    prompted: Mapping[int, list[int]], steps: Sequence[_Step], window: MemoryWindow
) -> dict[int, set[int]]:
    """The prompted frames whose memories some step attends to: object id -> frames."""
    attended: dict[int, set[int]] = {object_id: set() for object_id in prompted}
    for step in steps:
        for object_id in step.objects:
            frames = prompted[object_id]
            attended[object_id] |= frames_attended(frames, step.frame, step.reverse, window)
    return attended


def _track_step(clip: _Clip, banks: dict[int, Bank], step: _Step, keep: Keep) -> None:
    """Track objects to one frame: their masks go to `keep`, their banks are replaced.

    Objects whose memories are of one length go through the engine together, but for a CPU: there
    each by itself is a tenth faster, for the attention scores of several together leave the cache
    (three of tiny at 1024 px: 9.9 against 8.9 s).
    """
    frame = step.frame
    levels = clip.images.get_for_sweep(frame)
    recalled = {
        i: recall(banks[i], frame, len(clip.images), step.reverse, clip.window)
        for i in step.objects
    }
    groups = [[i] for i in recalled] if clip.one_by_one else _equal_lengths(recalled)
    for group in groups:
        inputs = _stack([recalled[i] for i in group])
        out = clip.engines["sam2_track"](**levels, **inputs)
        for row, i in enumerate(group):
            memory, pointer = out["memory"][row], out["pointer"][row]
            banks[i] = remember(banks[i], frame, memory, pointer, clip.window)
            keep(frame, i, fill_holes(out["masks"][row], clip.fill_holes_area))


def _stack(recalled: Sequence[MemoryInputs]) -> dict[str, Array]:
    """The inputs of several objects with memories of one length, as one batch."""
    fields = zip(*recalled)
    return {name: np.stack(values) for name, values in zip(MemoryInputs._fields, fields)}


def _equal_lengths(recalled: Mapping[int, MemoryInputs]) -> Iterable[list[int]]:
    """Objects in groups of as many memories and pointers."""
    groups: dict[tuple[int, int], list[int]] = {}
    for object_id, inputs in recalled.items():
        lengths = len(inputs.bank), len(inputs.pointers)
        groups.setdefault(lengths, []).append(object_id)
    return groups.values()
