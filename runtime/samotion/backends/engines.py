"""Engines: named arrays in, named arrays out, whatever the backend.

engines = open_engines("engines/")
disparity = engines["depth"](frames=frames)["disparity"]
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from samotion import manifest as manifests
from samotion.backends.cuda import Device
from samotion.backends.folder import engine_folder
from samotion.backends.threads import WORKERS, core_count, mapped
from samotion.checks.arguments import path_of, whole_number
from samotion.contract import DEVICES, NETS, ON_GPU, SIGNATURES, engines_of
from samotion.errors import DeviceError, EngineError, UsageError
from samotion.presets import Preset

MOST_THREADS = 1024
# which `mapped` calls from two threads at once, where the nets are small
CALLED_IN_PAIRS = ("tracks_features", "tracks_refine", "depth", "motion_map")
BY_CLIPS_IN_PAIRS = ("sam2_image",)  # and by live sources one by one, who wait for it


class Engine(Protocol):
    """One opened graph."""

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The outputs as NumPy arrays, by name."""
        ...

    def keep(self, **inputs: Any) -> dict[str, Any]:
        """The outputs where they were computed, to be the inputs of engines of the same folder."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Engines(Protocol):
    """What stages need of the engines they call: a folder's, or others that stand in for them."""

    @property
    def preset(self) -> Preset:
        """The numbers that the engines were made with."""
        ...

    @property
    def device(self) -> str:
        """Where they run, one of contract.DEVICES."""
        ...

    def __getitem__(self, name: str, /) -> Engine: ...

    def entry(self, name: str) -> manifests.Entry:
        """What is recorded of one engine: shapes, precision, meta."""
        ...


class FunctionEngine:
    """A function of NumPy arrays as an engine, whose outputs are kept in memory."""

    def __init__(self, function: Callable[..., dict[str, np.ndarray]]) -> None:
        self._function = function

    def __call__(self, **inputs: Any) -> dict[str, np.ndarray]:
        """What the function answers."""
        return self._function(**inputs)

    keep = __call__

    def close(self) -> None:
        """Nothing is held."""


Opener = Callable[[str, Path, "manifests.Entry"], Engine]


