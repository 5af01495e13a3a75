"""PyTorch beside the engines: the same graphs on the same inputs, called as samotion calls them or
as the reference.

Needs the `export` extra; torch is imported when a baseline is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from samotion.backends.engines import Engines, FunctionEngine
from samotion.contract import NETS, ON_GPU, SIGNATURES, engines_of
from samotion.errors import SamotionError, UsageError

from samotion_bench.recorder import Note

if TYPE_CHECKING:
    from samotion_export.graph import Graph

Arrays = dict[str, np.ndarray]

REFERENCE_CHUNK = 128  # points per call, features anew for each (docs/method.md, section 8)
REFERENCE_GRID = 9000  # points of a query frame's grid, about


@dataclass(frozen=True)
class TorchEngines:
    """Modules that speak the contract, in PyTorch, eager or `compiled`.

    `same_weights`: the nets whose weights are the engines'.
    """

    engines: Engines
    graphs: Mapping[str, Graph]
    same_weights: tuple[str, ...]
    device: str
    compiled: bool = False

    def __getitem__(self, name: str) -> FunctionEngine:
        import torch

        module: Any = self.graphs[name].module
        if self.compiled:
            module = torch.compile(module)
        signature = SIGNATURES[name]

        def call(**inputs: np.ndarray) -> Arrays:
            tensors = [
                torch.from_numpy(np.array(inputs[t.name], t.dtype, order="C")).to(self.device)
                for t in signature.inputs
            ]
            with torch.inference_mode():
                outputs = module(*tensors)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            return {name: o.cpu().numpy() for name, o in zip(signature.output_names, outputs)}

        return FunctionEngine(call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engines, name)


def open_torch(engines: Engines, threads: int | None = None) -> TorchEngines:
    """The nets of the engines' preset in PyTorch: bundled weights where they are at hand, random
    ones otherwise.

    `threads` on the CPU, as the engines have (None: as PyTorch likes).
    """
    try:
        import torch
        from samotion_export.checkpoints import weights
        from samotion_export.spelling import Spelling
    except ImportError as error:
        raise UsageError(
            f"--baseline needs PyTorch ({error}); pip install 'samotion[export]'"
        ) from error
    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if engines.device in ON_GPU and torch.cuda.is_available() else "cpu"
    graphs: dict[str, Graph] = {}
    same = []
    for net in NETS:
        config = getattr(engines.preset, net)
        torch.manual_seed(0)
        module = weights.build_module(net, config)
        try:
            module.load_state_dict(weights.load(net, config, module=module))
            same.append(net)
        except SamotionError:  # not bundled: random weights take as long
            pass
        spelling = Spelling(engines.entry(engines_of(net, config)[0]).spelling)
        for graph in weights.net_module(net).graphs(config, module.eval(), spelling):
            graphs[graph.name] = graph
            graph.module.to(device)
    return TorchEngines(engines, graphs, tuple(same), device)


def count_gflop(torch_engines: TorchEngines, notes: Mapping[str, Note]) -> dict[str, float]:
    """GFLOP of each engine's recorded call, 2 per multiply-add, products and convolutions as
    PyTorch counts them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    found = {}
    for name, note in notes.items():
        with FlopCounterMode(display=False) as counter:
            torch_engines[name](**note.inputs)
        found[name] = counter.get_total_flops() / 1e9
    return found


def reference_points(hw: tuple[int, int], frame_count: int, step: int) -> int:
    """Points that the reference tracks: a grid on every query frame, all of it."""
    spacing = max(1, int(math.sqrt(hw[0] * hw[1] / REFERENCE_GRID)))
    return math.ceil(hw[0] / spacing) * math.ceil(hw[1] / spacing) * math.ceil(frame_count / step)


def reference_calls(
    hw: tuple[int, int], frame_count: int, step: int, objects: int
) -> dict[str, int]:
    """How often the reference calls each net: features per 128 points, image encodings per object.

    For objects that are clicked on the first frame and followed forward, one at a time.
    """
    chunks = math.ceil(reference_points(hw, frame_count, step) / REFERENCE_CHUNK)
    followed = objects * (frame_count - 1)
    return {
        "tracks_features": chunks * frame_count,
        "tracks_query": chunks,
        "tracks_refine": chunks,
        "depth": frame_count,
        "dino": math.ceil(frame_count / step),
        "motion": 1,
        "sam2_image": objects + followed,
        "sam2_prompt": objects,
        "sam2_memory": objects,
        "sam2_track": followed,
    }


def reference_inputs(notes: Mapping[str, Note]) -> dict[str, Arrays]:
    """Recorded inputs cut to the reference's calls: one frame or one object at a time, 128
    points through the clip.
    """
    found = {}
    for name, note in notes.items():
        one = {"tracks_features": {"T": 1}, "motion": {}}.get(name, {"B": 1})
        if name in ("tracks_query", "tracks_refine"):
            one = {"N": REFERENCE_CHUNK}
        found[name] = {
            tensor.name: note.inputs[tensor.name][
                tuple(slice(one.get(str(dim))) for dim in tensor.dims)
            ]
            for tensor in SIGNATURES[name].inputs
        }
    return found
