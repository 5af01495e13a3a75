"""The proof itself: every engine on fixed inputs, beside its graph on the CPU.

Each profile is run once at its usual sizes, of which points and frames are few enough for a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samotion.backends import ort
from samotion.backends.proof import record
from samotion.backends.proof.inputs import Arrays, fixed_inputs
from samotion.backends.proof.measures import differences
from samotion.backends.trt import TrtEngine
from samotion.backends.trt_backend import MODULES, Backend
from samotion.checks.json_tables import MOST_LETTERS, short_line
from samotion.contract import SIGNATURES
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest, checked_file, sha256_of

Progress = Callable[[str], None]  # the name of each engine, before it is tried
MOST = {"N": 128, "T": 100, "B": 2}  # of a profile's usual sizes: points, frames, objects


def prove(
    folder: Path, held: Manifest, names: Iterable[str], progress: Progress = lambda name: None
) -> dict[str, Any]:
    """Try the engines `names` on this machine's GPU, but for those that were tried here before.

    Returns the folder's proof: place, and by engine the hash of its file and the figures of every
    output, or the problem it had. Raises DeviceError without GPU, TensorRT or onnxruntime, and
    EngineError for an engine that does not open here, and for a graph that is missing beside its
    engine or was changed.
    """
    ort.provider_for("cpu")
    backend = Backend(MODULES[held.tensorrt_target() or "tensorrt"])
    try:
        place = record.place_of(backend)
        proof = record.started(held.proof, place)
        graphs = Graphs(folder, held)
        for name in names:
            entry = held.engines[name]
            if record.is_tried(held.proof, place, name, entry):
                continue
            progress(name)
            path = checked_file(folder, name, held)
            found = _tried(name, path, entry, backend, graphs)
            proof["engines"][name] = {"sha256": entry.sha256, **found}
            proof.pop("masks", None)
        return proof
    finally:
        backend.close()


class Graphs:
    """The graphs that a folder's engines were built from, on the CPU."""

    def __init__(self, folder: Path, held: Manifest) -> None:
        self._folder, self._held = folder, held
        self._open: dict[str, ort.OrtEngine] = {}

    def __call__(self, name: str, **inputs: Any) -> Arrays:
        """The answer of one graph; inputs that it does not have are left out."""
        wanted = {tensor: inputs[tensor] for tensor in SIGNATURES[name].input_names}
        return self[name](**wanted)

    def __getitem__(self, name: str) -> ort.OrtEngine:
        if name not in self._open:
            net = SIGNATURES[name].net
            # one net's at a time: they are large
            self._open = {n: e for n, e in self._open.items() if SIGNATURES[n].net == net}
            self._open[name] = self._opened(name)
        return self._open[name]

    def rebuild(self, name: str) -> str:
        """The command that builds an engine and its graph anew."""
        return self._held.command(SIGNATURES[name].net, self._folder)

    def _opened(self, name: str) -> ort.OrtEngine:
        path, entry = self._folder / f"{name}.onnx", self._held.engines[name]
        if not path.is_file() or sha256_of(path) != entry.onnx_sha256:
            raise EngineError(
                f"{path.name} is not beside its engine, or was changed; build again:"
                f" {self.rebuild(name)}"
            )
        graph = replace(
            entry, file=path.name, sha256=entry.onnx_sha256, tensorrt=None, gpu=None, rtx=False
        )
        return ort.OrtEngine(name, path, graph, ort.PROVIDERS["cpu"], None)


def _tried(name: str, path: Path, entry: Entry, backend: Backend, graphs: Graphs) -> dict[str, Any]:
    """The figures of one engine, or what went wrong when it was run."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    engine = TrtEngine(name, path, entry, backend, graphs.rebuild(name))
    try:
        for sizes in usual_sizes(engine):
            inputs = fixed_inputs(name, entry, sizes, graphs)
            wanted = graphs(name, **inputs)
            try:
                got = engine(**inputs)
            except EngineError as error:
                return {"problem": short_line(error)[:MOST_LETTERS]}
            for output, want in wanted.items():
                pairs.setdefault(output, []).append((got[output], want))
    finally:
        engine.close()
    return {"outputs": {output: differences(output, some) for output, some in pairs.items()}}


def usual_sizes(engine: TrtEngine) -> list[dict[str, int]]:
    """The letters of every profile at its usual sizes, points and frames no more than MOST."""
    tensors = SIGNATURES[engine.name].inputs
    made = []
    for shapes in engine.usual_shapes():
        sizes = {}
        for tensor in tensors:
            for letter, low, usual in zip(tensor.dims, *shapes[tensor.name]):
                if isinstance(letter, str):
                    sizes[letter] = max(low, min(usual, MOST.get(letter, usual)))
        made.append(sizes)
    return made