class EngineFolder:
    """The engines of one folder, each opened (and its hash checked) at first use. Close it, or
    use `with`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        device: str,
        opener: Opener,
        release: Callable[[], None] | None = None,
        gpu: Device | None = None,
    ) -> None:
        """`gpu`: where its engines compute, and take arrays from; None: they do on the host."""
        self.folder = Path(folder)
        self.device = device
        self.manifest = manifests.read(folder)
        self.preset: Preset = self.manifest.get_preset()
        self.warnings: tuple[str, ...] = ()  # what those who use its engines should know
        self._opener = opener
        self._release = release
        self._gpu = gpu
        self._open: dict[str, Engine] = {}
        # two threads that ask for an engine get the same one
        self._opening = {name: threading.Lock() for name in self.manifest.engines}
        self._closed = False

    def __getitem__(self, name: str) -> Engine:
        entry = self.entry(name)
        with self._opening[name]:
            if self._closed:
                raise EngineError(
                    f"the engines of {str(self.folder)!r} are closed; open them again with"
                    f" open_engines"
                )
            if name not in self._open:
                path = manifests.checked_file(self.folder, name, self.manifest)
                self._open[name] = self._opener(name, path, entry)
            return self._open[name]

    def entry(self, name: str) -> manifests.Entry:
        """What the manifest says of an engine: shapes, precision, meta."""
        if name not in self.manifest.engines:
            net = SIGNATURES[name].net if name in SIGNATURES else "all"
            command = self.manifest.command(net, self.folder)
            raise EngineError(
                f"no engine {name!r} in {str(self.folder)!r}; build it with: {command}"
            )
        return self.manifest.engines[name]

    @property
    def has_gpu_memory(self) -> bool:
        """Whether `empty` makes arrays on a GPU; not on CUDA without cuda-python."""
        return self._gpu is not None

    @property
    def is_lost(self) -> bool:
        """Whether the GPU has met a fault: nothing else can be computed in this process then. Not
        known on CUDA without cuda-python.
        """
        try:
            if self._gpu is not None:
                self._gpu.wait()
        except DeviceError:
            return True
        return False

    def empty(self, shape: tuple[int, ...], dtype: str, is_fixed: bool = False) -> Any:
        """A new array where the engines compute; a fixed one (`DeviceArray`) is full of zeros."""
        if self._gpu is not None:
            return self._gpu.empty(shape, dtype, is_fixed)
        return np.zeros(shape, dtype) if is_fixed else np.empty(shape, dtype)

    def open_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Open every engine of the preset now, so that what is missing shows before any work is
        done.

        `progress` gets how many are open, and how many there are.
        """
        names = [name for net in NETS for name in engines_of(net, getattr(self.preset, net))]
        opened = mapped(self.__getitem__, names, on_threads=self.device not in ON_GPU)
        for done, _ in enumerate(opened, start=1):
            if progress:
                progress(done, len(names))

    def close(self) -> None:
        """Close all engines; a second time does nothing."""
        self._closed = True
        with ExitStack() as waiting:  # for those that are being opened
            for lock in self._opening.values():
                waiting.enter_context(lock)
            opened = list(self._open.values())
            self._open.clear()
            release, self._release = self._release, None
        for engine in opened:
            engine.close()
        if release:
            release()

    def __enter__(self) -> EngineFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_engines(
    folder: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    for_clips: bool = False,
) -> EngineFolder:
    """Open an engine folder on `auto`, `cpu`, `cuda` or `tensorrt`.

    No `folder`: the one that SAMOTION_ENGINES names, ./engines, or the bundled nano, whichever is
    there first. `threads` bounds the CPU threads of each engine (None: all cores, or a container's
    share of them); small engines that two threads call at once get half as many each, `for_clips`
    also one that live sources call frame by frame.
    Raises EngineError for a missing or damaged folder, DeviceError for a device that is not active.
    """
    if folder is not None:
        folder = path_of(folder, "the engine folder")
    if threads is not None and not 1 <= whole_number(threads, "threads") <= MOST_THREADS:
        raise UsageError(
            f"threads is {threads}; expected 1 to {MOST_THREADS}, or None for all cores"
        )
    if device not in DEVICES:
        raise DeviceError(f"device {device!r} is unknown; choose one of {', '.join(DEVICES)}")
    from samotion.backends import ort as ort_engine

    cores = core_count()
    # onnxruntime's own number heeds no container's share
    most = threads or (cores if cores < (os.cpu_count() or 1) else None)
    folder = engine_folder(folder)
    if device == "tensorrt" or (device == "auto" and manifests.read(folder).tensorrt_target()):
        return _open_tensorrt(folder)
    provider = ort_engine.provider_for(device)
    stream = ort_engine.stream_of(provider)
    chosen = next(kind for kind, known in ort_engine.PROVIDERS.items() if known == provider)

    def opener(name: str, path: Path, entry: manifests.Entry) -> Engine:
        in_pairs = CALLED_IN_PAIRS + (BY_CLIPS_IN_PAIRS if for_clips else ())
        halved = chosen == "cpu" and preset.cues and name in in_pairs
        own = max(1, (most or cores) // WORKERS) if halved else most
        return ort_engine.OrtEngine(name, path, entry, provider, own, stream)

    opened = EngineFolder(folder, chosen, opener, stream.close if stream else None, stream)
    # all that `opener` holds of it, or one that is dropped without being closed would keep itself
    preset = opened.preset
    return opened


def _open_tensorrt(folder: str | os.PathLike[str]) -> EngineFolder:
    from samotion.backends import trt as trt_engine
    from samotion.backends import trt_backend
    from samotion.backends.proof import record

    held = manifests.read(folder)
    target = _tensorrt_target(held)
    backend = trt_backend.Backend(trt_backend.MODULES[target])
    place = record.place_of(backend)

    def opener(name: str, path: Path, entry: manifests.Entry) -> Engine:
        rebuild = held.command(SIGNATURES[name].net, folder, target)
        record.require_none_failed(held.proof, place, name, entry, rebuild)
        return trt_engine.TrtEngine(name, path, entry, backend, rebuild)

    opened = EngineFolder(folder, "tensorrt", opener, backend.close, backend.device)
    if unproved := record.warning(held.proof, place, held.engines, str(folder)):
        opened.warnings = (unproved,)
    return opened


def _tensorrt_target(held: manifests.Manifest) -> str:
    """The TensorRT that a folder was built for; for a folder of graphs, the installed one."""
    from samotion.backends.trt_backend import RTX, TENSORRT, is_installed

    if target := held.tensorrt_target():
        return target
    return "rtx" if is_installed(RTX) and not is_installed(TENSORRT) else "tensorrt"
