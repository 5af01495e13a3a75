"""Motion cell by cell: a small U-shaped net from a frame's residual
(samotion.cues.motion_residuals) to where it moves, and where objects end.

The published system has no such net; its tracks alone carry the motion. Ours is for small trackers
and few tracks.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from samotion.contract import MAP_CHANNELS
from torch import Tensor, nn

from samotion_export.graph import Graph

WIDTHS = (24, 48, 64, 96)  # of levels that halve the grid
TOLERANCE = 1e-3  # in logits; float32 alone shows 1e-5


class MotionMap(nn.Module):
    """The contract's `motion_map`: residuals [B,GH,GW,C] -> two logits [B,GH,GW], positive where
    something moves, and where an object ends.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (MAP_CHANNELS, *WIDTHS)
        self.down = nn.ModuleList(pair(a, b) for a, b in zip(inputs, WIDTHS))
        self.up = nn.ModuleList(pair(a + b, b) for a, b in zip(WIDTHS[1:], WIDTHS))
        self.out = nn.Conv2d(WIDTHS[0], 2, 1)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        x = residual.permute(0, 3, 1, 2)
        levels: list[Tensor] = []
        for block in self.down:
            x = block(F.avg_pool2d(x, 2, ceil_mode=True) if levels else x)
            levels.append(x)
        for block, level in zip(reversed(self.up), reversed(levels[:-1])):
            larger = F.interpolate(x, size=level.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([larger, level], 1))
        x = self.out(x)
        return x[:, 0], x[:, 1]


def pair(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, normalised over the batch."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def graphs(module: nn.Module) -> list[Graph]:
    """What is exported, with examples and tolerances."""
    rng = np.random.default_rng(0)
    shapes = (1, 40, 56, MAP_CHANNELS), (2, 27, 33, MAP_CHANNELS)
    examples = tuple((rng.normal(size=shape).astype(np.float32),) for shape in shapes)
    return [Graph("motion_map", module, examples, {"logits": TOLERANCE, "boundaries": TOLERANCE})]
