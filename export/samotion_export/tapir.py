"""TAPIR in PyTorch: features, query features, initial guess and refinement of point tracks at 256 px.

Parameter names are those of the official BootsTAPIR checkpoint (reference.md, 3.1). Shapes: T frames, N tracks.
The same code is trained, exported and compared with: what differs from the published layers is exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from samotion.presets import TracksNet
from torch import Tensor, nn

IMAGE_PX = 256
LOWRES_CELLS = 32
HIRES_CELLS = 64
WINDOW = 7  # correlations are taken at 7 x 7 places around a track
EXPANSION = 4  # hidden channels per channel, in the mixer and in the extra convolutions
TEMPERATURE = 20.0  # of the initial guess's softmax
PEAK_RADIUS_CELLS = 5  # the initial guess averages over cells nearer than this to the best one
STRIDES = (1, 2, 2, 1)


class State(NamedTuple):
    """Where every track is believed to be: tracks (N,T,2) x, y px of 256; occlusion and expected_dist (N,T) logits."""

    tracks: Tensor
    occlusion: Tensor
    expected_dist: Tensor


def tanh_gelu(x: Tensor) -> Tensor:
    """GELU's tanh form; in exported graphs spelled as onnxruntime fuses it (speed.md)."""
    if torch.onnx.is_in_onnx_export():
        return x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608028654 * (1.0 + 0.044715 * x * x)))
    return F.gelu(x, approximate="tanh")


def unit_length(x: Tensor) -> Tensor:
    """`x` (..., C) divided by its length over channels."""
    return x / x.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()


