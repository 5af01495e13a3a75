"""The motion transformer: which tracks belong to moving objects (docs/method.md, section 4.4).

A joint encoder attends along each track and across the tracks of each frame, a decoder refines with
DINO features in the feed-forward parts only. Parameter names are those of the official `moseg.pth`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from samotion.presets import MotionNet
from torch import Tensor, nn

from samotion_export.examples import tracks
from samotion_export.graph import Graph
from samotion_export.motion.attention import LOOP, Attention
from samotion_export.motion.camera import without_camera
from samotion_export.motion.motion_map import MotionMap
from samotion_export.motion.motion_map import graphs as map_graphs
from samotion_export.motion.whole import with_whole_attention
from samotion_export.spelling import Spelling

OCTAVES = 10  # sin and cos of z, 2z, ... 512z
# position and step encoded; disparity, its step, visibility, confidence
CHANNELS = 2 * (2 + 4 * OCTAVES) + 4
WIDTH = 16
HEADS = 4
MSDE_WIDTH = 128
MSDE_HEADS = 8
# added to the scores of invisible keys; exp of it is 0 in float32 and it fits float16
MASKED = -1e4
# in the score; float32 alone shows 2e-7, untrained scores spread over as little as 0.003
TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-3  # with half-precision products in attention


class Motion(nn.Module):
    """The contract's `motion`: scores in [0,1] per track. `logits` is the same before the
    sigmoid, for training.
    """

    def __init__(self, net: MotionNet) -> None:
        super().__init__()
        self.joint_encoder = JointEncoder()
        self.decoder = Msde(net.dino_channels)
        self.camera_scales = net.camera_scales
        if net.maps:
            self.map = MotionMap()
        initialise(self)

    def forward(
        self,
        xy: Tensor,
        visible: Tensor,
        visibility: Tensor,
        confidence: Tensor,
        disparity: Tensor,
        dino: Tensor,
    ) -> Tensor:
        return torch.sigmoid(self.logits(xy, visible, visibility, confidence, disparity, dino))

    def logits(
        self,
        xy: Tensor,
        visible: Tensor,
        visibility: Tensor,
        confidence: Tensor,
        disparity: Tensor,
        dino: Tensor,
    ) -> Tensor:
        """xy [N,T,2] in [-1,1], visible uint8 or bool [N,T], the next three [N,T], dino [N,C] ->
        [N].
        """
        seen = visible.to(xy.dtype)
        channels = track_channels(xy, seen, visibility, confidence, disparity, self.camera_scales)
        return self.decoder(self.joint_encoder(channels, (1 - seen) * MASKED), dino)


def track_channels(
    xy: Tensor,
    seen: Tensor,
    visibility: Tensor,
    confidence: Tensor,
    disparity: Tensor,
    camera_scales: tuple[float, ...] = (),
) -> Tensor:
    """The net's 88 numbers per track and frame [N,T,88]: p, dp, disparity, d-disparity, v, c.
    `seen` is 0 or 1.
    """
    xy = xy.clamp(-1, 1)
    both = seen * torch.cat([seen[:, 1:], torch.zeros_like(seen[:, :1])], 1)
    moved = without_camera(step(xy, seen), xy, both[..., None], camera_scales)
    depth = disparity[..., None]
    rest = [depth, step(depth, seen), visibility[..., None], confidence[..., None]]
    return torch.cat([encode(xy), encode(moved), *rest], -1)


def step(x: Tensor, seen: Tensor) -> Tensor:
    """Forward difference [N,T,C] along T; 0 in the last frame and where the next frame is
    invisible.
    """
    change = (x[:, 1:] - x[:, :-1]) * seen[:, 1:, None]
    return torch.cat([change, torch.zeros_like(x[:, :1])], 1)


def encode(z: Tensor) -> Tensor:
    """[N,T,2] -> [N,T,42]: x, y, sin x, sin y, cos x, cos y, sin 2x, ..."""
    parts = [z]
    for octave in range(OCTAVES):
        scaled = z * float(2**octave)
        parts += [torch.sin(scaled), torch.cos(scaled)]
    return torch.cat(parts, -1)


class JointEncoder(nn.Module):
    """[N,T,88] and the mask added to keys [N,T] -> [N,16], the maximum over all frames,
    invisible ones included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_fc1 = nn.Conv2d(CHANNELS, WIDTH, 1)
        self.fc2 = nn.Conv2d(WIDTH, WIDTH, 1)
        self.transformer_model = nn.ModuleDict(
            {"encoder": Stack(EncoderLayer), "decoder": Stack(DecoderLayer)}
        )

    def forward(self, channels: Tensor, mask: Tensor) -> Tensor:
        x = torch.relu(F.linear(channels, self.input_fc1.weight.flatten(1), self.input_fc1.bias))
        x = torch.relu(F.linear(x, self.fc2.weight.flatten(1), self.fc2.bias))
        memory = self.transformer_model["encoder"](x, mask)
        return self.transformer_model["decoder"](x, mask, memory).amax(1)


