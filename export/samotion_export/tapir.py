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

from samotion_export.tapir_layers import EXPANSION, ExtraConvs, ResNet, tanh_gelu
from samotion_export.tapir_maps import (
    WINDOW,
    CostVolumeHead,
    correlations,
    pool,
    sample_queries,
    similarities,
    unit_length,
)


class State(NamedTuple):
    """Where every track is believed to be: tracks (N,T,2) x, y px of 256; occlusion and expected_dist (N,T) logits."""

    tracks: Tensor
    occlusion: Tensor
    expected_dist: Tensor


class ScaleNorm(nn.Module):
    """Layer norm over the last dimension, without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


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
        residual: Tensor = self.conv_channels_mixer(self.layer_norm_1(x))
        return x + residual


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
        images = frames.to(dtype).permute(0, 3, 1, 2) * (2 / 255) - 1
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
        hires, lowres = torch.split(features, [self.hires_width, self.lowres_width], 2)
        around = [correlations(g, q, tracks.detach()) for g, q in zip(grids, (hires, lowres, lowres))]
        features = features.expand(tracks.shape[0], -1, -1)
        inputs = torch.cat((torch.zeros_like(tracks), logits, features, *around), 2)
        change = self.torch_pips_mixer(inputs.transpose(0, 1)).transpose(0, 1)
        return tracks + change[..., :2], logits + change[..., 2:4], features + change[..., 4:]


def _state(tracks: Tensor, logits: Tensor) -> State:
    logits = logits.transpose(0, 1)
    return State(tracks.transpose(0, 1), logits[..., 0], logits[..., 1])
