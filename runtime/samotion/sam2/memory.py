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


class MemoryEntry(NamedTuple):
    """One frame of one object: spatial memory (L,D) as bfloat16 bits in uint16, and object
    pointer (C,) float32. On a GPU, where both stay there, the memory is float32.
    """

    memory: Any
    pointer: Any


NO_MEMORY = np.zeros((0, 0), np.uint16)  # of prompted frames that nothing attends to


@dataclass(frozen=True)
class Bank:
    """All that is remembered of one object, by frame. `start`: its earliest prompted frame,
    where tracking begins.
    """

    start: int
    prompted: Mapping[int, MemoryEntry]
    tracked: Mapping[int, MemoryEntry] = field(default_factory=dict)

    def entry(self, frame: int) -> MemoryEntry:
        """What is remembered of a frame, prompted or tracked."""
        return self.prompted[frame] if frame in self.prompted else self.tracked[frame]


class MemoryWindow(NamedTuple):
    """How much is attended to: `frames` (with the present one), `pointers`, and prompted frames
    (None: all).
    """

    frames: int
    pointers: int
    prompted: int | None = None


class Attended(NamedTuple):
    """What an object attends to at one frame, by the frames it is remembered from, in order:
    `slots` of spatial memories, `ages` of object pointers.
    """

    slots: dict[int, int]
    ages: dict[int, np.float32]


class MemoryInputs(NamedTuple):
    """Inputs of engine sam2_track for one object: bank (K,L,D), slot (K,), pointers (P,C), age
    (P,).
    """

    bank: np.ndarray
    slot: np.ndarray
    pointers: np.ndarray
    age: np.ndarray


def remember(bank: Bank, frame: int, entry: MemoryEntry, window: MemoryWindow) -> Bank:
    """The bank with a tracked frame added, and without frames that nothing will ask for again.

    Those near the start are kept: tracking backward begins there.
    """
    tracked = {**bank.tracked, frame: entry}
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
    attended = attend(bank, frame, frame_count, reverse, window)
    return MemoryInputs(
        bank=from_bfloat16(np.stack([bank.entry(t).memory for t in attended.slots])),
        slot=np.array([*attended.slots.values()], np.int64),
        pointers=np.stack([bank.entry(t).pointer for t in attended.ages]),
        age=np.array([*attended.ages.values()], np.float32),
    )


def attend(
    bank: Bank, frame: int, frame_count: int, reverse: bool, window: MemoryWindow
) -> Attended:
    """Which frames an object attends to, as `recall` gives them."""
    chosen = nearest_prompted(bank.prompted, frame, window.prompted)
    others = {t for t in bank.prompted if t not in chosen} | {*bank.tracked}
    max_pointers = min(frame_count, window.pointers)
    past = _frames_ago(others, frame, reverse, max(window.frames, max_pointers))

    recent = [back for back in past if back < window.frames][::-1]  # longest ago first
    slots = dict.fromkeys(chosen, window.frames - 1) | {past[back]: back - 1 for back in recent}
    backs = {t: _frames_back(t, frame, reverse) for t in chosen}
    backs = {t: back for t, back in backs.items() if back >= 0}
    backs |= {t: back for back, t in past.items() if back < max_pointers}
    longest = np.float32(max_pointers - 1)
    return Attended(slots, {t: np.float32(back) / longest for t, back in backs.items()})


def _frames_back(t: int, frame: int, reverse: bool) -> int:
    """How many frames of tracking ago t was."""
    return t - frame if reverse else frame - t


def _frames_ago(frames: Collection[int], frame: int, reverse: bool, count: int) -> dict[int, int]:
    """Those of the last `count` - 1 frames that are among `frames`, by how many frames ago, latest
    first.
    """
    step = 1 if reverse else -1
    past = {back: frame + step * back for back in range(1, count)}
    return {back: t for back, t in past.items() if t in frames}


def places(
    prompted: Mapping[int, Sequence[int]], frame_count: int, window: MemoryWindow
) -> tuple[int, int]:
    """How many memories and pointers an object attends to at most, by the objects' prompted
    frames.
    """
    most = max(len(frames) for frames in prompted.values())
    chosen = most if window.prompted is None else min(most, window.prompted)
    return (
        min(chosen + window.frames - 1, frame_count),
        min(chosen + window.pointers - 1, frame_count),
    )


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


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16 (uint16), rounded to nearest, ties to even."""
    half = np.uint32(16)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    is_odd = (bits >> half) & np.uint32(1)
    rounded = bits + np.uint32(0x7FFF) + is_odd
    return (rounded >> half).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The bits of bfloat16 (uint16) to float32, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
