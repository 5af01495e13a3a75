"""Arrays on the GPU, with the little of NumPy's arrays that stages need: rows, and writing them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from samotion.backends.cuda import Device


class Memory:
    """A piece of device memory; it goes back to its device when nothing refers to it any more."""

    def __init__(self, device: Device, address: int, size: int) -> None:
        self._device, self.address, self.size = device, address, size

    def __del__(self) -> None:
        self._device.give_back(self.address, self.size)


class Held(Protocol):
    """Device memory, there for as long as something refers to it."""

    @property
    def address(self) -> int:
        """Of its first byte."""
        ...


class DeviceArray:
    """An array that lies on the GPU, dense, rows along its first axis; engines of the same device
    take it as an input without a copy.

    `array[3]` and `array[2:5]` are views of rows, `array[2:5] = rows` writes them, from the GPU or
    from NumPy. Anything else that asks for numbers gets them copied: `numpy.asarray(x)`.
    `is_fixed`: it is the same memory in every call, so that recorded steps read it where it lies.
    """

    def __init__(
        self,
        device: Device,
        memory: Held,
        shape: tuple[int, ...],
        dtype: Any,
        offset: int = 0,
        is_fixed: bool = False,
    ) -> None:
        self.device, self.memory, self.shape, self.dtype = device, memory, shape, np.dtype(dtype)
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        self._offset, self.is_fixed = offset, is_fixed

    @property
    def address(self) -> int:
        """Of its first byte."""
        return self.memory.address + self._offset

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice) -> DeviceArray:
        row_bytes = self.nbytes // max(len(self), 1)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError(f"rows {rows} of an array on the GPU are not dense")
            shape = (max(stop - start, 0), *self.shape[1:])
        else:
            start, shape = range(len(self))[rows], self.shape[1:]
        offset = self._offset + start * row_bytes
        return DeviceArray(self.device, self.memory, shape, self.dtype, offset, self.is_fixed)

    def __setitem__(self, rows: int | slice, values: Any) -> None:
        target = self[rows]
        if tuple(values.shape) != target.shape or values.dtype != target.dtype:
            raise ValueError(
                f"rows are {target.dtype}{list(target.shape)}, got"
                f" {values.dtype}{list(values.shape)}"
            )
        with self.device.turn():
            self.device.write(target.address, values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array = self.device.fetch({"array": self}).get()["array"]
        return array if dtype is None else array.astype(dtype, copy=False)
