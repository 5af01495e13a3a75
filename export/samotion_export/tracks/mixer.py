"""TAPIR's mixer: what is known of a track, in all frames or one frame after the other, to how it
changes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samotion_export.tracks.layers import EXPANSION, tanh_gelu, temporal_conv

TAPS = 3  # width of the temporal convolutions
KEPT = 4  # rows of `past` that a causal block keeps for a track


class ScaleNorm(nn.Module):
    """Layer norm over the last dimension, without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


class ChannelMlp(nn.Module):
    """Two linear layers with a GELU between, over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp2_up = nn.Linear(width, EXPANSION * width)
        self.mlp2_down = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp2_down(tanh_gelu(self.mlp2_up(x)))
        return y


class MixerBlock(nn.Module):
    """(N,T,W) -> (N,T,W): two depthwise temporal convolutions, then an MLP over channels.

    The published second convolution has 4W groups and its 4W outputs are summed by fours into W.
    That sum is the same as one convolution with W groups of 4 inputs; it needs 65 instead of 164 ms
    (speed.md). In a causal block the convolutions see a frame and the two before it.
    """

    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.width = width
        self.causal = causal
        self.layer_norm = ScaleNorm(width)
        self.mlp1_up = nn.Conv1d(width, hidden, TAPS, groups=width)
        self.mlp1_up_1 = nn.Conv1d(hidden, hidden, TAPS, groups=hidden)
        self.layer_norm_1 = ScaleNorm(width)
        self.conv_channels_mixer = ChannelMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        up, down = self.mlp1_up, self.mlp1_up_1
        y = temporal_conv(
            self.layer_norm(x).transpose(1, 2), up.weight, up.bias, self.width, self.causal
        )
        weight = down.weight.reshape(self.width, EXPANSION, TAPS)
        y = temporal_conv(tanh_gelu(y), weight, self._down_bias(), self.width, self.causal)
        return self._mix_channels(x + y.transpose(1, 2))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One more frame of a causal block: x (N,W) and the past (N,4,W) of the frames before,
        zeros for none.

        Of the first convolution the last two inputs are kept, older first; of the second, which has
        4W of them, what those seen so far add to the next output and to the one after: W numbers
        each, so that a track's past takes 0.4 MB with BootsTAPIR where the inputs themselves would
        take 1 MB.
        """
        older, newer, owed, owed_later = past.unbind(1)
        now = self.layer_norm(x)
        up, down = (
            _by_tap(self.mlp1_up.weight, self.width),
            _by_tap(self.mlp1_up_1.weight, self.width),
        )
        assert self.mlp1_up.bias is not None
        y = older.unsqueeze(1) * up[0] + newer.unsqueeze(1) * up[1] + now.unsqueeze(1) * up[2]
        y = tanh_gelu(y + self.mlp1_up.bias.reshape(self.width, EXPANSION).T)
        in_two, in_one, at_once = ((y * tap).sum(1) for tap in down)
        x = self._mix_channels(x + (at_once + owed + self._down_bias()))
        return x, torch.stack((newer, now, in_one + owed_later, in_two), 1)

    def _down_bias(self) -> Tensor:
        assert self.mlp1_up_1.bias is not None
        return self.mlp1_up_1.bias.reshape(self.width, EXPANSION).sum(1)

    def _mix_channels(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv_channels_mixer(self.layer_norm_1(x))
        return x + residual


def _by_tap(weight: Tensor, width: int) -> tuple[Tensor, ...]:
    """(4W,1,3) of a depthwise convolution as three of (4,W), oldest frame first: products along
    rows of W are fast.
    """
    return weight.reshape(width, EXPANSION, TAPS).permute(2, 1, 0).unbind(0)


class Mixer(nn.Module):
    """(N,T,inputs) -> (N,T,outputs)."""

    def __init__(
        self, inputs: int, outputs: int, width: int, blocks: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(MixerBlock(width, causal) for _ in range(blocks))
        self.layer_norm = ScaleNorm(width)
        self.linear_1 = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.linear_1(self.layer_norm(x))
        return y

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One more frame: x (N,inputs), past (blocks,N,4,W) -> (N,outputs) and the past for the
        next frame.
        """
        x = self.linear(x)
        present = []
        for block, its_past in zip(self.blocks, past.unbind(0)):
            assert isinstance(block, MixerBlock)
            x, kept = block.step(x, its_past)
            present.append(kept)
        return self.linear_1(self.layer_norm(x)), torch.stack(present)
