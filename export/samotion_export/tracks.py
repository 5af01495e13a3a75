"""The tracker's three graphs: features of frames, features of query points, tracks."""

from __future__ import annotations

import numpy as np
import torch
from samotion.presets import TracksNet
from torch import Tensor, nn

from samotion_export import examples
from samotion_export.graph import Array, Graph
from samotion_export.tapir import Tapir
from samotion_export.tapir_maps import IMAGE_PX

FEATURE_TOLERANCE = 1e-4  # unit-length features; onnxruntime's sums differ from PyTorch's by about 1e-6
TRACK_TOLERANCE_PX = 0.005
LOGIT_TOLERANCE = 0.002
EXAMPLES = ((3, 6), (2, 4))  # frames, points


def build_module(net: TracksNet) -> Tapir:
    """The trainable tracker of `net`, with the official checkpoint's parameter names."""
    return Tapir(net)


class FeatureGraph(nn.Module):
    def __init__(self, tapir: Tapir) -> None:
        super().__init__()
        self.tapir = tapir

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        return self.tapir.features(frames)


class QueryGraph(nn.Module):
    def __init__(self, tapir: Tapir) -> None:
        super().__init__()
        self.tapir = tapir

    def forward(self, lowres: Tensor, hires: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        return self.tapir.query(lowres, hires, queries)


class RefineGraph(nn.Module):
    def __init__(self, tapir: Tapir) -> None:
        super().__init__()
        self.tapir = tapir

    def forward(
        self, lowres: Tensor, hires: Tensor, query_lowres: Tensor, query_hires: Tensor, queries: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(self.tapir.refine(lowres, hires, query_lowres, query_hires, queries))


def graphs(net: TracksNet, module: nn.Module) -> list[Graph]:
    """tracks_features, tracks_query and tracks_refine of a loaded `module`, each with two sizes of example."""
    assert isinstance(module, Tapir)
    features, query, refine = FeatureGraph(module), QueryGraph(module), RefineGraph(module)
    feature_examples, query_examples, refine_examples = [], [], []
    with torch.no_grad():
        for count, points in EXAMPLES:
            frames, queries = examples.frames(count, IMAGE_PX, IMAGE_PX), _queries(count, points)
            grids = module.eval().features(torch.from_numpy(frames))
            sampled = module.query(*grids, torch.from_numpy(queries))
            feature_examples.append((frames,))
            query_examples.append((*_arrays(*grids), queries))
            refine_examples.append((*_arrays(*grids, *sampled), queries))
    unit = {"lowres": FEATURE_TOLERANCE, "hires": FEATURE_TOLERANCE}
    sampled_unit = {f"query_{name}": tolerance for name, tolerance in unit.items()}
    answer = {"tracks": TRACK_TOLERANCE_PX, "occlusion": LOGIT_TOLERANCE, "expected_dist": LOGIT_TOLERANCE}
    return [
        Graph("tracks_features", features, tuple(feature_examples), unit),
        Graph("tracks_query", query, tuple(query_examples), sampled_unit),
        Graph("tracks_refine", refine, tuple(refine_examples), answer),
    ]


def _arrays(*tensors: Tensor) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(t.numpy()) for t in tensors)


def _queries(frames: int, points: int) -> Array:
    """(points,3) t, y, x px of 256, two opposite corners of the image among them."""
    queries = np.random.default_rng(points).uniform(0, IMAGE_PX, (points, 3)).astype(np.float32)
    queries[:, 0] = np.arange(points) % frames
    queries[0, 1:] = 0
    queries[-1, 1:] = IMAGE_PX - 0.5
    return queries
