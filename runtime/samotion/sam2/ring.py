"""SAM 2's memories where the GPU computes: fixed arrays with a place for all that is attended to.

What is no longer attended to makes place for what is; nothing is stacked, and every step has the
same shapes. Slots and ages of -1 say that a place holds nothing that counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samotion.backends import resident
from samotion.backends.engines import Engines
from samotion.sam2.memory import Attended, Bank

ABSENT = -1


class Places:
    """Rows of equally many places, each for one array, kept by the frame that it is of."""

    def __init__(
        self, engines: Engines, rows: int, count: int, shape: tuple[int, ...], dtype: Any
    ) -> None:
        self.count = count
        self.array = resident.empty(engines, (rows, count, *shape), dtype, is_fixed=True)
        self._held: list[dict[int, int]] = [{} for _ in range(rows)]  # frame -> place

    def hold(self, row: int, wanted: Mapping[int, Any]) -> dict[int, int]:
        """Let a row hold the wanted arrays, by frame: frame -> place. Those it has stay."""
        held = self._held[row]
        kept = {held[frame] for frame in wanted if frame in held}
        free = [place for place in range(self.count) if place not in kept]
        free.sort(key=lambda place: place in held.values())  # empty ones first
        for frame, array in wanted.items():
            if frame not in held:
                place = free.pop(0)
                for old in [frame for frame, taken in held.items() if taken == place]:
                    del held[old]
                held[frame] = place
                self.array[row][place] = array
        return {frame: held[frame] for frame in wanted}


class Ring:
    """The memories and pointers that some objects attend to. `memories` and `pointers`: of how many
    frames at once, at most.

    An object that is not tracked to a frame keeps its row as it was; the engine answers for it, and
    nobody looks.
    """

    def __init__(
        self,
        engines: Engines,
        objects: Sequence[int],
        memories: int,
        pointers: int,
        sizes: Mapping[str, tuple[int, ...]],
    ) -> None:
        """`sizes`: of one memory and of one pointer."""
        self._rows = {object_id: row for row, object_id in enumerate(objects)}
        rows = len(objects)
        self._memories = Places(engines, rows, memories, sizes["memory"], np.float32)
        self._pointers = Places(engines, rows, pointers, sizes["pointer"], np.float32)
        self._slot = np.full((rows, memories), ABSENT, np.int64)
        self._age = np.full((rows, pointers), ABSENT, np.float32)

    def row(self, object_id: int) -> int:
        """Which row of an answer is an object's."""
        return self._rows[object_id]

    def attend(self, object_id: int, bank: Bank, attended: Attended) -> None:
        """Let an object's row hold what it attends to."""
        row = self.row(object_id)
        entries = {t: bank.entry(t) for t in {*attended.slots, *attended.ages}}
        memories = {t: entries[t].memory for t in attended.slots}
        pointers = {t: entries[t].pointer for t in attended.ages}
        self._slot[row], self._age[row] = ABSENT, ABSENT
        for t, place in self._memories.hold(row, memories).items():
            self._slot[row, place] = attended.slots[t]
        for t, place in self._pointers.hold(row, pointers).items():
            self._age[row, place] = attended.ages[t]

    def inputs(self) -> dict[str, Any]:
        """The inputs of engine sam2_track for all objects."""
        return {
            "bank": self._memories.array,
            "slot": self._slot,
            "pointers": self._pointers.array,
            "age": self._age,
        }
