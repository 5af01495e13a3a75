"""A stand-in for the depth net, small enough to export and build in a moment."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samotion_export.checkpoints import weights
from samotion_export.graph import Graph
from samotion_export.request import Request

from helpers import official


class Sums(torch.nn.Module):
    """Sums of colours."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return (frames.float() * self.scale).sum(-1)


def sums_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Request:
    """An export of it, as the depth net of nano, to `tmp_path`/e."""
    rng = np.random.default_rng(0)
    graphs = [
        Graph(
            "depth",
            Sums(),
            tuple((rng.integers(0, 256, (b, 14, 14, 3), np.uint8),) for b in (1, 2)),
            {"disparity": 1e-3},
        )
    ]
    stand_in = types.SimpleNamespace(
        build_module=lambda net: Sums(), graphs=lambda net, module, spelling: list(graphs)
    )
    monkeypatch.setattr(weights, "net_module", lambda name: stand_in)
    checkpoint = official.write(tmp_path / "depth.pt", "depth", Sums().state_dict())
    return Request(("depth",), "nano", tmp_path / "e", checkpoints={"depth": checkpoint}, **options)
