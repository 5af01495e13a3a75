"""The DINOv2 vision transformer that serves both depth and dino, under the official checkpoints'
parameter names.

Images come as uint8 RGB [B,H,W,3] and are normalised here. Sizes may change from call to call, in
the exported graph too: shapes are read from the tensors, never from Python numbers that tracing
would freeze.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from samotion.contract import PATCH_PX
from samotion.presets import VitNet
from torch import Tensor, nn

HEAD_WIDTH = 64
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CUBIC_A = -0.75  # the cubic kernel's parameter in PyTorch's bicubic resize
# upstream adds it to the grid against rounding; the trained weights expect its shift
SCALE_OFFSET = 0.1

# rows and columns; while tracing they are scalar tensors, whatever their type says
Size = tuple[int, int]


class Vit(nn.Module):
    """DINOv2 without registers: heads of 64, exact GELU, LayerNorm eps 1e-6, patches of 14 px at
    `stride_px`.

    The exported graph attends with `heads_at_once` (None: all), which bounds its memory.
    """

    def __init__(
        self, net: VitNet, stride_px: int = PATCH_PX, heads_at_once: int | None = None
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, net.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + net.pos_grid**2, net.width))
        # never used, but part of every checkpoint
        self.mask_token = nn.Parameter(torch.zeros(1, net.width))
        self.patch_embed = PatchEmbed(net.width, stride_px)
        self.blocks = nn.ModuleList(Block(net.width, heads_at_once) for _ in range(net.depth))
        self.norm = nn.LayerNorm(net.width, eps=1e-6)
        self.pos_grid = net.pos_grid
        initialise(self)

    def tokens(self, frames: Tensor) -> tuple[Tensor, Size]:
        """The blocks' input [B,1+GH*GW,C], class token first, and the patch grid (GH, GW)."""
        patches = self.patch_embed.proj(normalise(frames))  # [B,C,GH,GW]
        grid_hw = patches.shape[2], patches.shape[3]
        positions = resize_positions(self.pos_embed[0, 1:], self.pos_grid, grid_hw)
        tokens = patches.flatten(2).transpose(1, 2) + positions
        first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
        return torch.cat([first, tokens], 1), grid_hw

    def last_keys(self, frames: Tensor) -> Tensor:
        """Keys of the last block's attention [B,GH,GW,C], channel = d * heads + head, the class
        token dropped.

        Nothing after those keys is computed. The channel order is had by ordering the weight's
        rows.
        """
        x, (rows, columns) = self.tokens(frames)
        for block in list(self.blocks)[:-1]:
            x = block(x)
        last: Any = self.blocks[-1]
        weight, bias = last.attn.key_rows()
        keys = F.linear(last.norm1(x[:, 1:]), weight, bias)
        return keys.reshape(keys.shape[0], rows, columns, keys.shape[2])

    def taps(self, frames: Tensor, indices: tuple[int, ...]) -> tuple[list[Tensor], Size]:
        """Features [B,C,GH,GW] after each block of `indices`, final norm applied, and the patch
        grid.
        """
        x, (rows, columns) = self.tokens(frames)
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in indices:
                grid = self.norm(x[:, 1:]).transpose(1, 2)
                found.append(grid.reshape(grid.shape[0], grid.shape[1], rows, columns))
        return found, (rows, columns)


class PatchEmbed(nn.Module):
    """Patches to tokens; with a stride below the patch they overlap."""

    def __init__(self, width: int, stride_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH_PX, stride_px)


