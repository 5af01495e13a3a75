"""Depth Anything V2: a DINOv2 ViT and a DPT head, giving relative disparity (larger is nearer)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from samotion.contract import PATCH_PX
from samotion.presets import DepthNet
from torch import Tensor, nn

from samotion_export.examples import frames as example_frames
from samotion_export.graph import Graph
from samotion_export.spelling import Spelling
from samotion_export.vit import Size, Vit

TOLERANCE = 1e-4  # of the output's range; float32 alone shows about 1e-5


class Depth(nn.Module):
    """uint8 frames [B,H,W,3], H and W multiples of 14 -> disparity [B,H,W], never negative."""

    def __init__(self, net: DepthNet) -> None:
        super().__init__()
        self.pretrained = Vit(net.vit)
        self.depth_head = DptHead(net.vit.width, net.features, net.out_channels)
        self.tap_indices = net.taps

    def forward(self, frames: Tensor) -> Tensor:
        features, grid_hw = self.pretrained.taps(frames, self.tap_indices)
        return self.depth_head(features, (grid_hw[0] * PATCH_PX, grid_hw[1] * PATCH_PX))


class DptHead(nn.Module):
    """Four feature maps [B,C,GH,GW], shallow first, brought to four scales and fused from the
    deepest up.
    """

    def __init__(self, width: int, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, _, fourth = out_channels
        self.projects = nn.ModuleList(nn.Conv2d(width, c, 1) for c in out_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, 4),
                nn.ConvTranspose2d(second, second, 2, 2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, 2, 1),
            ]
        )
        self.scratch = Scratch(features, out_channels)

    def forward(self, features: list[Tensor], frame_hw: Size) -> Tensor:
        levels = [
            resize(project(x))
            for x, project, resize in zip(features, self.projects, self.resize_layers)
        ]
        return self.scratch(levels, frame_hw)


class Scratch(nn.Module):
    """The fusing half of the head, under the checkpoint's name for it."""

    def __init__(self, features: int, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        for level, c in enumerate(channels, 1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(c, features, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", Fusion(features))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )
        nn.init.constant_(self.output_conv2[2].bias, 0.5)  # type: ignore[arg-type]  # so that the last ReLU starts open

    def forward(self, levels: list[Tensor], frame_hw: Size) -> Tensor:
        skips = [self.get_submodule(f"layer{i}_rn")(x) for i, x in enumerate(levels, 1)]
        x = self.get_submodule("refinenet4")(skips[3], None, size_of(skips[2]))
        x = self.get_submodule("refinenet3")(x, skips[2], size_of(skips[1]))
        x = self.get_submodule("refinenet2")(x, skips[1], size_of(skips[0]))
        rows, columns = size_of(skips[0])
        x = self.get_submodule("refinenet1")(x, skips[0], (rows * 2, columns * 2))
        return self.output_conv2(resize(self.output_conv1(x), frame_hw))[:, 0]


class Fusion(nn.Module):
    """x + RCU1(skip), RCU2, resize to `size`, 1x1 conv. The deepest level has no skip and leaves
    its RCU1 unused.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualConv(features)
        self.resConfUnit2 = ResidualConv(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, skip: Tensor | None, size: Size) -> Tensor:
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        return self.out_conv(resize(self.resConfUnit2(x), size))


class ResidualConv(nn.Module):
    """Two convolutions beside a short cut (the head's `ResidualConvUnit`)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(torch.relu(x))))


def resize(x: Tensor, size: Size) -> Tensor:
    """Bilinear, corner pixels on corner pixels."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def size_of(x: Tensor) -> Size:
    """Height and width of (B,C,H,W)."""
    return x.shape[2], x.shape[3]


def build_module(net: DepthNet) -> Depth:
    """The net, not yet with weights."""
    return Depth(net)


def graphs(net: DepthNet, module: nn.Module, spelling: Spelling = Spelling.CPU) -> list[Graph]:
    """What is exported, with examples and tolerances; the same in both spellings."""
    examples = ((example_frames(1, 84, 112),), (example_frames(2, 126, 98, seed=1),))
    return [Graph("depth", module, examples, {"disparity": TOLERANCE}, relative=True)]
