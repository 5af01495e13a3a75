"""TAPIR's similarity maps: query features, the initial guess's head, and correlations around a
track.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from samotion.contract import TRACKER_PX
from torch import Tensor, nn

from samotion_export.tracks.layers import padded_conv

LOWRES_CELLS = TRACKER_PX // 8
WINDOW = 7  # correlations are taken at 7 x 7 places around a track
TEMPERATURE = 20.0  # of the initial guess's softmax
PEAK_RADIUS_CELLS = 5  # the initial guess averages over cells nearer than this to the best one
TILE = 4  # hid2 answers for 4 x 4 cells at once


def unit_length(x: Tensor) -> Tensor:
    """`x` (..., C) divided by its length over channels."""
    return x / x.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()


class CostVolumeHead(nn.Module):
    """Reads the map of similarities between one query and one frame.

    Written so that onnxruntime keeps the 16 hidden maps in its blocked layout: 222 instead of 510
    ms for 6000 maps (2 cores). hid2 has one output, of which that layout would compute 8: as a
    convolution over tiles it has 16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hid1 = nn.Conv2d(1, 16, 3, padding=1)
        self.hid2 = nn.Conv2d(16, 1, 3, padding=1)
        self.hid3 = nn.Conv2d(16, 32, 3, 2)
        self.hid4 = nn.Linear(32, 16)
        self.occ_out = nn.Linear(16, 2)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(M,32,32) similarities -> position (M,2) x, y px of 256, and (M,2) logits."""
        hidden = F.relu(self.hid1(maps.unsqueeze(1)))
        heat = tiled_conv(hidden, self.hid2).reshape(-1, LOWRES_CELLS * LOWRES_CELLS)
        pooled = F.adaptive_avg_pool2d(F.relu(padded_conv(hidden, self.hid3, 0, 2)), 1).flatten(1)
        return peak(heat), self.occ_out(F.relu(self.hid4(pooled)))


class SoftArgmax(nn.Module):
    """Takes the similarities as they are; its logits are the same for all."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """As of `CostVolumeHead`."""
        return peak(maps.flatten(1)), self.logits.expand(maps.shape[0], -1)


def _taps_of_tile() -> np.ndarray[Any, Any]:
    """(16,9,36): which of 6 x 6 places each of 9 taps falls on, for each cell of a 4 x 4 tile."""
    place = np.zeros((TILE, TILE, 3, 3, TILE + 2, TILE + 2), np.float32)
    for cell_y, cell_x, tap_y, tap_x in np.ndindex(TILE, TILE, 3, 3):
        place[cell_y, cell_x, tap_y, tap_x, cell_y + tap_y, cell_x + tap_x] = 1
    return place.reshape(TILE * TILE, 9, -1)


_TAPS_OF_TILE = _taps_of_tile()


def tiled_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """`conv` (C channels to 1, 3 x 3, padded by 1), computed for 4 x 4 cells at once: (M,C,S,S)
    -> (M,1,S,S).
    """
    size = TILE + 2
    place = torch.from_numpy(_TAPS_OF_TILE).to(x)
    weight = conv.weight.reshape(1, -1, 9) @ place
    weight = weight.reshape(TILE * TILE, -1, size, size)
    assert conv.bias is not None
    return F.pixel_shuffle(F.conv2d(x, weight, conv.bias.expand(TILE * TILE), TILE, 1), TILE)


def peak(heat: Tensor) -> Tensor:
    """(M,1024) -> (M,2): mean position around the best cell, weighted by softmax; x, y px of
    256.
    """
    cell = torch.arange(LOWRES_CELLS, device=heat.device)
    y, x = cell.repeat_interleave(LOWRES_CELLS), cell.repeat(LOWRES_CELLS)
    distance = (y.unsqueeze(1) - y).square() + (x.unsqueeze(1) - x).square()
    # comparing in each map took 5 times as long
    near = (distance < PEAK_RADIUS_CELLS**2).to(heat.dtype)
    px = TRACKER_PX / LOWRES_CELLS
    places = torch.stack(((x + 0.5) * px, (y + 0.5) * px, torch.ones_like(x)), 1).to(heat.dtype)
    sums = (F.softmax(heat * TEMPERATURE, 1) * near[heat.argmax(1)]) @ places
    return sums[:, :2] / sums[:, 2:]


def sample_queries(grid: Tensor, queries: Tensor) -> Tensor:
    """Bilinear samples (N,C) of `grid` (T,S,S,C) at `queries` (N,3) t, y, x px of 256; clamped
    at the border.
    """
    cells, width = grid.shape[1], grid.shape[3]
    place = (queries[:, 1:] * (cells / TRACKER_PX) - 0.5).clamp(0, cells - 1)
    low = place.floor()
    part = place - low
    high = (low + 1).clamp_max(cells - 1).long()
    low = low.long()
    frame = queries[:, 0].round().long() * (cells * cells)
    flat = grid.reshape(-1, width)

    def row(y: Tensor) -> Tensor:
        left = flat[frame + y * cells + low[:, 1]]
        return left + (flat[frame + y * cells + high[:, 1]] - left) * part[:, 1:]

    top = row(low[:, 0])
    return top + (row(high[:, 0]) - top) * part[:, :1]


def similarities(grid: Tensor, query: Tensor) -> Tensor:
    """Dot products of `query` (T or 1,N,C) with every cell of `grid` (T,S,S,C): (T,N,S*S)."""
    return query @ grid.reshape(-1, grid.shape[1] * grid.shape[2], grid.shape[3]).transpose(1, 2)


def correlations(grids: Sequence[Tensor], queries: Sequence[Tensor], tracks: Tensor) -> Tensor:
    """Similarities at 7 x 7 cells around each track, row-major, zero outside, grid after grid:
    (T,N,G*49).

    `grids` (T,S,S,C), their `queries` (T or 1,N,C), `tracks` (T,N,2) px of 256.
    """
    around = [_around(grid, query, tracks) for grid, query in zip(grids, queries)]
    # joined before the reshape: TensorRT 11 fails to compile reshaped samples that are joined
    return torch.cat(around, 1).reshape(tracks.shape[0], -1, len(around) * WINDOW * WINDOW)


def _around(grid: Tensor, query: Tensor, tracks: Tensor) -> Tensor:
    """Similarities around each track in one grid: (T*N,1,7,7).

    Product first, sampling after: the two commute, and this order moves S*S numbers per track and
    frame where the other moves 49*C. onnxruntime, 24 frames and 64 tracks, CPU ms product first
    against sampling first: hires 25 and 58, lowres 14 and 71; nano's 9 and 15, 6 and 18.
    """
    cells = grid.shape[1]
    maps = similarities(grid, query).reshape(-1, 1, cells, cells)
    step = torch.arange(WINDOW, dtype=grid.dtype, device=grid.device) - WINDOW // 2
    window = torch.stack((step.repeat(WINDOW), step.repeat_interleave(WINDOW)), 1).reshape(
        1, WINDOW, WINDOW, 2
    )
    places = tracks.reshape(-1, 1, 1, 2) * (2 / TRACKER_PX) + window * (2 / cells) - 1
    return F.grid_sample(maps, places, align_corners=False)


def pool(grid: Tensor) -> Tensor:
    """(T,S,S,C) -> (T,S/2,S/2,C), means of 2 x 2 cells."""
    return F.avg_pool2d(grid.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
