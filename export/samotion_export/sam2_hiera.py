"""The Hiera trunk for export: sizes known beforehand, positions a constant, rows of tokens in plain matrix products.

Equal to the package's trunk up to rounding. Traced as it is, that one resizes its position table in every call (11 %
of tiny's time on a CPU), adds biases apart from the products (5 %) and holds the scores of whole images at once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samotion_export.sam2_attention import as_linear, attend, cut


class HieraTrunk(nn.Module):
    """Images (B,3,S,S), normalised, to the four levels of a `sam2.modeling.backbones.hieradet.Hiera`."""

    def __init__(self, trunk: Any, size_px: int, chunk: int | None) -> None:
        super().__init__()
        side = size_px // 4
        self.patches = trunk.patch_embed
        self.position = nn.Buffer(trunk._get_pos_embed((side, side)).detach().clone())
        self.blocks = nn.ModuleList()
        for block in trunk.blocks:
            ours = HieraBlock(block, side, chunk)
            self.blocks.append(ours)
            side = ours.side_out
        self.ends = tuple(trunk.stage_ends)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.patches(images) + self.position
        levels = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.ends:
                levels.append(x.permute(0, 3, 1, 2))
        return levels


class HieraBlock(nn.Module):
    """One block on maps (B,side,side,C): attention in windows or over all, queries pooled where a stage begins."""

    def __init__(self, block: Any, side: int, chunk: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.widen = block.proj if block.dim != block.dim_out else None
        self.pool = block.pool
        self.heads, self.width = block.attn.num_heads, block.dim_out
        self.qkv, self.out = _scaled(block.attn.qkv, self.width // self.heads), block.attn.proj
        stride = block.q_stride[0] if block.q_stride else 1
        self.side, self.side_out = side, side // stride
        self.window = block.window_size or side
        self.window_out = self.window // stride
        self.windows = -(-side // self.window)  # per axis; the last ones are padded
        self.cuts = cut(self.window_out**2, chunk)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.widen is not None:
            x = self._pooled(rows(self.widen, y).reshape(-1, self.side, self.side, self.width))
        x = x + self._attend(y)
        hidden, out = self.mlp.layers
        z = rows(hidden, self.norm2(x))
        return x + out(self.mlp.act(z)).reshape(-1, self.side_out, self.side_out, self.width)

    def _attend(self, y: Tensor) -> Tensor:
        tokens = self.window**2
        qkv = rows(self.qkv, self._split(y)).reshape(-1, tokens, 3, self.width)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        if self.pool is not None:
            q = self._pooled(q.reshape(-1, self.window, self.window, self.width))
        attended = attend(self._by_head(q, self.window_out**2), self._by_head(k), self._by_head(v), self.cuts)
        return self._join(rows(self.out, attended.transpose(1, 2).reshape(-1, self.width)))

    def _pooled(self, x: Tensor) -> Tensor:
        return x if self.pool is None else self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def _by_head(self, x: Tensor, tokens: int | None = None) -> Tensor:
        return x.reshape(-1, tokens or self.window**2, self.heads, self.width // self.heads).transpose(1, 2)

    def _split(self, y: Tensor) -> Tensor:
        """(B,side,side,C) to windows, padded with zeros: (B*windows^2, window, window, C)."""
        n, w = self.windows, self.window
        if pad := n * w - self.side:
            y = F.pad(y, (0, 0, 0, pad, 0, pad))
        return y.reshape(-1, n, w, n, w, y.shape[-1]).transpose(2, 3)

    def _join(self, y: Tensor) -> Tensor:
        n, w = self.windows, self.window_out
        whole = y.reshape(-1, n, n, w, w, self.width).transpose(2, 3).reshape(-1, n * w, n * w, self.width)
        return whole[:, : self.side_out, : self.side_out]


def rows(layer: nn.Linear, x: Tensor) -> Tensor:
    """A projection of all tokens as one matrix (tokens, C): ONNX then has it as one operator, bias included."""
    out: Tensor = layer(x.reshape(-1, layer.in_features))
    return out


def _scaled(qkv: nn.Linear, head: int) -> nn.Linear:
    """The query rows divided by the square root of the heads' width."""
    scale = torch.ones(qkv.out_features)
    scale[: qkv.out_features // 3] = head**-0.5
    return as_linear(qkv.weight * scale[:, None], qkv.bias * scale)