class ScaleNorm(nn.Module):
    """Layer norm over the last dimension, without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


class ResidualUnit(nn.Module):
    """Pre-activation residual block with instance norm; a projecting one shortcuts relu(norm(x))."""

    def __init__(self, width_in: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.stride = stride
        if projects:
            self.proj_conv = nn.Conv2d(width_in, width, 1, stride, bias=False)
        self.projects = projects
        self.bn_0 = nn.InstanceNorm2d(width_in, affine=True)
        self.conv_0 = nn.Conv2d(width_in, width, 3, stride, padding=1 if stride == 1 else 0, bias=False)
        self.bn_1 = nn.InstanceNorm2d(width, affine=True)
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_0(x))
        shortcut = self.proj_conv(y) if self.projects else x
        y = self.conv_0(y if self.stride == 1 else F.pad(y, (0, 2, 0, 2)))
        return shortcut + self.conv_1(F.relu(self.bn_1(y)))


class ResidualGroup(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int, blocks: int) -> None:
        super().__init__()
        first = ResidualUnit(width_in, width, stride, projects=True)
        self.blocks = nn.ModuleList([first, *(ResidualUnit(width, width, 1, False) for _ in range(blocks - 1))])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class ResNet(nn.Module):
    """(T,3,256,256) in [-1, 1] -> (T,C',64,64) after group 1 and (T,C,32,32) after group 3."""

    def __init__(self, net: TracksNet) -> None:
        super().__init__()
        self.initial_conv = nn.Conv2d(3, net.stem, 7, 2, bias=False)
        inputs = (net.stem, *net.channels[:-1])
        self.block_groups = nn.ModuleList(
            ResidualGroup(width_in, width, stride, net.blocks_per_group)
            for width_in, width, stride in zip(inputs, net.channels, STRIDES)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.initial_conv(F.pad(x, (2, 4, 2, 4)))
        outputs = []
        for group in self.block_groups:
            x = group(x)
            outputs.append(x)
        return outputs[1], outputs[3]


class ExtraConv(nn.Module):
    """The residual adds to the normalised input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, EXPANSION * width, 3, padding=1)
        self.conv_1 = nn.Conv2d(EXPANSION * width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y + self.conv_1(tanh_gelu(self.conv(y)))


class ExtraConvs(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ExtraConv(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class ChannelMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp2_up = nn.Linear(width, EXPANSION * width)
        self.mlp2_down = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp2_down(tanh_gelu(self.mlp2_up(x)))
        return y


class MixerBlock(nn.Module):
    """(N,T,W) -> (N,T,W): two depthwise temporal convolutions, then an MLP over channels.

    The published second convolution has 4W groups and its 4W outputs are summed by fours into W. That sum is the
    same as one convolution with W groups of 4 inputs; it needs 65 instead of 164 ms (speed.md).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.width = width
        self.layer_norm = ScaleNorm(width)
        self.mlp1_up = nn.Conv1d(width, hidden, 3, padding=1, groups=width)
        self.mlp1_up_1 = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.layer_norm_1 = ScaleNorm(width)
        self.conv_channels_mixer = ChannelMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        y = tanh_gelu(self.mlp1_up(self.layer_norm(x).transpose(1, 2)))
        weight = self.mlp1_up_1.weight.reshape(self.width, EXPANSION, 3)
        assert self.mlp1_up_1.bias is not None
        bias = self.mlp1_up_1.bias.reshape(self.width, EXPANSION).sum(1)
        x = x + F.conv1d(y, weight, bias, padding=1, groups=self.width).transpose(1, 2)
        y = self.conv_channels_mixer(self.layer_norm_1(x))
        return x + y


class Mixer(nn.Module):
    """(N,T,inputs) -> (N,T,outputs)."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(MixerBlock(width) for _ in range(blocks))
        self.layer_norm = ScaleNorm(width)
        self.linear_1 = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.linear_1(self.layer_norm(x))
        return y


class CostVolumeHead(nn.Module):
    """Reads the map of similarities between one query and one frame."""

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
        heat = self.hid2(hidden).reshape(-1, LOWRES_CELLS * LOWRES_CELLS)
        pooled = F.relu(self.hid3(F.pad(hidden, (0, 2, 0, 2)))).mean((2, 3))
        return peak(heat), self.occ_out(F.relu(self.hid4(pooled)))


def peak(heat: Tensor) -> Tensor:
    """(M,1024) -> (M,2): mean position around the best cell, weighted by softmax; x, y px of 256."""
    cell = torch.arange(LOWRES_CELLS, device=heat.device)
    yx = torch.stack((cell.repeat_interleave(LOWRES_CELLS), cell.repeat(LOWRES_CELLS)))
    best = heat.argmax(1, keepdim=True)
    offset_y = yx[0] - torch.div(best, LOWRES_CELLS, rounding_mode="floor")
    offset_x = yx[1] - best % LOWRES_CELLS
    near = offset_y * offset_y + offset_x * offset_x < PEAK_RADIUS_CELLS**2
    weight = F.softmax(heat * TEMPERATURE, 1) * near
    centres = torch.stack((yx[1], yx[0]), 1).to(heat.dtype) + 0.5
    mean = weight @ centres / weight.sum(1, keepdim=True).clamp_min(1e-12)
    return mean * (IMAGE_PX / LOWRES_CELLS)


def sample_queries(grid: Tensor, queries: Tensor) -> Tensor:
    """Bilinear samples (N,C) of `grid` (T,S,S,C) at `queries` (N,3) t, y, x px of 256; clamped at the border."""
    cells, width = grid.shape[1], grid.shape[3]
    place = (queries[:, 1:] * (cells / IMAGE_PX) - 0.5).clamp(0, cells - 1)
    low = place.floor()
    part = place - low
    low = low.long()
    high = (low + 1).clamp_max(cells - 1)
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


def correlations(grid: Tensor, query: Tensor, tracks: Tensor) -> Tensor:
    """Similarities at 7 x 7 cells around each track, row-major, zero outside: (T,N,49).

    `grid` (T,S,S,C), `query` (T or 1,N,C), `tracks` (T,N,2) px of 256. Product first, sampling after: the two commute,
    and this order reads S*S numbers per track and frame where the other reads 49 * C.
    """
    frames, cells = grid.shape[0], grid.shape[1]
    maps = similarities(grid, query).reshape(-1, 1, cells, cells)
    step = torch.arange(WINDOW, dtype=grid.dtype, device=grid.device) - WINDOW // 2
    window = torch.stack((step.repeat(WINDOW), step.repeat_interleave(WINDOW)), 1).reshape(1, WINDOW, WINDOW, 2)
    places = tracks.reshape(-1, 1, 1, 2) * (2 / IMAGE_PX) + window * (2 / cells) - 1
    sampled = F.grid_sample(maps, places, align_corners=False)
    return sampled.reshape(frames, -1, WINDOW * WINDOW)


def pool(grid: Tensor) -> Tensor:
    """(T,S,S,C) -> (T,S/2,S/2,C), means of 2 x 2 cells."""
    return F.avg_pool2d(grid.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class Tapir(nn.Module):
    """The tracker. `features` once per frame, `query` once per point, then `refine`."""

    def __init__(self, net: TracksNet) -> None:
        super().__init__()
        self.hires_width, self.lowres_width = net.channels[1], net.channels[3]
        self.iterations = net.iterations
        state = 4 + self.hires_width + self.lowres_width
        self.resnet_torch = ResNet(net)
        self.extra_convs = ExtraConvs(self.lowres_width, net.extra_convs)
        self.torch_cost_volume_track_mods = CostVolumeHead()
        self.torch_pips_mixer = Mixer(state + 3 * WINDOW**2, state, net.mixer_width, net.mixer_blocks)
        self._prepare_training()

    def _prepare_training(self) -> None:
        """Start where the initial guess follows the plain similarities and refinement changes little."""
        head = self.torch_cost_volume_track_mods
        with torch.no_grad():
            head.hid1.weight.mul_(0.1)[:, :, 1, 1] += 1.0
            head.hid2.weight.mul_(0.1)[:, :, 1, 1] += 1.0 / head.hid2.in_channels
            self.torch_pips_mixer.linear_1.weight.mul_(0.1)

    def features(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """`frames` (T,256,256,3) RGB, uint8 or float in [0, 255] -> lowres (T,32,32,C), hires (T,64,64,C')."""
        dtype = self.resnet_torch.initial_conv.weight.dtype
        images = frames.permute(0, 3, 1, 2).to(dtype) * (2 / 255) - 1
        hires, lowres = self.resnet_torch(images)
        lowres = self.extra_convs(lowres)
        return unit_length(lowres.permute(0, 2, 3, 1)), unit_length(hires.permute(0, 2, 3, 1))

    def query(self, lowres: Tensor, hires: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N,C), (N,C') of `queries` (N,3) t, y, x px of 256."""
        return sample_queries(lowres, queries), sample_queries(hires, queries)

    def states(
        self, lowres: Tensor, hires: Tensor, query_lowres: Tensor, query_hires: Tensor, queries: Tensor
    ) -> Iterator[State]:
        """The initial guess, then the state after each refinement; all differentiable."""
        tracks, logits = self._initial(lowres, query_lowres, queries)
        yield _state(tracks, logits)
        grids = (hires, lowres, pool(lowres))
        features = torch.cat((query_hires, query_lowres), 1).unsqueeze(0)
        for _ in range(self.iterations):
            tracks, logits, features = self._iterate(grids, features, tracks, logits)
            yield _state(tracks, logits)

    def refine(
        self, lowres: Tensor, hires: Tensor, query_lowres: Tensor, query_hires: Tensor, queries: Tensor
    ) -> State:
        """The state after the last refinement."""
        *_, last = self.states(lowres, hires, query_lowres, query_hires, queries)
        return last

    def forward(self, frames: Tensor, queries: Tensor) -> list[State]:
        """All states for `frames` (T,256,256,3) and `queries` (N,3): initial guess first, answer last."""
        lowres, hires = self.features(frames)
        return list(self.states(lowres, hires, *self.query(lowres, hires, queries), queries))

    def _initial(self, lowres: Tensor, query_lowres: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (T,N,2) and logits (T,N,2) from the similarities alone; at its own frame a track is its query."""
        frames, cells = lowres.shape[0], lowres.shape[1]
        maps = similarities(lowres, query_lowres.unsqueeze(0)).reshape(-1, cells, cells)
        tracks, logits = self.torch_cost_volume_track_mods(maps)
        frame = torch.arange(frames, device=queries.device).unsqueeze(1)
        is_query = (frame == queries[:, 0].round().long()).unsqueeze(2)
        tracks = torch.where(is_query, queries[:, 1:].flip(1), tracks.reshape(frames, -1, 2))
        return tracks, logits.reshape(frames, -1, 2)

    def _iterate(
        self, grids: tuple[Tensor, Tensor, Tensor], features: Tensor, tracks: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One refinement. `features` (T or 1,N,C'+C); positions are constants for the sampling, as in RAFT."""
        hires, lowres = features.split((self.hires_width, self.lowres_width), 2)
        around = [correlations(g, q, tracks.detach()) for g, q in zip(grids, (hires, lowres, lowres))]
        features = features.expand(tracks.shape[0], -1, -1)
        inputs = torch.cat((torch.zeros_like(tracks), logits, features, *around), 2)
        change = self.torch_pips_mixer(inputs.transpose(0, 1)).transpose(0, 1)
        return tracks + change[..., :2], logits + change[..., 2:4], features + change[..., 4:]


def _state(tracks: Tensor, logits: Tensor) -> State:
    logits = logits.transpose(0, 1)
    return State(tracks.transpose(0, 1), logits[..., 0], logits[..., 1])