class Stack(nn.Module):
    """Two layers and a final norm."""

    def __init__(self, layer: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *rest)
        return self.norm(x)


class EncoderLayer(nn.Module):
    """Attention along time, then across tracks with the same weights, then feed-forward;
    post-norm.
    """

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention(WIDTH, HEADS)
        self.linear1 = nn.Linear(WIDTH, 64)
        self.linear2 = nn.Linear(64, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn.along_time(x, x, mask))
        x = self.norm3(x + self.self_attn.across_tracks(x, mask))
        return self.norm2(x + self.linear2(torch.relu(self.linear1(x))))


class DecoderLayer(nn.Module):
    """As the encoder's, with attention along time to the encoder's result (unmasked) before the
    feed-forward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention(WIDTH, HEADS)
        self.multihead_attn = Attention(WIDTH, HEADS)
        self.linear1 = nn.Linear(WIDTH, 64)
        self.linear2 = nn.Linear(64, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)
        self.norm4 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, mask: Tensor, memory: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn.along_time(x, x, mask))
        x = self.norm4(x + self.self_attn.across_tracks(x, mask))
        x = self.norm2(x + self.multihead_attn.along_time(x, memory, torch.zeros_like(mask)))
        return self.norm3(x + self.linear2(torch.relu(self.linear1(x))))


class Msde(nn.Module):
    """Motion [N,16] and DINO [N,C] -> logits [N]: attention sees motion only, the feed-forward
    DINO as well.
    """

    def __init__(self, dino_channels: int) -> None:
        super().__init__()
        self.embedding = nn.ModuleDict({"embedding": nn.Linear(WIDTH, MSDE_WIDTH)})
        self.encoders = nn.ModuleList(MsdeEncoder(dino_channels) for _ in range(4))
        self.decoders = nn.ModuleList(MsdeDecoder() for _ in range(4))
        self.output_layer = nn.Linear(MSDE_WIDTH, 1)

    def forward(self, motion: Tensor, dino: Tensor) -> Tensor:
        embedded = memory = self.embedding["embedding"](motion)
        for encoder in self.encoders:
            memory = encoder(memory, dino)
        x = embedded
        for decoder in self.decoders:
            x = decoder(x, memory)
        return self.output_layer(x)[:, 0]


class MsdeEncoder(nn.Module):
    """A layer of self attention and a feed-forward part that sees the DINO features too."""

    def __init__(self, dino_channels: int) -> None:
        super().__init__()
        self.attention = Attention(MSDE_WIDTH, MSDE_HEADS)
        self.ffn = feed_forward(MSDE_WIDTH + dino_channels)
        self.norm1 = nn.LayerNorm(MSDE_WIDTH)
        self.norm2 = nn.LayerNorm(MSDE_WIDTH)

    def forward(self, x: Tensor, dino: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, x))
        return self.norm2(x + self.ffn(torch.cat([x, dino], 1)))


class MsdeDecoder(nn.Module):
    """A layer of self attention, attention to what was encoded, and a feed-forward part."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attention = Attention(MSDE_WIDTH, MSDE_HEADS)
        self.cross_attention = Attention(MSDE_WIDTH, MSDE_HEADS)
        self.ffn = feed_forward(MSDE_WIDTH)
        self.norm1 = nn.LayerNorm(MSDE_WIDTH)
        self.norm2 = nn.LayerNorm(MSDE_WIDTH)
        self.norm3 = nn.LayerNorm(MSDE_WIDTH)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attention(x, x))
        x = self.norm2(x + self.cross_attention(x, memory))
        return self.norm3(x + self.ffn(x))


def feed_forward(inputs: int) -> nn.Sequential:
    """Two linear layers, from `inputs` channels to the decoder's width."""
    return nn.Sequential(nn.Linear(inputs, 512), nn.ReLU(), nn.Linear(512, MSDE_WIDTH))


def initialise(module: nn.Module) -> None:
    """Xavier for the packed projections, as `torch.nn.MultiheadAttention` starts; PyTorch's own
    for the rest.
    """
    for name, parameter in module.named_parameters():
        if name.endswith("in_proj_weight"):
            nn.init.xavier_uniform_(parameter)


def build_module(net: MotionNet) -> Motion:
    """The net, not yet with weights."""
    return Motion(net)


def graphs(net: MotionNet, module: nn.Module, spelling: Spelling = Spelling.CPU) -> list[Graph]:
    """What is exported, with examples and tolerances."""
    maps = map_graphs(module.get_submodule("map")) if net.maps else []
    examples = tuple(
        tracks(n, t, net.dino_channels, seed) for seed, (n, t) in enumerate(((40, 12), (25, 17)))
    )
    if spelling is Spelling.GPU:
        whole = with_whole_attention(module)
        return [Graph("motion", whole, examples, {"score": HALF_TOLERANCE}), *maps]
    return [Graph("motion", module, examples, {"score": TOLERANCE}, functions=(LOOP,)), *maps]
