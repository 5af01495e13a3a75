"""Which profile of an engine takes a call, and how a call is cut that has more rows than any
takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samotion.contract import Signature

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Limits = Mapping[str, tuple[Shape, Shape]]  # smallest and largest shape of every input


class Profiles:
    """The profiles of one engine: the ranges of shapes that it was built for."""

    def __init__(self, signature: Signature, profiles: Sequence[Limits]) -> None:
        self._inputs = signature.input_names
        self._profiles = profiles
        self.axes = _row_axes(signature)

    def find(self, shapes: Shapes) -> int | None:
        """The first profile that holds all shapes."""
        for index, limits in enumerate(self._profiles):
            if all(_inside(shape, *limits[name]) for name, shape in shapes.items()):
                return index
        return None

    def parts(self, shapes: Shapes) -> list[slice] | None:
        """Slices of rows that fit a profile; None where no number of rows would."""
        rows = self._rows(shapes)
        if self.find(shapes) is not None or rows is None:
            return [slice(0, rows)]
        counts = map(self._most_rows, self._profiles)
        most = max((n for n in counts if self._fits_cut(shapes, n)), default=0)
        if most == 0:
            return None
        count = -(-rows // most)
        return [slice(rows * k // count, rows * (k + 1) // count) for k in range(count)]

    def cut(self, arrays: dict[str, Any], part: slice) -> dict[str, Any]:
        """The rows `part` of the inputs."""
        rows = self._rows({name: array.shape for name, array in arrays.items()})
        if rows is None or (part.start == 0 and part.stop == rows):
            return arrays
        cut = {}
        for name, array in arrays.items():
            axis = self.axes.get(name)
            if axis is None:
                cut[name] = array
            elif axis == 0:  # where it lies
                cut[name] = array[part]
            else:
                cut[name] = np.asarray(array)[(slice(None),) * axis + (part,)]
        return cut

    def __str__(self) -> str:
        return "; or ".join(
            ", ".join(f"{name} {list(low)} to {list(high)}" for name, (low, high) in limits.items())
            for limits in self._profiles
        )

    def _rows(self, shapes: Shapes) -> int | None:
        """How many rows a call has that may be cut; None where it may not be cut at all."""
        counts = [shapes[name][self.axes[name]] for name in self._inputs if name in self.axes]
        return counts[0] if counts else None

    def _most_rows(self, limits: Limits) -> int:
        """The most rows that a profile takes."""
        names = [name for name in self._inputs if name in self.axes]
        return min(int(limits[name][1][self.axes[name]]) for name in names)

    def _fits_cut(self, shapes: Shapes, rows: int) -> bool:
        return self.find(self._cut_shapes(shapes, rows)) is not None

    def _cut_shapes(self, shapes: Shapes, rows: int) -> dict[str, Shape]:
        """The shapes of a call that is cut to so many rows."""
        cut = {}
        for name, shape in shapes.items():
            axis = self.axes.get(name)
            cut[name] = shape if axis is None else (*shape[:axis], rows, *shape[axis + 1 :])
        return cut


def _row_axes(signature: Signature) -> dict[str, int]:
    """By input and output: the axis that its rows lie along, where it has any."""
    tensors = (*signature.inputs, *signature.outputs)
    return {t.name: t.dims.index(signature.rows) for t in tensors if signature.rows in t.dims}


def _inside(shape: Shape, low: Shape, high: Shape) -> bool:
    return len(shape) == len(low) and all(a <= n <= b for n, a, b in zip(shape, low, high))
