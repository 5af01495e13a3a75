"""SAM 2's memory attention as a GPU's compiler makes one kernel of it: whole queries, and keys and
values as wide as they (TensorRT fuses up to 256).

Equal to the forms for a CPU (`attention`) up to rounding. The values' and the output projection are
one here too, but before the product. A memory or pointer that is not there (slot or age below zero)
weighs nothing, so that banks of different lengths are one shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samotion_export.sam2.attention import (
    CrossAttention,
    SelfAttention,
    as_linear,
    project,
    rotate,
    rows,
)

NOT_THERE = -30000.0  # added to a score; inside float16, and exp() of it is 0


class Core(nn.Module):
    """softmax(q k + bias) v for q (B,L,C), k and v (B,N,C) and bias (B,1,1,N); the scale is in q
    already.

    trt/bfloat.py knows its nodes by this module's name in its owner, `core`: over tens of thousands
    of keys, sums inside the fused kernel need bfloat16's range.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        scores = q.unsqueeze(1) @ k.unsqueeze(1).transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        return (torch.softmax(scores, dim=-1) @ v.unsqueeze(1)).squeeze(1)


class FusedSelf(SelfAttention):
    """x + SA(norm1(x)) of one layer, for tokens (B,L,C) on a square grid."""

    def __init__(self, layer: Any, side: int) -> None:
        super().__init__(layer, side, chunk=None)
        self.core = Core()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q = rotate(project(self.query, y), self.cos, self.sin)
        k = rotate(project(self.key, y), self.cos, self.sin)
        return x + project(self.out, self.core(q, k, project(self.value, y)))


class FusedCross(CrossAttention):
    """x + CA(norm2(x), memory) and the feed-forward part of one layer."""

    def __init__(self, layer: Any, side: int) -> None:
        super().__init__(layer, side, chunk=None)
        self.core = Core()
        # weights of attention sum to one: the bias is added after it
        weight, bias = self.value.weight, self.value.bias
        self.value, self.value_bias = as_linear(weight, None), nn.Buffer(bias.detach().clone())

    def forward(
        self, x: Tensor, bank: Tensor, pointers: Tensor, values: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """As CrossAttention; bias (B,1,1,K*L+R) is added to the scores."""
        q = rotate(project(self.query, self.norm2(x)), self.cos, self.sin)
        spatial = rotate(project(self.key, bank), self.cos, self.sin)
        keys = torch.cat([spatial.flatten(1, 2), project(self.key, pointers)], dim=1)
        x = x + (self.core(q, keys, project(self.value, values), bias) + self.value_bias)
        hidden = self.activation(rows(self.linear1, self.norm3(x)))
        return x + rows(self.linear2, hidden).reshape(-1, *x.shape[1:])


def absent(slot: Tensor, age: Tensor, cells: int, pieces: int) -> Tensor:
    """What is added to the scores of all keys (B,1,1,K*cells+P*pieces): NOT_THERE for slots (B,K)
    and ages (B,P) below zero.
    """
    spatial = (slot < 0).float().unsqueeze(2).expand(-1, -1, cells).flatten(1)
    pointers = (age < 0).float().unsqueeze(2).expand(-1, -1, pieces).flatten(1)
    return (torch.cat([spatial, pointers], dim=1) * NOT_THERE).unsqueeze(1).unsqueeze(1)
