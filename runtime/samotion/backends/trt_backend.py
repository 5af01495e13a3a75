"""The TensorRT of this machine, TensorRT proper or TensorRT for RTX, and what all engines of a
folder share: a GPU, its stream, and one block of scratch memory.

Both have one API under two names, so the engines need not know which of them runs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from samotion.backends.cuda import INSTALL, Device
from samotion.backends.device_array import Memory
from samotion.errors import DeviceError, first_line

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"  # the names to import
MODULES = {"tensorrt": TENSORRT, "rtx": RTX}  # by export's --target
RTX_CAPABILITIES = "8.6, 8.9 and 12"  # of compute, those that its engines are for
TITLES = {TENSORRT: "TensorRT", RTX: "TensorRT for RTX"}
INSTALLS = {TENSORRT: INSTALL, RTX: "pip install 'samotion[rtx]'"}


def load(module: str = TENSORRT) -> Any:
    """The package `tensorrt` or `tensorrt_rtx`. Raises DeviceError where it is missing or does not
    load.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # a missing library of CUDA shows as either
        raise DeviceError(
            f"{TITLES[module]} is not installed ({first_line(error)}); {INSTALLS[module]}"
        ) from error


def is_installed(module: str) -> bool:
    """Whether a TensorRT is there and loads."""
    try:
        load(module)
    except DeviceError:
        return False
    return True


class Backend:
    """One TensorRT on the current GPU. `module`: TENSORRT or RTX.

    Raises DeviceError where the package, cuda-python, the driver or a GPU is missing.
    """

    def __init__(self, module: str = TENSORRT) -> None:
        self.trt = load(module)
        self.module, self.title = module, TITLES[module]
        self.version: str = self.trt.__version__
        self.is_8 = module == TENSORRT and int(self.version.split(".")[0]) < 10
        # Whether steps may be recorded as CUDA graphs. A second context with a profile that one has
        # already ends a process under 8.6. TensorRT for RTX swaps kernels behind a recording: those
        # for the shapes at hand are compiled while others run.
        self.records = not self.is_8 and module != RTX
        self.device = Device(INSTALLS[module], blocking=False)
        self.gpu = self.device.name
        self.scratch = Scratch(self.device)
        logger = self.trt.Logger(self.trt.Logger.ERROR)
        self._runtime: Any = self.trt.Runtime(logger)

    def deserialize(self, data: bytes) -> Any:
        """The engine in `data`, None where this TensorRT refuses it, or the GPU has no room."""
        with self.device.turn():
            return self._with_room(lambda: self._runtime.deserialize_cuda_engine(data))

    def make_context(self, engine: Any) -> Any:
        """An execution context without scratch memory of its own; None where there is no room."""
        if self.is_8:
            return self._with_room(engine.create_execution_context_without_device_memory)
        own = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return self._with_room(lambda: engine.create_execution_context(own))

    def _with_room(self, make: Callable[[], Any]) -> Any:
        """What `make` gives; where that is None, once more without what is held for reuse."""
        made = make()
        if made is None:
            self.device.trim()
            made = make()
        return made

    def scratch_bytes(self, engine: Any, profile: int) -> int:
        """How much scratch memory a profile needs at its largest shapes; 8.6 knows that of all
        profiles alone.
        """
        if self.is_8:
            return int(engine.device_memory_size)
        return int(engine.get_device_memory_size_for_profile_v2(profile))

    def lend(self, context: Any) -> None:
        """Let a context work in the scratch block as it is now."""
        memory = self.scratch.memory
        if self.is_8:
            context.device_memory = memory.address
        else:
            context.set_device_memory(memory.address, memory.size)

    def close(self) -> None:
        """Give the runtime and the device back."""
        self._runtime = None
        self.scratch.close()
        self.device.close()


class Scratch:
    """One block of device memory for what lies between the kernels of all contexts.

    Contexts run one at a time, on one stream, so they can share it. `generation` counts the blocks:
    what was recorded or set up with an earlier one must not run again.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: Memory | None = None
        self.generation = 0

    @property
    def memory(self) -> Memory:
        """The block, once `grow` has made one."""
        assert self._memory is not None
        return self._memory

    def grow(self, nbytes: int) -> None:
        """Make room for `nbytes`. Raises DeviceError where the GPU has none."""
        if self._memory is not None and self._memory.size >= nbytes:
            return
        self._memory = None
        self.generation += 1
        self._device.trim()  # the old block goes before a larger one is asked for
        self._memory = self._device.take(nbytes)

    def close(self) -> None:
        """Give the block back."""
        self._memory = None
