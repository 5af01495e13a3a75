"""Copies between host and GPU, through page-locked memory that is used again and again.

A copy is queued and not waited for. Uploads go through blocks that are taken in turn, each again
once the GPU has read it; downloads are told done by an event, one for all that is fetched together.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from samotion.backends.cuda import Device
    from samotion.backends.device_array import DeviceArray

BLOCK_BYTES = 32 << 20  # larger arrays get blocks of their own size
MOST_BYTES = 64 << 20  # of blocks for uploads, before one is waited for
LEAST_LENT = 1 << 20  # a download of so much is not copied again
ALIGNMENT = 256  # bytes; what cudaMalloc promises, and more than TensorRT asks for


def aligned(nbytes: int) -> int:
    """So many bytes, or the few more after which the next array is aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass
class Block:
    """A piece of page-locked memory. `event`: what the stream reaches when it is free again."""

    address: int
    size: int
    event: Any
    used: int = 0

    def bytes_at(self, start: int, count: int) -> np.ndarray:
        """Some of it, as an array."""
        memory = (ctypes.c_uint8 * count).from_address(self.address + start)
        array: np.ndarray = np.ctypeslib.as_array(memory)
        return array


class Uploads:
    """Blocks through which arrays go up. Its device's lock is held by who calls."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._now: Block | None = None
        self._before: deque[Block] = deque()  # the longest ago first

    def send(self, array: np.ndarray, address: int) -> None:
        """Queue a copy of an array; it may change right after."""
        if not array.nbytes:
            return
        block = self._with_room(array.nbytes)
        staged = block.bytes_at(block.used, array.nbytes)
        staged[:] = array.reshape(-1).view(np.uint8)
        self._device.copy_up(address, block.address + block.used, array.nbytes)
        block.used += aligned(array.nbytes)
        if block.used >= block.size:  # full: it is free once this copy is done
            self._retire(block)

    def close(self) -> None:
        """Give all blocks back; nothing may be queued."""
        for block in (*self._before, *([self._now] if self._now else [])):
            self._device.free_host(block)
        self._now = None
        self._before.clear()

    def _with_room(self, nbytes: int) -> Block:
        now = self._now
        if now is not None and now.used + nbytes <= now.size:
            return now
        if now is not None:
            self._retire(now)
        self._now = self._next(nbytes)
        self._now.used = 0
        return self._now

    def _retire(self, block: Block) -> None:
        """Let a block wait until the GPU has read it."""
        self._device.mark(block.event)
        self._before.append(block)
        self._now = None

    def _next(self, nbytes: int) -> Block:
        """A block that the GPU has read, or a new one; where there are enough, wait for one."""
        size = max(nbytes, BLOCK_BYTES)
        while self._before and sum(b.size for b in self._before) + size > MOST_BYTES:
            first = self._before.popleft()
            self._device.wait_for(first.event)
            if first.size >= nbytes:
                return first
            self._device.free_host(first)
        oldest = self._before[0] if self._before else None
        if oldest and oldest.size >= nbytes and self._device.reached(oldest.event):
            return self._before.popleft()
        return self._device.allocate_host(size)


class Download:
    """Arrays on their way to the host; `get` waits for them."""

    def __init__(self, device: Device, arrays: Mapping[str, DeviceArray], block: Block) -> None:
        """Queue the copies. Its device's lock is held by who calls."""
        self._device, self._block = device, block
        self._found: dict[str, np.ndarray] | None = None
        self._kinds: dict[str, tuple[int, tuple[int, ...], Any]] = {}
        for name, array in arrays.items():
            self._kinds[name] = block.used, array.shape, array.dtype
            device.copy_down(block.address + block.used, array.address, array.nbytes)
            block.used += aligned(array.nbytes)
        device.mark(block.event)

    def get(self) -> dict[str, np.ndarray]:
        """The arrays by name, once the GPU has got so far. They are the caller's own: copies, or
        the page-locked memory itself for as long as they are used.
        """
        if self._found is None:
            if not self._device.reached(self._block.event):
                self._device.wait_for(self._block.event)
            large = self._block.used >= LEAST_LENT
            self._found = self._views() if large else self._copies()
        return self._found

    def __del__(self) -> None:
        """One that nobody asked for: what is queued next for its memory comes after its copies."""
        if self._found is None:
            self._device.give_back_host(self._block)

    def _copies(self) -> dict[str, np.ndarray]:
        found, block = {}, self._block
        for name, (start, shape, dtype) in self._kinds.items():
            array = np.empty(shape, dtype)
            array.reshape(-1).view(np.uint8)[:] = block.bytes_at(start, array.nbytes)
            found[name] = array
        self._device.give_back_host(block)
        return found

    def _views(self) -> dict[str, np.ndarray]:
        """Arrays in the block, which goes back when the last of them does."""
        memory: Any = (ctypes.c_uint8 * self._block.used).from_address(self._block.address)
        weakref.finalize(memory, self._device.give_back_host, self._block).atexit = False
        found = {}
        for name, (start, shape, dtype) in self._kinds.items():
            count = math.prod(shape)
            found[name] = np.frombuffer(memory, dtype, count, start).reshape(shape)
        return found
