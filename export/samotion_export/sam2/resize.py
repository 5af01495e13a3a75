"""Frames of a clip's own size to squares, SAM 2's or the tracker's, on the GPU.

The same numbers as `samotion.backends.squares.resample`, to the bit: Pillow's fixed point, in
int32. The taps come from outside, for they depend on the clip's size, the square's and the kernel.
"""

from __future__ import annotations

import numpy as np
import torch
from samotion.backends.squares import BICUBIC, LANCZOS, PRECISION_BITS, taps_of
from torch import Tensor, nn

from samotion_export.graph import Graph

TOLERANCE = 0.5  # grey levels: none


class ResizeGraph(nn.Module):
    """frames u8 (B,H,W,3), index and weight (2,N,K) i64 to u8 (B,N,N,3)."""

    def forward(self, frames: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        weights = weight.to(torch.int32).unsqueeze(-1)
        # no parser takes uint8 to integers at once
        pixels = frames.float().to(torch.int32)
        wide = rounded((pixels[:, :, index[0]] * weights[0]).sum(3, dtype=torch.int32))
        square = (wide[:, index[1]] * weights[1].unsqueeze(-1)).sum(2, dtype=torch.int32)
        return rounded(square).float().to(torch.uint8)


def rounded(total: Tensor) -> Tensor:
    """Fixed point to whole grey levels."""
    one = 1 << PRECISION_BITS
    # what is below zero is cut off: that the quotient is rounded to zero there makes no difference
    levels = torch.div(total + one // 2, one, rounding_mode="trunc")
    none, most = (torch.tensor(level, dtype=torch.int32) for level in (0, 255))
    return torch.minimum(torch.maximum(levels, none), most)


def graph(side_px: int) -> Graph:
    """With examples of clips that are enlarged and shrunk."""
    rng = np.random.default_rng(0)
    cases = (
        (1, (side_px // 2, side_px // 2 + 7), side_px, BICUBIC),
        (2, (side_px + 31, 2 * side_px), side_px // 2, LANCZOS),
    )
    examples = tuple(
        (rng.integers(0, 256, (count, *hw, 3), np.uint8), *taps_of(hw, side, kernel))
        for count, hw, side, kernel in cases
    )
    return Graph("sam2_resize", ResizeGraph(), examples, {"resized": TOLERANCE})
