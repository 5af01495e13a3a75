"""Prompts to masks of whole clips with SAM 2, as the sam2 package's video predictor does it,
several objects at once.

images = Features(engines, frames)
masks = propagate(engines, frames, [Click(1, 0, np.array([[210.0, 350.0]]), np.array([1]))])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.backends.threads import aside, mapped
from samotion.checks.arguments import AsArray
from samotion.checks.stages import StageProgress
from samotion.manifest import meta_number
from samotion.sam2 import gpu_sweep
from samotion.sam2.clicks import Click, Decoded, batches, checked_clicks, decode
from samotion.sam2.features import Features
from samotion.sam2.logits import HOLE_AREA, Refine, fill_holes, to_frame
from samotion.sam2.memory import (
    NO_MEMORY,
    Bank,
    MemoryEntry,
    MemoryInputs,
    MemoryWindow,
    recall,
    remember,
    to_bfloat16,
)
from samotion.sam2.schedule import Clip, Do, Keep, Step, attended_frames, steps_of

SMALL_PX = 512  # SAM 2's own size, up to which one frame at a time leaves a CPU's cores idle


def propagate(  # noqa: PLR0913 (a public signature)
    engines: Engines,
    frames: AsArray,
    clicks: Iterable[Click],
    return_logits: bool = False,
    features: Features | None = None,
    progress: StageProgress | None = None,
    fill_holes_area: int = HOLE_AREA,
    reach_frames: int | None = None,
    refine: Refine | None = None,
) -> dict[int, np.ndarray]:
    """Follow every prompted object through the clip: object id -> (T,H,W) bool, or float32 logits.

    frames (T,H,W,3) uint8 RGB; `features` of the same frames, where the caller has some already.
    Each object is tracked forward from its earliest prompted frame and then backward from it; on
    prompted frames the mask is the prompt's. With `reach_frames`, frames farther than this from all
    of an object's prompts are passed over and have no mask: there no prompt shows the object, and a
    small SAM 2 finds something all the same. `refine` replaces each frame's logits by its answer.
    Raises UsageError for clicks that do not fit the clip.
    """
    images = features if features is not None else Features(engines, frames)
    clicks = checked_clicks(clicks, images)
    one_by_one = not resident.is_on_gpu(engines)
    window, on_gpu = memory_window(engines), _stays_on_gpu(engines)
    clip = Clip(engines, images, window, fill_holes_area, one_by_one, on_gpu)
    shape = (len(images), *images.hw)
    kind = np.float32 if return_logits else np.bool_
    masks: dict[int, np.ndarray] = {click.object_id: np.zeros(shape, kind) for click in clicks}

    def keep(frame: int, object_id: int, mask: np.ndarray) -> None:
        logits = to_frame(mask, images.hw)
        if refine is not None:
            logits = refine(images.frames[frame], logits)
        if return_logits:
            masks[object_id][frame] = logits
        else:
            np.greater(logits, 0, out=masks[object_id][frame])

    prompted = {i: _frames_of(clicks, i) for i in masks}
    steps = steps_of(prompted, len(images), reach_frames)
    frame_count = len({click.frame for click in clicks})

    def report(done: int) -> None:
        if progress:
            progress(done, frame_count + len(steps))

    attended = attended_frames(prompted, steps, clip.window)
    with aside(on_a_thread=on_gpu) as do:
        write = partial(do, keep)
        memories = _decode_all(clip, clicks, attended, write, report)
        banks = {object_id: Bank(min(own), own) for object_id, own in memories.items()}
        sweep = gpu_sweep.sweep if on_gpu else _sweep
        for done in sweep(clip, banks, steps, keep, do):
            report(frame_count + done)
    return masks


def memory_window(engines: Engines) -> MemoryWindow:
    """How much engine sam2_track was exported to attend to, and the preset lets it."""
    meta = engines.entry("sam2_track").meta
    return MemoryWindow(
        frames=meta_number(meta, "memory_frames"),
        pointers=meta_number(meta, "max_pointers"),
        prompted=engines.preset.sam2.max_conditioning_frames,
    )


def _stays_on_gpu(engines: Engines) -> bool:
    """Whether memories can stay on a GPU: the step takes places that hold nothing."""
    pads = engines.entry("sam2_track").meta.get("pads") is True
    return pads and resident.has_gpu_memory(engines)


def _frames_of(clicks: Sequence[Click], object_id: int) -> list[int]:
    """An object's prompted frames, in order."""
    return sorted({click.frame for click in clicks if click.object_id == object_id})


def _decode_all(
    clip: Clip,
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

    def decode_frame(frame: int) -> dict[int, MemoryEntry]:
        on_frame = [click for click in clicks if click.frame == frame]
        found = {}
        for object_id, decoded in _decode_frame(clip, on_frame).items():
            is_attended = frame in attended[object_id]
            memory = _memory_of(clip, frame, decoded) if is_attended else NO_MEMORY
            found[object_id] = MemoryEntry(memory, decoded.pointer)
            keep(frame, object_id, decoded.mask)
        return found

    small = clip.one_by_one and clip.images.side_px <= SMALL_PX
    decoded_frames = mapped(decode_frame, frames, on_threads=small)
    for done, (frame, found) in enumerate(zip(frames, decoded_frames), start=1):
        for object_id, entry in found.items():
            entries[object_id][frame] = entry
        report(done)
    return entries


def _decode_frame(clip: Clip, clicks: Sequence[Click]) -> dict[int, Decoded]:
    """Decode the clicks of one frame, corrections last: object id -> its answer."""
    decoded: dict[int, Decoded] = {}
    for batch in batches(clicks):
        ids = [click.object_id for click in batch]
        previous = [decoded[i].mask if i in decoded else None for i in ids]
        answers = decode(clip.engines, clip.images, batch, previous, clip.fill_holes_area)
        decoded.update(zip(ids, answers))
    return decoded


def _memory_of(clip: Clip, frame: int, decoded: Decoded) -> Any:
    """The spatial memory (L,D) of a prompted frame, as a bank keeps it."""
    answer = resident.call(
        clip.engines,
        "sam2_memory",
        level2=clip.images[frame]["level2"],
        masks=decoded.mask[None],
        object_score=np.array([decoded.score], np.float32),
    )
    memory = answer.arrays["memory"][0] if clip.on_gpu else answer.fetch().get()["memory"][0]
    return memory if clip.on_gpu else to_bfloat16(memory)


def _sweep(
    clip: Clip, banks: dict[int, Bank], steps: Sequence[Step], keep: Keep, do: Do
) -> Iterator[int]:
    """Track objects through all steps; after each, how many are done."""
    for done, step in enumerate(steps, start=1):
        _track_step(clip, banks, step, keep)
        yield done


def _track_step(clip: Clip, banks: dict[int, Bank], step: Step, keep: Keep) -> None:
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
            entry = MemoryEntry(to_bfloat16(out["memory"][row]), out["pointer"][row])
            banks[i] = remember(banks[i], frame, entry, clip.window)
            keep(frame, i, fill_holes(out["masks"][row], clip.fill_holes_area))


def _stack(recalled: Sequence[MemoryInputs]) -> dict[str, np.ndarray]:
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
