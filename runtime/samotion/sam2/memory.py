"""SAM 2's memory of one object: a value that is passed in and returned, never changed.

What is kept and what is attended to follow the sam2 package's video predictor: all prompted frames
(or the nearest ones, where the preset sets a limit), the last six tracked frames, and up to sixteen
object pointers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class MemoryEntry(NamedTuple):
    """One frame of one object: spatial memory (L,D) as bfloat16 bits in uint16, and object
    pointer (C,) float32.
    """

    memory: Array
    pointer: Array


NO_MEMORY = np.zeros((0, 0), np.uint16)  # of prompted frames that nothing attends to


@dataclass(frozen=True)
class Bank:
    """All that is remembered of one object, by frame. `start`: its earliest prompted frame,
    where tracking begins.
    """

    start: int
    prompted: Mapping[int, MemoryEntry]
    tracked: Mapping[int, MemoryEntry] = field(default_factory=dict)


class MemoryWindow(NamedTuple):
    """How much is attended to: `frames` (with the present one), `pointers`, and prompted frames
    (None: all).
    """

    frames: int
    pointers: int
    prompted: int | None = None


class MemoryInputs(NamedTuple):
    """Inputs of engine sam2_track for one object: bank (K,L,D), slot (K,), pointers (P,C), age
    (P,).
    """

    bank: Array
    slot: Array
    pointers: Array
    age: Array


def remember(bank: Bank, frame: int, memory: Array, pointer: Array, window: MemoryWindow) -> Bank:
    """The bank with a tracked frame added, and without frames that nothing will ask for again.

    Those near the start are kept: tracking backward begins there.
    """
    tracked = {**bank.tracked, frame: MemoryEntry(to_bfloat16(memory), pointer)}
    near = max(window.frames, window.pointers)
    kept = {
        t: entry
        for t, entry in tracked.items()
        if abs(t - frame) < near or abs(t - bank.start) < near
    }
    return replace(bank, tracked=kept)


def recall(
    bank: Bank, frame: int, frame_count: int, reverse: bool, window: MemoryWindow
) -> MemoryInputs:
    """What an object attends to at `frame`, coming from earlier frames, or from later ones where
    `reverse`.
    """
    chosen = nearest_prompted(bank.prompted, frame, window.prompted)
    others = {t: entry for t, entry in bank.prompted.items() if t not in chosen}
    others.update(bank.tracked)
    max_pointers = min(frame_count, window.pointers)
    max_back = max(window.frames, max_pointers)
    past = _entries_back(others, frame, reverse, max_back)

    slots, memories = _spatial_memories(bank, chosen, past, window.frames)
    ages = {t: _frames_back(t, frame, reverse) for t in chosen}
    pointers = [(age, bank.prompted[t].pointer) for t, age in ages.items() if age >= 0]
    pointers += [(back, entry.pointer) for back, entry in past.items() if back < max_pointers]
    return MemoryInputs(
        bank=from_bfloat16(np.stack(memories)),
        slot=np.array(slots, np.int64),
        pointers=np.stack([pointer for _, pointer in pointers]),
        age=np.array([age for age, _ in pointers], np.float32) / np.float32(max_pointers - 1),
    )


def _frames_back(t: int, frame: int, reverse: bool) -> int:
    """How many frames of tracking ago t was."""
    return t - frame if reverse else frame - t


def _entries_back(
    entries: Mapping[int, MemoryEntry], frame: int, reverse: bool, count: int
) -> dict[int, MemoryEntry]:
    """The entries of the last `count` - 1 frames, by how many frames ago, latest first."""
    step = 1 if reverse else -1
    past = {back: entries.get(frame + step * back) for back in range(1, count)}
    return {back: entry for back, entry in past.items() if entry is not None}


def _spatial_memories(
    bank: Bank, chosen: Sequence[int], past: Mapping[int, MemoryEntry], frames: int
) -> tuple[list[int], list[Array]]:
    """Slots and memories: the chosen prompted frames in the last slot, then tracked frames, those
    longest ago first.
    """
    recent = [back for back in past if back < frames][::-1]
    slots = [frames - 1] * len(chosen) + [back - 1 for back in recent]
    memories = [bank.prompted[t].memory for t in chosen]
    memories += [past[back].memory for back in recent]
    return slots, memories


def frames_attended(
    prompted: Sequence[int], frame: int, reverse: bool, window: MemoryWindow
) -> set[int]:
    """Of the prompted frames, those whose spatial memory `recall` takes at `frame`."""
    recent = {t for t in prompted if 0 < _frames_back(t, frame, reverse) < window.frames}
    return recent | set(nearest_prompted(prompted, frame, window.prompted))


def nearest_prompted(frames: Collection[int], frame: int, limit: int | None) -> list[int]:
    """The prompted frames attended to: all, or the last before, the first not before, and then
    the nearest others.
    """
    if limit is None or len(frames) <= limit:
        return list(frames)
    before = max((t for t in frames if t < frame), default=None)
    after = min((t for t in frames if t >= frame), default=None)
    chosen = [t for t in (before, after) if t is not None]
    others = [t for t in frames if t not in chosen]
    rest = sorted(others, key=lambda t: abs(t - frame))
    return chosen + rest[: limit - len(chosen)]


def to_bfloat16(x: Array) -> Array:
    """float32 to the bits of bfloat16 (uint16), rounded to nearest, ties to even."""
    half = np.uint32(16)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    is_odd = (bits >> half) & np.uint32(1)
    rounded = bits + np.uint32(0x7FFF) + is_odd
    return (rounded >> half).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    """The bits of bfloat16 (uint16) to float32, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
