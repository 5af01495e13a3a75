"""TAPIR's picture layers: the residual trunk and the extra convolutions (docs/method.md, section
4.1).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from samotion.presets import TracksNet
from torch import Tensor, nn

EXPANSION = 4  # hidden channels per channel, in the extra convolutions and in the mixer
STRIDES = (1, 2, 2, 1)


def tanh_gelu(x: Tensor) -> Tensor:
    """GELU's tanh form; in exported graphs spelled as onnxruntime fuses it (speed.md)."""
    if torch.onnx.is_in_onnx_export():
        return x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608028654 * (1.0 + 0.044715 * x * x)))
    return F.gelu(x, approximate="tanh")


class _PaddedConv(torch.autograd.Function):
    """A convolution that pads more at one end than at the other, exported as one operator.

    PyTorch needs a Pad of its own for that, which onnxruntime does not fuse: it costs two changes
    of layout.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        pad: tuple[int, int],
        groups: int,
    ) -> Tensor:
        return _convolve(x, weight, bias, stride, pad, groups)

    @staticmethod
    def symbolic(
        g: Any, x: Any, weight: Any, bias: Any, stride: int, pad: tuple[int, int], groups: int
    ) -> Any:
        size = weight.type().sizes()[2:]
        operands = (x, weight) if bias is None else (x, weight, bias)
        pads = [end for end in pad for _ in size]
        grouped = {"group_i": groups} if groups > 1 else {}
        return g.op(
            "Conv",
            *operands,
            kernel_shape_i=size,
            pads_i=pads,
            strides_i=[stride] * len(size),
            **grouped,
        )


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pad: tuple[int, int], groups: int
) -> Tensor:
    axes = weight.ndim - 2
    function = F.conv1d if axes == 1 else F.conv2d
    return function(F.pad(x, pad * axes), weight, bias, stride, groups=groups)


def _padded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    pad: tuple[int, int],
    groups: int = 1,
) -> Tensor:
    if torch.onnx.is_in_onnx_export():
        y: Tensor = _PaddedConv.apply(x, weight, bias, stride, pad, groups)  # type: ignore[no-untyped-call]
        return y
    return _convolve(x, weight, bias, stride, pad, groups)


def padded_conv(x: Tensor, conv: nn.Conv2d, before: int, after: int) -> Tensor:
    """`conv`, which has no padding of its own, with `before` zeros at the top and left, `after`
    at the other sides.
    """
    return _padded(x, conv.weight, conv.bias, conv.stride[0], (before, after))


def temporal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, causal: bool
) -> Tensor:
    """Convolution of width 3 over the last axis: each frame with its neighbours, or with the two
    before it.
    """
    if causal:
        return _padded(x, weight, bias, 1, (2, 0), groups)
    return F.conv1d(x, weight, bias, padding=1, groups=groups)


class ResidualUnit(nn.Module):
    """Pre-activation residual block with instance norm; a projecting one shortcuts
    relu(norm(x)).
    """

    def __init__(self, width_in: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.stride = stride
        if projects:
            self.proj_conv = nn.Conv2d(width_in, width, 1, stride, bias=False)
        self.projects = projects
        self.bn_0 = nn.InstanceNorm2d(width_in, affine=True)
        self.conv_0 = nn.Conv2d(
            width_in, width, 3, stride, padding=1 if stride == 1 else 0, bias=False
        )
        self.bn_1 = nn.InstanceNorm2d(width, affine=True)
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_0(x))
        shortcut = self.proj_conv(y) if self.projects else x
        y = self.conv_0(y) if self.stride == 1 else padded_conv(y, self.conv_0, 0, 2)
        residual: Tensor = self.conv_1(F.relu(self.bn_1(y)))
        return shortcut + residual


class ResidualGroup(nn.Module):
    """Residual units of one width; the first has the stride."""

    def __init__(self, width_in: int, width: int, stride: int, blocks: int) -> None:
        super().__init__()
        first = ResidualUnit(width_in, width, stride, projects=True)
        self.blocks = nn.ModuleList(
            [first, *(ResidualUnit(width, width, 1, False) for _ in range(blocks - 1))]
        )

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
        x = padded_conv(x, self.initial_conv, 2, 4)
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
        y: Tensor = self.layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        residual: Tensor = self.conv_1(tanh_gelu(self.conv(y)))
        return y + residual


class ExtraConvs(nn.Module):
    """`ExtraConv` several times."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ExtraConv(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x
