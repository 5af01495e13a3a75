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


class Remembered(NamedTuple):
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
    prompted: Mapping[int, Remembered]
    tracked: Mapping[int, Remembered] = field(default_factory=dict)


class Reach(NamedTuple):
    """How much is attended to: `frames` (with the present one), `pointers`, and prompted frames
    (None: all).
    """

    frames: int
    pointers: int
    prompted: int | None = None


class Recalled(NamedTuple):
    """Inputs of engine sam2_track for one object: bank (K,L,D), slot (K,), pointers (P,C), age
    (P,).
    """

    bank: Array
    slot: Array
    pointers: Array
    age: Array


def remember(bank: Bank, frame: int, memory: Array, pointer: Array, reach: Reach) -> Bank:
    """The bank with a tracked frame added, and without frames that nothing will ask for again.

    Those near the start are kept: tracking backward begins there.
    """
    tracked = {**bank.tracked, frame: Remembered(to_bfloat16(memory), pointer)}
    near = max(reach.frames, reach.pointers)
    kept = {t: r for t, r in tracked.items() if abs(t - frame) < near or abs(t - bank.start) < near}
    return replace(bank, tracked=kept)


def recall(bank: Bank, frame: int, frame_count: int, reverse: bool, reach: Reach) -> Recalled:
    """What an object attends to at `frame`, coming from earlier frames, or from later ones where
    `reverse`.
    """
    sign = -1 if reverse else 1
    chosen = nearest_prompted(bank.prompted, frame, reach.prompted)
    others = {**{t: r for t, r in bank.prompted.items() if t not in chosen}, **bank.tracked}
    spatial = [(reach.frames - 1, bank.prompted[t].memory) for t in chosen]
    for back in range(reach.frames - 1, 0, -1):
        if (past := others.get(frame - sign * back)) is not None:
            spatial.append((back - 1, past.memory))

    most = min(frame_count, reach.pointers)
    pointers = [
        ((frame - t) * sign, bank.prompted[t].pointer) for t in chosen if (frame - t) * sign >= 0
    ]
    for back in range(1, most):
        if (past := others.get(frame - sign * back)) is not None:
            pointers.append((back, past.pointer))

    slots, memories = zip(*spatial)
    ages, vectors = zip(*pointers)
    return Recalled(
        from_bfloat16(np.stack(memories)),
        np.array(slots, np.int64),
        np.stack(vectors),
        np.array(ages, np.float32) / np.float32(most - 1),
    )


def frames_attended(prompted: Sequence[int], frame: int, reverse: bool, reach: Reach) -> set[int]:
    """Of the prompted frames, those whose spatial memory `recall` takes at `frame`."""
    sign = -1 if reverse else 1
    recent = {t for t in prompted if 0 < (frame - t) * sign < reach.frames}
    return recent | set(nearest_prompted(prompted, frame, reach.prompted))


def nearest_prompted(frames: Collection[int], frame: int, limit: int | None) -> list[int]:
    """The prompted frames attended to: all, or the last before, the first not before, and then
    the nearest others.
    """
    if limit is None or len(frames) <= limit:
        return list(frames)
    before = max((t for t in frames if t < frame), default=None)
    after = min((t for t in frames if t >= frame), default=None)
    chosen = [t for t in (before, after) if t is not None]
    rest = sorted((t for t in frames if t not in chosen), key=lambda t: abs(t - frame))
    return chosen + rest[: limit - len(chosen)]


def to_bfloat16(x: Array) -> Array:
    """float32 to the bits of bfloat16 (uint16), rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    """The bits of bfloat16 (uint16) to float32, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
