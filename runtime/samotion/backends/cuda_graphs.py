"""Steps that come again and again with the same shapes, recorded as CUDA graphs and launched whole.

TensorRT ties a recording to the state of its context and to all addresses. So a step has a context
and memory of its own: inputs are copied in and outputs copied out on the device, all outputs at
once, and what a caller holds is never written again. Inputs that are fixed
(`DeviceArray.is_fixed`) are read where they lie. Scratch memory alone is shared; when it moves,
steps are made anew.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from samotion.backends.cuda import Device
from samotion.backends.device_array import DeviceArray
from samotion.backends.staging import aligned
from samotion.errors import DeviceError

Shapes = Mapping[str, tuple[int, ...]]
# name, shape, and of inputs that are fixed where they lie, by name
Key = tuple[tuple[str, tuple[int, ...], int | None], ...]

# with the same shapes before they are worth a recording: memories grow over a clip's first frames
WARM_RUNS = 2
MOST_STEPS = 2  # per engine, the last used ones; each has memory for its inputs and outputs


class Step:
    """One engine at fixed shapes. The first run is an ordinary one, as TensorRT asks for before
    a recording.
    """

    def __init__(
        self,
        device: Device,
        context: Any,
        key: Key,
        dtypes: Mapping[str, str],
        outputs: Sequence[str],
        generation: int = 0,
    ) -> None:
        """`context` has its profile and scratch memory, that of `generation`, and nothing else is
        done with it. Raises DeviceError where memory is short.
        """
        self.generation = generation
        self._device, self._context, self._dtypes = device, context, dtypes
        for name, shape, _ in key:
            if not context.set_input_shape(name, shape):
                raise DeviceError(f"no step with {name!r} of shape {list(shape)}")
        self._shapes: dict[str, tuple[int, ...]] = {
            **{name: shape for name, shape, _ in key},
            **{name: tuple(map(int, context.get_tensor_shape(name))) for name in outputs},
        }
        fixed = {name: address for name, _, address in key if address is not None}
        own = [name for name, _, _ in key if name not in fixed]
        self._memory = {name: device.take(self._nbytes(name)) for name in own}
        self._places, self._answer_bytes = self._laid_out(outputs)
        self._answer: Any = device.take(self._answer_bytes)
        addresses = {name: memory.address for name, memory in self._memory.items()}
        addresses |= {name: self._answer.address + at for name, at in self._places.items()}
        for name, address in {**addresses, **fixed}.items():
            if not context.set_tensor_address(name, address):
                raise DeviceError(f"no step with {name!r} at {address:#x}")
        self._recording: Any = None

    def run(self, arrays: Mapping[str, Any]) -> dict[str, DeviceArray] | None:
        """Queue the copies and the step; outputs in memory of their own. None where it cannot be
        recorded.
        """
        for name, memory in self._memory.items():
            self._device.write(memory.address, arrays[name])
        if self._recording is not None:
            self._device.launch(self._recording)
            return self._given()
        if not self._context.execute_async_v3(self._device.stream_handle):
            return None
        outputs = self._given()
        self._recording = self._device.record(
            lambda: self._context.execute_async_v3(self._device.stream_handle)
        )
        return outputs

    @property
    def recorded(self) -> bool:
        """Whether a launch replays it."""
        return self._recording is not None

    def close(self) -> None:
        """Wait for it, then give its memory back."""
        self._device.wait()  # it may be running
        if self._recording is not None:
            self._device.forget(self._recording)
        self._recording = self._context = self._answer = None
        self._memory = {}

    def _given(self) -> dict[str, DeviceArray]:
        """The outputs, in memory of their own: one block, for one copy."""
        device, memory = self._device, self._device.take(self._answer_bytes)
        device.copy(memory.address, self._answer.address, self._answer_bytes)
        return {
            name: DeviceArray(device, memory, self._shapes[name], self._dtypes[name], at)
            for name, at in self._places.items()
        }

    def _laid_out(self, names: Sequence[str]) -> tuple[dict[str, int], int]:
        """Where each of these arrays begins in a block of memory, and how large that is."""
        places, end = {}, 0
        for name in names:
            places[name] = end
            end += aligned(self._nbytes(name))
        return places, end

    def _nbytes(self, name: str) -> int:
        return math.prod(self._shapes[name]) * np.dtype(self._dtypes[name]).itemsize


class Steps:
    """The steps of one engine. `make` gives one for shapes, or raises DeviceError; `generation`
    counts the blocks of scratch memory that contexts were given.
    """

    def __init__(self, make: Callable[[Key], Step], generation: Callable[[], int]) -> None:
        self._make, self._generation = make, generation
        self._seen: Counter[Key] = Counter()
        self._steps: OrderedDict[Key, Step] = OrderedDict()
        self._usable = True

    def run(self, arrays: Mapping[str, Any]) -> dict[str, DeviceArray] | None:
        """The outputs, or None: shapes that are rare, or an engine that cannot be recorded here."""
        key = tuple((name, tuple(a.shape), _fixed(a)) for name, a in sorted(arrays.items()))
        self._seen[key] += 1
        if not self._usable or self._seen[key] <= WARM_RUNS:
            return None
        try:
            self._drop_stale()
            step = self._get(key)
            outputs = step.run(arrays)
        except DeviceError:  # no memory for a second context: the ordinary way needs none
            outputs = None
        if outputs is None or not step.recorded:
            self._usable = False
            self.close()
        return outputs

    def close(self) -> None:
        """Close all of them."""
        for step in self._steps.values():
            step.close()
        self._steps.clear()

    def _drop_stale(self) -> None:
        """Close what was recorded with scratch memory that is gone."""
        now = self._generation()
        for key in [key for key, step in self._steps.items() if step.generation != now]:
            self._steps.pop(key).close()

    def _get(self, key: Key) -> Step:
        if key not in self._steps:
            while len(self._steps) >= MOST_STEPS:
                old, step = self._steps.popitem(last=False)
                step.close()
                # so that three shapes in turn do not drive each other out at every call
                self._seen[old] = 0
            self._steps[key] = self._make(key)
        self._steps.move_to_end(key)
        return self._steps[key]


def _fixed(array: Any) -> int | None:
    """Where an input always lies; None for all that are copied in."""
    return array.address if isinstance(array, DeviceArray) and array.is_fixed else None
