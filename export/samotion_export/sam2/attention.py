"""SAM 2's memory attention for export: rotary positions as real constant tables, one head, few and
large products.

Equal to the package's MemoryAttention up to rounding, and cheaper in four ways:
- channels of Q and K are reordered so that a rotation works on two halves instead of interleaved
  complex pairs;
- the scale is folded into the query weights;
- memory tokens are 64 wide, so cross-attention sums those and applies the value and output
  projections, folded into one, afterwards: 64 products per score instead of 256;
- queries go through in chunks, so that the scores of a chunk stay near the caches. On 2 cores, 4096
  queries over 16384 keys took 0.27 s in chunks of 512, 0.57 s at once, and 0.47 s with 256-wide
  values.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

QUERY_CHUNK = 256


def rope_tables(width: int, side: int, theta: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines (side*side, width/2) of the axial rotations: x in the first half of the
    pairs, then y.
    """
    frequencies = 1.0 / theta ** (torch.arange(0, width, 4)[: width // 4].float() / width)
    cells = torch.arange(side * side)
    angles = torch.cat(
        [
            torch.outer((cells % side).float(), frequencies),
            torch.outer((cells // side).float(), frequencies),
        ],
        1,
    )
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + C/2) of the last axis by the angle of their row."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def attend(q: Tensor, keys: Tensor, v: Tensor, cuts: tuple[int, ...]) -> Tensor:
    """softmax(q keys) v for q (...,L,C), keys (...,C,N), v (...,N,D), in chunks of q; the scale
    is in q already.
    """
    parts = [torch.softmax(q[..., a:b, :] @ keys, dim=-1) @ v for a, b in itertools.pairwise(cuts)]
    return torch.cat(parts, dim=-2) if len(parts) > 1 else parts[0]


def cut(length: int, chunk: int | None) -> tuple[int, ...]:
    """Where chunks of queries begin and end; short sequences stay whole."""
    if chunk is None or length <= 4 * chunk:
        return 0, length
    return *range(0, length, chunk), length


class SelfAttention(nn.Module):
    """x + SA(norm1(x)) of one layer, for tokens (B,L,C) on a square grid."""

    def __init__(self, layer: Any, side: int, chunk: int | None) -> None:
        super().__init__()
        source = layer.self_attn
        self.norm, self.out, self.value = layer.norm1, source.out_proj, source.v_proj
        self.query, self.key = _halved(source.q_proj, scaled=True), _halved(source.k_proj)
        self.cuts = cut(side * side, chunk)
        self.cos, self.sin = map(nn.Buffer, rope_tables(source.internal_dim, side))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q = rotate(project(self.query, y), self.cos, self.sin)
        k = rotate(project(self.key, y), self.cos, self.sin)
        return x + project(
            self.out, attend(q, k.transpose(-1, -2), project(self.value, y), self.cuts)
        )


class CrossAttention(nn.Module):
    """x + CA(norm2(x), memory) and the feed-forward part of one layer."""

    def __init__(self, layer: Any, side: int, chunk: int | None) -> None:
        super().__init__()
        source = layer.cross_attn_image
        self.query, self.key = _halved(source.q_proj, scaled=True), _halved(source.k_proj)
        self.value = _folded(source.v_proj, source.out_proj)
        self.norm2, self.norm3, self.linear1, self.linear2 = (
            layer.norm2,
            layer.norm3,
            layer.linear1,
            layer.linear2,
        )
        self.activation = layer.activation
        self.cuts = cut(side * side, chunk)
        self.cos, self.sin = map(nn.Buffer, rope_tables(source.internal_dim, side))

    def forward(self, x: Tensor, bank: Tensor, pointers: Tensor, values: Tensor) -> Tensor:
        """Tokens x (B,L,C); with positions: bank (B,K,L,D) and pointer tokens (B,R,D); values
        (B,K*L+R,D) without.
        """
        q = rotate(project(self.query, self.norm2(x)), self.cos, self.sin)
        spatial = rotate(project(self.key, bank), self.cos, self.sin)
        keys = torch.cat([spatial.flatten(1, 2), project(self.key, pointers)], dim=1)
        x = x + project(self.value, attend(q, keys.transpose(-1, -2), values, self.cuts))
        hidden = self.activation(rows(self.linear1, self.norm3(x)))
        return x + rows(self.linear2, hidden).reshape(-1, *x.shape[1:])


def _halved(linear: nn.Linear, scaled: bool = False) -> nn.Linear:
    """The projection with its channels reordered, even ones first, and divided by the square
    root of the width.
    """
    width = linear.out_features
    order = torch.cat([torch.arange(0, width, 2), torch.arange(1, width, 2)])
    factor = width**-0.5 if scaled else 1.0
    return as_linear(linear.weight[order] * factor, linear.bias[order] * factor)


def _folded(value: nn.Linear, out: nn.Linear) -> nn.Linear:
    """out(value(x)) as one projection: attention weights sum to one, so the biases pass through
    them.
    """
    weight, bias = out.weight.double(), out.bias.double()
    return as_linear(
        (weight @ value.weight.double()).float(), (weight @ value.bias.double() + bias).float()
    )


def as_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A projection with copies of these parameters."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def rows(layer: nn.Linear, x: Tensor) -> Tensor:
    """A projection of all tokens as one matrix (tokens, C): ONNX then has it as one operator,
    bias included.
    """
    out: Tensor = layer(x.reshape(-1, layer.in_features))
    return out


def project(layer: nn.Linear, x: Tensor) -> Tensor:
    """A projection of tokens (B,...,C), computed as `rows`."""
    return rows(layer, x).reshape(-1, *x.shape[1:-1], layer.out_features)
