"""The tracker's graphs: features of frames, features of query points, tracks; and the same of
larger frames.

A causal tracker has one more: tracks in one frame, from what it keeps of those before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from samotion.contract import TRACKER_PX, engines_of
from samotion.presets import TracksNet
from torch import Tensor, nn

from samotion_export import examples
from samotion_export.graph import Graph
from samotion_export.spelling import Spelling
from samotion_export.tracks.tapir import Tapir

# unit-length features; onnxruntime's sums differ from PyTorch's by about 1e-6
FEATURE_TOLERANCE = 1e-4
TRACK_TOLERANCE_PX = 0.005
LOGIT_TOLERANCE = 0.002
EXAMPLES = ((3, 6), (2, 4))  # frames, points
ANSWER = {
    "tracks": TRACK_TOLERANCE_PX,
    "occlusion": LOGIT_TOLERANCE,
    "expected_dist": LOGIT_TOLERANCE,
}
PAST_TOLERANCE = LOGIT_TOLERANCE  # normalised activations, and sums of them, of the order of 1 too


def build_module(net: TracksNet) -> Tapir:
    """The trainable tracker of `net`, with the official checkpoint's parameter names."""
    return Tapir(net)


class TapirGraph(nn.Module):
    """One of the tracker's functions as a module."""

    def __init__(self, tapir: Tapir) -> None:
        super().__init__()
        self.tapir = tapir


class FeatureGraph(TapirGraph):
    """Frames to grids of features."""

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return self.tapir.features(frames)


class QueryGraph(TapirGraph):
    """Grids and query points to features of the queries."""

    def forward(self, lowres: Tensor, hires: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        return self.tapir.query(lowres, hires, queries)


class RefineGraph(TapirGraph):
    """Grids and queries to tracks."""

    def forward(
        self,
        lowres: Tensor,
        hires: Tensor,
        query_lowres: Tensor,
        query_hires: Tensor,
        queries: Tensor,
    ) -> tuple[Tensor, ...]:
        return tuple(self.tapir.refine(lowres, hires, query_lowres, query_hires, queries))


class RefineLargeGraph(TapirGraph):
    """The same on larger frames, from tracks of the small ones."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.tapir.refine_large(*inputs))


class OnlineGraph(TapirGraph):
    """One frame more for points that are being followed."""

    def forward(
        self, lowres: Tensor, hires: Tensor, query_lowres: Tensor, query_hires: Tensor, past: Tensor
    ) -> tuple[Tensor, ...]:
        state, present = self.tapir.step(lowres, hires, query_lowres, query_hires, past)
        return *state, present


Example = tuple[np.ndarray, ...]


def graphs(net: TracksNet, module: nn.Module, spelling: Spelling = Spelling.CPU) -> list[Graph]:
    """The graphs that `net` has (contract.py) of a loaded `module`, each with two sizes of
    example; the same in both spellings.
    """
    assert isinstance(module, Tapir)
    unit = dict.fromkeys(("lowres", "hires"), FEATURE_TOLERANCE)
    large = {f"large_{name}": tolerance for name, tolerance in unit.items()}
    made: dict[str, tuple[Callable[[Tapir], TapirGraph], dict[str, float]]] = {
        "tracks_features": (FeatureGraph, unit),
        "tracks_query": (QueryGraph, _of_queries(unit)),
        "tracks_refine": (RefineGraph, ANSWER),
        "tracks_features_large": (FeatureGraph, large),
        "tracks_query_large": (QueryGraph, _of_queries(large)),
        "tracks_refine_large": (RefineLargeGraph, ANSWER),
        "tracks_online": (OnlineGraph, {**ANSWER, "present": PAST_TOLERANCE}),
    }
    with torch.no_grad():
        tables = [_examples(module.eval(), net, *sizes) for sizes in EXAMPLES]
    return [
        Graph(name, kind(module), tuple(table[name] for table in tables), tolerance)
        for name, (kind, tolerance) in made.items()
        if name in engines_of("tracks", net)
    ]


def _of_queries(tolerance: dict[str, float]) -> dict[str, float]:
    return {f"query_{name}": value for name, value in tolerance.items()}


def _examples(tapir: Tapir, net: TracksNet, count: int, points: int) -> dict[str, Example]:
    """Inputs of every graph of `net` for `count` frames and `points` points."""
    frames, queries = examples.frames(count, TRACKER_PX, TRACKER_PX), _queries(count, points)
    tyx = torch.from_numpy(queries)
    grids = tapir.features(torch.from_numpy(frames))
    looks = tapir.query(*grids, tyx)
    found = {
        "tracks_features": (frames,),
        "tracks_query": (*_arrays(*grids), queries),
        "tracks_refine": (*_arrays(*grids, *looks), queries),
    }
    if net.causal:
        past = torch.zeros(net.iterations * net.mixer_blocks, points, *tapir.past_shape[2:])
        _, past = tapir.step(grids[0][:1], grids[1][:1], *looks, past)
        found["tracks_online"] = _arrays(grids[0][1:2], grids[1][1:2], *looks, past)
    if net.refines_large:
        start = tapir.refine(*grids, *looks, tyx).tracks
        frames = examples.frames(count, net.refine_px, net.refine_px)
        large = tapir.features(torch.from_numpy(frames))
        large_looks = tapir.query(*large, tyx)
        found["tracks_features_large"] = (frames,)
        found["tracks_query_large"] = (*_arrays(*large), queries)
        found["tracks_refine_large"] = _arrays(grids[0], looks[0], *large, *large_looks, start)
    return found


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(t.numpy()) for t in tensors)


def _queries(frames: int, points: int) -> np.ndarray:
    """(points,3) t, y, x px of 256, two opposite corners of the image among them."""
    queries = np.random.default_rng(points).uniform(0, TRACKER_PX, (points, 3)).astype(np.float32)
    queries[:, 0] = np.arange(points) % frames
    queries[0, 1:] = 0
    queries[-1, 1:] = TRACKER_PX - 0.5
    return queries
