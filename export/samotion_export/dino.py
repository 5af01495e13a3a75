"""DINO: keys of the last attention of a DINOv2 ViT whose patches overlap (stride 7)."""

from __future__ import annotations

from samotion.presets import DinoNet
from torch import Tensor, nn

from samotion_export.examples import frames as example_frames
from samotion_export.graph import Graph
from samotion_export.spelling import Spelling
from samotion_export.vit import Vit

HEADS_AT_ONCE = 2  # 12 heads at once took 8.0 GB for a frame of 854x480
TOLERANCE = 1e-3  # keys reach 10; float32 over 12 blocks differs by 1e-5 to 1e-4


class Dino(Vit):
    """uint8 frames [B,H,W,3] -> features [B,GH,GW,C], GH = 1 + (H - 14) / stride."""

    def forward(self, frames: Tensor) -> Tensor:
        return self.last_keys(frames)


def build_module(net: DinoNet) -> Dino:
    """The net, not yet with weights."""
    return Dino(net.vit, net.stride_px, HEADS_AT_ONCE)


def graphs(net: DinoNet, module: nn.Module, spelling: Spelling = Spelling.CPU) -> list[Graph]:
    """What is exported, with examples and tolerances; the same in both spellings."""
    examples = ((example_frames(1, 84, 112),), (example_frames(2, 126, 98, seed=1),))
    return [Graph("dino", module, examples, {"features": TOLERANCE})]
