"""The motion transformer's attention for a GPU's compiler, which makes one kernel of each.

It fuses softmax(q k^T + mask) v over [batch,heads,L,16] with half-precision products, and loops
never: with them, and in float32, all scores would lie in memory, 120 GB for 5000 tracks in 300
frames. Sums stay float32.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samotion_export.motion.attention import Attention

HEAD = 16  # numbers of a head that the compiler fuses; fewer are padded


class WholeAttention(Attention):
    """`Attention` without loops, all batches and heads at once."""

    @classmethod
    def of(cls, source: Attention) -> WholeAttention:
        """The same weights."""
        made = cls(source.width, source.heads)
        made.load_state_dict(source.state_dict())
        return made

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Tracks x [N,C] attend to tracks memory [M,C]."""
        q, k, v = self.project(x[None], memory[None])
        return self.out_proj(self._attend(q, k, v)[0])

    def along_time(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Each track's frames of x [N,T,C] attend to its frames of memory; `mask` [N,T] is added
        to the keys'.
        """
        return self.out_proj(self._attend(*self.project(x, memory), mask))

    def across_tracks(self, x: Tensor, mask: Tensor) -> Tensor:
        """Each frame's tracks of x [N,T,C] attend to each other."""
        frames = x.transpose(0, 1)
        attended = self._attend(*self.project(frames, frames), mask.transpose(0, 1))
        return self.out_proj(attended.transpose(0, 1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """q, k, v [B,L,heads,D], `mask` [B,L] of the keys -> [B,L,C]."""
        head = q.shape[-1]
        q, k, v = (F.pad(part.transpose(1, 2), (0, HEAD - head)) for part in (q, k, v))
        added = None if mask is None else mask[:, None, None]
        attended = whole_attention(q, k, v, added)[..., :head].transpose(1, 2)
        return attended.reshape(*attended.shape[:2], self.width)


def whole_attention(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None) -> Tensor:
    """softmax(q k^T + added) v over [B,heads,L,D], the scale already in q.

    In the exported graph the products are in half precision.
    """
    if not torch.onnx.is_in_onnx_export():
        return F.scaled_dot_product_attention(q, k, v, added, scale=1.0)
    scores = (q.half() @ k.half().transpose(-2, -1)).float()
    weights = torch.softmax(scores if added is None else scores + added, -1)
    return (weights.half() @ v.half()).float()


def with_whole_attention(module: nn.Module) -> nn.Module:
    """A copy of a module whose every `Attention` is whole."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Attention):
                setattr(parent, name, WholeAttention.of(child))
    return module.eval()
