"""The Hiera trunk for export: sizes known beforehand, positions a constant, rows of tokens in plain
matrix products.

Equal to the package's trunk up to rounding. Traced as it is, that one resizes its position table in
every call (11 % of tiny's time on a CPU), adds biases apart from the products (5 %), projects the
padding of windows (2 %), splits queries, keys and values by copying (2 %) and holds the scores of
whole images at once.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from samotion_export.sam2.attention import as_linear, attend, cut, rows


class HieraTrunk(nn.Module):
    """Images (B,3,S,S), normalised, to the four levels of a
    `sam2.modeling.backbones.hieradet.Hiera`.
    """

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
    """One block on maps (B,side,side,C): attention in windows or over all, queries pooled where
    a stage begins.
    """

    def __init__(self, block: Any, side: int, chunk: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.widen = block.proj if block.dim != block.dim_out else None
        self.pool = block.pool
        self.heads, self.width = block.attn.num_heads, block.dim_out
        self.query, self.key, self.value, self.out = _projections(block.attn, self.width)
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
        layers = self.query, self.key, self.value
        q, k, v = (rows(layer, y).reshape(-1, self.side, self.side, self.width) for layer in layers)
        q = self._by_window(self._pooled(q), self.window_out)
        keys = self._by_window(k, self.window).transpose(-1, -2)
        attended = attend(q, keys, self._by_window(v, self.window), self.cuts)
        return rows(self.out, self._joined(attended)).reshape(
            -1, self.side_out, self.side_out, self.width
        )

    def _pooled(self, x: Tensor) -> Tensor:
        return x if self.pool is None else self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def _by_window(self, x: Tensor, window: int) -> Tensor:
        """(B,side,side,C) to windows, padded with zeros, and heads: (B*windows^2, heads,
        window^2, D).
        """
        n, heads = self.windows, self.heads
        if pad := n * window - x.shape[1]:
            x = F.pad(x, (0, 0, 0, pad, 0, pad))
        parts = x.reshape(-1, n, window, n, window, heads, self.width // heads).permute(
            0, 1, 3, 5, 2, 4, 6
        )
        return parts.reshape(-1, heads, window**2, self.width // heads)

    def _joined(self, y: Tensor) -> Tensor:
        """The other way, without the padding."""
        n, w, heads = self.windows, self.window_out, self.heads
        parts = y.reshape(-1, n, n, heads, w, w, self.width // heads).permute(0, 1, 4, 2, 5, 3, 6)
        return parts.reshape(-1, n * w, n * w, self.width)[:, : self.side_out, : self.side_out]


def _projections(attention: Any, width: int) -> tuple[nn.Linear, nn.Linear, nn.Linear, nn.Linear]:
    """Query (with the scale), key, value and output projections, the middle two without biases.

    A key's bias adds the same to all scores of a query, and attention weights sum to one, so that
    the values' bias can be the output's. Tokens that pad a window then are zeros, and are projected
    by nobody.
    """
    (wq, wk, wv), (bq, _, bv) = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
    scale = (width // attention.num_heads) ** -0.5
    out = attention.proj
    return (
        as_linear(wq * scale, bq * scale),
        as_linear(wk, None),
        as_linear(wv, None),
        as_linear(out.weight, (out.weight.double() @ bv.double() + out.bias.double()).float()),
    )
