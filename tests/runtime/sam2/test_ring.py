"""Memories in a ring on the GPU: what is attended to has a place, and masks are the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import sam2_reference as reference
from samotion.backends.engines import FunctionEngine
from samotion.sam2.clicks import Click
from samotion.sam2.memory import (
    Attended,
    Bank,
    MemoryEntry,
    MemoryWindow,
    attend,
    places,
    remember,
)
from samotion.sam2.propagation import propagate
from samotion.sam2.ring import ABSENT, Ring

HW = (90, 120)
LOGITS = 0.05  # memories in float32 here, rounded to bfloat16 there; measured 0.01
SIZES = {"memory": (4, 2), "pointer": (3,)}


class PaddedEngines:
    """The CPU's engines as a GPU's: answers are kept, and the step takes places that hold
    nothing.
    """

    device, has_gpu_memory = "tensorrt", True

    def __init__(self, engines: Any) -> None:
        self._engines = engines
        self.preset = engines.preset
        self.shapes: set[Any] = set()

    def __getitem__(self, name: str) -> Any:
        engine = self._engines[name]
        return FunctionEngine(self._track if name == "sam2_track" else lambda **x: engine(**x))

    def _track(self, **inputs: Any) -> dict[str, np.ndarray]:
        self.shapes.add(tuple((n, inputs[n].shape) for n in ("bank", "slot", "pointers", "age")))
        levels = {n: inputs[n] for n in ("level0", "level1", "level2", "query")}
        rows = []
        for bank, slot, pointers, age in zip(
            *(inputs[n] for n in ("bank", "slot", "pointers", "age"))
        ):
            here, known = (slot >= 0), (age >= 0)
            if not here.any():
                here[0], slot = True, slot.clip(0)
            if not known.any():
                known[0], age = True, age.clip(0)
            row = {"bank": bank[here], "slot": slot[here], "pointers": pointers[known]}
            row |= {"age": age[known]}
            answer = self._engines["sam2_track"](**levels, **{n: a[None] for n, a in row.items()})
            rows.append(answer)
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def empty(self, shape: Any, dtype: str, is_fixed: bool = False) -> np.ndarray:
        return np.zeros(shape, dtype) if is_fixed else np.empty(shape, dtype)

    def entry(self, name: str) -> Any:
        entry = self._engines.entry(name)
        side = reference.SMALL.image_size_px // 16
        inputs = {"bank": ["B", "K", side**2, 64], "pointers": ["B", "P", 128]}
        return type(entry)(meta={**entry.meta, "pads": True}, inputs=inputs)


@pytest.fixture(scope="module")
def engines() -> Any:
    return reference.small_engines()


def test_masks_are_the_cpus_and_all_steps_have_one_shape(engines: Any) -> None:
    frames, centres = reference.moving_discs(16, HW)
    clicks = [
        Click(i, t, centres[i - 1, t][None], np.array([1]))
        for i, t in ((1, 0), (1, 9), (2, 8), (2, 3), (3, 12), (3, 5))
    ]
    padded: Any = PaddedEngines(engines)
    wanted = propagate(engines, frames, clicks, return_logits=True)
    got = propagate(padded, frames, clicks, return_logits=True)
    assert list(got) == [1, 2, 3]
    for i, logits in wanted.items():
        assert np.abs(got[i] - logits).max() <= LOGITS
    assert len(padded.shapes) == 1


def test_a_clip_without_steps_is_decoded(engines: Any) -> None:
    frames, centres = reference.moving_discs(2, HW)
    clicks = [Click(1, t, centres[0, t][None], np.array([1])) for t in range(2)]
    padded: Any = PaddedEngines(engines)
    masks, wanted = propagate(padded, frames, clicks), propagate(engines, frames, clicks)
    np.testing.assert_array_equal(masks[1], wanted[1])
    assert propagate(padded, frames, []) == {}


def entry(frame: int) -> MemoryEntry:
    memory = np.full(SIZES["memory"], frame, np.float32)
    return MemoryEntry(memory, np.full(SIZES["pointer"], frame, np.float32))


def held(ring: Ring, row: int) -> tuple[dict[int, int], dict[int, float]]:
    """Which frames count, by what lies in their places: frame -> slot, frame -> age."""
    inputs = ring.inputs()
    slots = zip(inputs["bank"][row, :, 0, 0], inputs["slot"][row])
    ages = zip(inputs["pointers"][row, :, 0], inputs["age"][row])
    return (
        {int(frame): int(slot) for frame, slot in slots if slot != ABSENT},
        {int(frame): float(age) for frame, age in ages if age != ABSENT},
    )


@pytest.mark.parametrize("limit", [None, 2])
def test_what_is_attended_to_lies_in_the_ring(limit: int | None) -> None:
    """Forward through a clip and backward from the start, two objects in turn."""
    window, frame_count = MemoryWindow(7, 16, limit), 60
    prompted = {1: [20, 36, 52], 2: [24]}
    counts = places(prompted, frame_count, window)
    engines: Any = object()  # without memory of its own: NumPy's
    ring = Ring(engines, [1, 2], *counts, SIZES)
    for i, frames in prompted.items():
        bank = Bank(frames[0], {t: entry(t) for t in frames})
        forward = [(t, False) for t in range(frames[0] + 1, frame_count) if t not in frames]
        backward = [(t, True) for t in range(frames[0] - 1, -1, -1)]
        for t, reverse in forward + backward:
            attended = attend(bank, t, frame_count, reverse, window)
            ring.attend(i, bank, attended)
            assert held(ring, ring.row(i)) == (attended.slots, attended.ages)
            bank = remember(bank, t, entry(t), window)


def test_only_what_is_new_is_written() -> None:
    engines: Any = object()
    ring = Ring(engines, [5], 3, 2, SIZES)
    bank = Bank(0, {t: entry(t) for t in range(6)})
    written: list[int] = []

    class Watched(np.ndarray):
        def __setitem__(self, place: Any, value: Any) -> None:
            written.append(int(value.flat[0]))
            super().__setitem__(place, value)

    ring._memories.array = ring._memories.array.view(Watched)
    for frames in ((0, 1, 2), (0, 2, 3), (0, 3), (3, 4, 5)):
        slots = dict.fromkeys(frames, 1)
        ring.attend(5, bank, Attended(slots, {0: np.float32(0)}))
        assert held(ring, 0) == (slots, {0: 0.0})
    assert written == [0, 1, 2, 3, 4, 5]