class Block(nn.Module):
    """Pre-norm attention and MLP, each with a learnt scale per channel."""

    def __init__(self, width: int, heads_at_once: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads_at_once)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Self-attention [B,L,C] -> [B,L,C] with packed q, k, v."""

    def __init__(self, width: int, heads_at_once: int | None = None) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.heads = width // HEAD_WIDTH
        self.heads_at_once = heads_at_once or self.heads

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            self.qkv(x)
            .reshape(batch, length, 3, self.heads, HEAD_WIDTH)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        return self.proj(
            attend(q * HEAD_WIDTH**-0.5, k, v, self.heads_at_once)
            .transpose(1, 2)
            .reshape(batch, length, width)
        )

    def key_rows(self) -> tuple[Tensor, Tensor]:
        """The rows of weight and bias that make the keys, in the order d * heads + head."""
        width = self.qkv.in_features
        weight, bias = self.qkv.weight[width : 2 * width], self.qkv.bias[width : 2 * width]
        by_head = (
            weight.reshape(self.heads, HEAD_WIDTH, width).transpose(0, 1).reshape(width, width)
        )
        return by_head, bias.reshape(self.heads, HEAD_WIDTH).transpose(0, 1).reshape(width)


def attend(q: Tensor, k: Tensor, v: Tensor, heads_at_once: int) -> Tensor:
    """softmax(q k^T) v over [B,heads,L,64], the scale already in q.

    Exported as the MatMul-Softmax-MatMul that TensorRT fuses (PyTorch's own symbol puts half the
    scale on k), for some heads after the others: onnxruntime writes the scores out, and those of
    8487 tokens in 12 heads, twice, are 7 GB. PyTorch takes its fused kernel, which never does.
    """
    if not torch.onnx.is_in_onnx_export():
        return F.scaled_dot_product_attention(q, k, v, scale=1.0)
    heads = [slice(start, start + heads_at_once) for start in range(0, q.shape[1], heads_at_once)]
    parts = [torch.softmax(q[:, h] @ k[:, h].transpose(-2, -1), -1) @ v[:, h] for h in heads]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def normalise(frames: Tensor) -> Tensor:
    """uint8 RGB [B,H,W,3] to ImageNet-normalised float [B,3,H,W]."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device) * 255
    std = torch.tensor(IMAGENET_STD, device=frames.device) * 255
    return ((frames.float() - mean) / std).permute(0, 3, 1, 2)


def resize_positions(positions: Tensor, side: int, grid_hw: Size) -> Tensor:
    """Position embeddings [side*side,C] resized bicubically to [GH*GW,C].

    Two products with sparse matrices give what `F.interpolate(scale_factor=((GH+0.1)/side,
    (GW+0.1)/side))` gives, which does not export. Upstream leaves a grid of exactly side x side
    alone.
    """
    rows, columns = (
        torch.as_tensor(n, device=positions.device).to(positions.dtype) for n in grid_hw
    )
    untouched = ((rows == side) & (columns == side)).to(positions.dtype)
    offset = SCALE_OFFSET * (1 - untouched)
    down = cubic_matrix(grid_hw[0], side, (rows + offset) / side, positions)
    across = cubic_matrix(grid_hw[1], side, (columns + offset) / side, positions)
    width = positions.shape[1]
    tall = (down @ positions.reshape(side, side * width)).reshape(-1, side, width)  # [GH,side,C]
    return (across @ tall).reshape(-1, width)


def cubic_matrix(size: int, side: int, scale: Tensor, like: Tensor) -> Tensor:
    """[size,side] weights of a bicubic resize from `side` samples by `scale`: 4 taps a row,
    borders repeated.
    """
    places = (torch.arange(size, device=like.device).to(like.dtype) + 0.5) / scale - 0.5
    base = torch.floor(places)
    cells = torch.arange(side, device=like.device).to(like.dtype)
    matrix = torch.zeros((), dtype=like.dtype, device=like.device)
    for tap in (-1, 0, 1, 2):
        weight = cubic_weight(torch.abs(places - base - tap), outer=tap in (-1, 2))
        hit = (base + tap).clamp(0, side - 1)[:, None] == cells
        matrix = matrix + weight[:, None] * hit.to(like.dtype)
    return matrix


def cubic_weight(x: Tensor, outer: bool) -> Tensor:
    """The cubic convolution kernel at distance x, 1 <= x <= 2 when `outer`, else 0 <= x <= 1."""
    if outer:
        return ((CUBIC_A * x - 5 * CUBIC_A) * x + 8 * CUBIC_A) * x - 4 * CUBIC_A
    return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1


def initialise(module: nn.Module) -> None:
    """Truncated normals of 0.02 for weights and positions, zero biases: DINOv2's own start."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() > 1 and "mask_token" not in name:
            nn.init.trunc_normal_(parameter, std=0.02)
