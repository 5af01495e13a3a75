"""The four graphs of SAM 2: image features, prompted masks, memory of a prompted frame, and one
step of tracking.

Image features come from `sam2_image` once per frame, with a batch of 1 in all other graphs: objects
are their batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samotion_export.sam2.attention import QUERY_CHUNK, CrossAttention, SelfAttention
from samotion_export.sam2.fused import FusedCross, FusedSelf, absent
from samotion_export.sam2.hiera import HieraTrunk
from samotion_export.spelling import Spelling

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
NO_OBJECT = -1024.0  # mask logit everywhere in a frame where the object score is not positive


class ImageGraph(nn.Module):
    """frames u8 (B,S,S,3) to the decoder's three levels and to `query`, what memory attention
    starts from.

    The first layer of memory attention begins with self-attention among the frame's own tokens,
    which no object changes: `query` (B,L,C) is its result, computed once per frame instead of once
    per object.
    """

    def __init__(self, sam: Any, spelling: Spelling = Spelling.CPU) -> None:
        super().__init__()
        from sam2.modeling.backbones.hieradet import Hiera

        trunk, decoder = sam.image_encoder.trunk, sam.sam_mask_decoder
        chunk = QUERY_CHUNK if spelling is Spelling.CPU else None
        self.trunk = HieraTrunk(trunk, sam.image_size, chunk) if isinstance(trunk, Hiera) else trunk
        self.neck = Neck(sam.image_encoder.neck, decoder.conv_s0, decoder.conv_s1)
        side = sam.sam_image_embedding_size
        self.first = self_attention(sam.memory_attention.layers[0], side, spelling)
        self.mean, self.gain = (
            nn.Buffer(255 * torch.tensor(MEAN)),
            nn.Buffer(1 / (255 * torch.tensor(STD))),
        )
        position = sam.image_encoder.neck.position_encoding(torch.zeros(1, 1, side, side))
        self.position = nn.Buffer(0.1 * tokens(position))

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        images = ((frames.float() - self.mean) * self.gain).permute(0, 3, 1, 2)
        level0, level1, level2 = self.neck(self.trunk(images))
        return level0, level1, level2, self.first(tokens(level2) + self.position)


def self_attention(layer: Any, side: int, spelling: Spelling) -> nn.Module:
    """The self-attention of a layer of memory attention."""
    if spelling is Spelling.GPU:
        return FusedSelf(layer, side)
    return SelfAttention(layer, side, QUERY_CHUNK)


def cross_attention(layer: Any, side: int, spelling: Spelling) -> nn.Module:
    """The rest of it."""
    if spelling is Spelling.GPU:
        return FusedCross(layer, side)
    return CrossAttention(layer, side, QUERY_CHUNK)


class Neck(nn.Module):
    """The trunk's four maps to the decoder's three levels.

    The package's neck widens the two finer maps and the decoder's first convolutions narrow them
    again, with nothing in between: one convolution each does both.
    """

    def __init__(self, neck: Any, narrow0: nn.Conv2d, narrow1: nn.Conv2d) -> None:
        super().__init__()
        self.coarsest, self.coarse, middle, fine = (lateral.conv for lateral in neck.convs)
        self.fine, self.middle = folded(fine, narrow0), folded(middle, narrow1)
        self.enlarged = neck.fpn_interp_model

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse, coarsest = maps
        above = F.interpolate(self.coarsest(coarsest), scale_factor=2.0, mode=self.enlarged)
        return self.fine(fine), self.middle(middle), self.coarse(coarse) + above


def folded(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """second(first(x)) of two 1x1 convolutions as one."""
    one, two = (conv.weight.detach().double().flatten(1) for conv in (first, second))
    assert first.bias is not None and second.bias is not None
    conv = nn.Conv2d(first.in_channels, second.out_channels, 1)
    with torch.no_grad():
        conv.weight.copy_((two @ one)[..., None, None])
        conv.bias.copy_(two @ first.bias.double() + second.bias)  # type: ignore[union-attr]
    return conv


class PromptGraph(nn.Module):
    """Points and a coarse mask on a frame, without memory, to a mask (B,M,M), its IoU, pointer and
    object score.

    Three masks are weighed where the number of points is within the configuration's bounds (one
    click), and where the single mask is unstable; else the single mask is taken.
    """

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.head = MaskHead(sam)
        encoder = sam.sam_prompt_encoder
        self.encode_mask, self.frequencies = encoder.mask_downscaling, encoder.pe_layer
        self.no_mask = nn.Buffer(encoder.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).clone())
        points = [encoder.not_a_point_embed.weight, *(e.weight for e in encoder.point_embeddings)]
        # rows for labels -1, 0, 1, 2 and 3
        self.by_label = nn.Buffer(torch.cat(points).detach().clone())
        self.no_memory = nn.Buffer(sam.no_mem_embed.detach().reshape(1, -1, 1, 1).clone())
        self.side_px = sam.image_size
        self.fewest, self.most = sam.multimask_min_pt_num, sam.multimask_max_pt_num

    def forward(
        self,
        level0: Tensor,
        level1: Tensor,
        level2: Tensor,
        points: Tensor,
        labels: Tensor,
        mask_prompt: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, ...]:
        dense = torch.where(
            (has_mask.float() > 0)[:, None, None, None],
            self.encode_mask(mask_prompt.unsqueeze(1)),
            self.no_mask,
        )
        count = (labels >= 0).float().sum(1)
        multimask = (count >= self.fewest) & (count <= self.most)
        sparse = self._embed(points, labels)
        return self.head(level2 + self.no_memory + dense, (level0, level1), sparse, multimask)

    def _embed(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points (B,P,2) px to (B,P+1,C): the package appends a padding point where there is no
        box.
        """
        embedded = (
            self.frequencies._pe_encoding((points + 0.5) / self.side_px)
            * (labels >= 0)[..., None].float()
        )
        padding = self.by_label[:1].expand(points.shape[0], 1, -1)
        return torch.cat([embedded + self.by_label[labels + 1], padding], dim=1)


class MemoryGraph(nn.Module):
    """A mask (B,M,M) that came from prompts to the memory (B,L,D) of its frame; `object_score`
    (B,) as decoded.
    """

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.encode = MemoryEncoder(sam)
        self.binarize = sam.binarize_mask_from_pts_for_mem_enc

    def forward(self, level2: Tensor, masks: Tensor, object_score: Tensor) -> Tensor:
        memory: Tensor = self.encode(level2, masks, object_score, self.binarize)
        return memory


class TrackGraph(nn.Module):
    """One frame for B objects: memory attention, decoder and memory encoder in one call.

    bank (B,K,L,D): spatial memories; slot (B,K): index of each one's temporal encoding; pointers
    (B,P,C): object pointers and `age` (B,P), their distance in time divided by the largest one
    possible. Spelled for a GPU, it `pads`: a slot or an age of -1 is of a memory or a pointer that
    is not there.
    """

    def __init__(self, sam: Any, spelling: Spelling = Spelling.CPU) -> None:
        super().__init__()
        side, layers = sam.sam_image_embedding_size, sam.memory_attention.layers
        self.pads = spelling is Spelling.GPU
        self.crosses = nn.ModuleList(cross_attention(layer, side, spelling) for layer in layers)
        self.selves = nn.ModuleList(self_attention(layer, side, spelling) for layer in layers[1:])
        self.norm = sam.memory_attention.norm
        self.head, self.encode = MaskHead(sam), MemoryEncoder(sam)
        self.width, self.memory_width, self.side = sam.hidden_dim, sam.mem_dim, side
        self.age_projection = age_projection(sam)
        position = sam.memory_encoder.position_encoding(torch.zeros(1, 1, side, side))
        slots = sam.maskmem_tpos_enc.detach().reshape(sam.num_maskmem, 1, self.memory_width)
        self.position = nn.Buffer(tokens(position) + slots)  # (slots, L, D)
        encoder = sam.sam_prompt_encoder
        self.no_points = nn.Buffer(
            encoder.not_a_point_embed.weight.detach().expand(1, 2, -1).clone()
        )
        self.no_mask = nn.Buffer(encoder.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).clone())

    def forward(
        self,
        level0: Tensor,
        level1: Tensor,
        level2: Tensor,
        query: Tensor,
        bank: Tensor,
        slot: Tensor,
        pointers: Tensor,
        age: Tensor,
    ) -> tuple[Tensor, ...]:
        attended = self._remember(query, bank, slot, pointers, age)
        pixels = (
            attended.transpose(1, 2).reshape(-1, self.width, self.side, self.side) + self.no_mask
        )
        count = bank.shape[0]
        every = torch.ones(count, device=bank.device) > 0
        masks, iou, pointer, score = self.head(
            pixels, (level0, level1), self.no_points.expand(count, -1, -1), every
        )
        return masks, iou, pointer, score, self.encode(level2, masks, score, False)

    def _remember(
        self, query: Tensor, bank: Tensor, slot: Tensor, pointers: Tensor, age: Tensor
    ) -> Tensor:
        """Memory attention: the frame's tokens (1,L,C) to (B,L,C), conditioned on each object's
        memory.
        """
        pieces = self.width // self.memory_width  # a pointer counts as this many tokens
        split = pointers.reshape(pointers.shape[0], -1, self.memory_width)
        aged = self.age_projection(sine_encoding(age, self.age_projection.in_features))
        aged = (
            aged.unsqueeze(2)
            .expand(-1, -1, pieces, -1)
            .reshape(pointers.shape[0], -1, self.memory_width)
        )
        values = torch.cat([bank.flatten(1, 2), split], dim=1)
        placed = bank + self.position[slot]
        bias = (absent(slot, age, bank.shape[2], pieces),) if self.pads else ()
        x = query.expand(bank.shape[0], -1, -1)
        for i, cross in enumerate(self.crosses):
            x = cross(self.selves[i - 1](x) if i else x, placed, split + aged, values, *bias)
        normed: Tensor = self.norm(x)
        return normed


class MaskHead(nn.Module):
    """The mask decoder and the choice among its four masks."""

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.decoder, self.pointer = sam.sam_mask_decoder, sam.obj_ptr_proj
        tokens = [
            self.decoder.obj_score_token.weight,
            self.decoder.iou_token.weight,
            self.decoder.mask_tokens.weight,
        ]
        self.tokens = nn.Buffer(torch.cat(tokens).detach().unsqueeze(0).clone())
        self.position = nn.Buffer(sam.sam_prompt_encoder.get_dense_pe().detach().clone())
        self.no_pointer = nn.Buffer(sam.no_obj_ptr.detach().clone())

    def forward(
        self, pixels: Tensor, levels: tuple[Tensor, Tensor], sparse: Tensor, multimask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """pixels (B,C,G,G) with prompts added, sparse prompts (B,P,C), multimask (B,) bool.

        Returns masks (B,M,M), iou (B,), pointer (B,C) and object score (B,).
        """
        masks, iou, tokens, score = self._decode(pixels, levels, sparse)
        best = iou[:, 1:].argmax(1) + 1
        chosen = torch.where(multimask | ~self._stable(masks[:, 0]), best, torch.zeros_like(best))
        token = pick(tokens, torch.where(multimask, best, torch.zeros_like(best)))
        present = (score > 0).float()
        pointer = present * self.pointer(token) + (1 - present) * self.no_pointer
        mask = torch.where(present[..., None] > 0, pick(masks, chosen), torch.tensor(NO_OBJECT))
        return mask, pick(iou, chosen), pointer, score.squeeze(1)

    def _decode(
        self, pixels: Tensor, levels: tuple[Tensor, Tensor], sparse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Four masks (B,4,M,M), their IoU (B,4) and tokens (B,4,C), and the object score (B,1)."""
        decoder, side = self.decoder, self.position.shape[-1]
        queries = torch.cat([self.tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        out, keys = decoder.transformer(pixels, self.position, queries)
        widen1, norm, act1, widen2, act2 = decoder.output_upscaling
        x = keys.transpose(1, 2).reshape(-1, decoder.transformer_dim, side, side)
        x = act1(norm(widen1(x) + levels[1]))
        x = act2(widen2(x) + levels[0])
        tokens = out[:, 2:6]
        heads = decoder.output_hypernetworks_mlps
        hyper = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], dim=1)
        masks = (hyper @ x.flatten(2)).reshape(-1, len(heads), 4 * side, 4 * side)
        return (
            masks,
            decoder.iou_prediction_head(out[:, 1]),
            tokens,
            decoder.pred_obj_score_head(out[:, 0]),
        )

    def _stable(self, mask: Tensor) -> Tensor:
        """Whether raising and lowering the threshold by a little leaves a mask (B,M,M) nearly as
        it is.
        """
        delta = self.decoder.dynamic_multimask_stability_delta
        smaller = (mask > delta).flatten(1).float().sum(1)
        larger = (mask > -delta).flatten(1).float().sum(1)
        ratio = torch.where(larger > 0, smaller / larger.clamp(min=1), torch.ones_like(larger))
        return ratio >= self.decoder.dynamic_multimask_stability_thresh


class MemoryEncoder(nn.Module):
    """A frame's features and a mask to its memory (B,L,D)."""

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.encoder, self.side_px = sam.memory_encoder, sam.image_size
        self.scale, self.bias = sam.sigmoid_scale_for_mem_enc, sam.sigmoid_bias_for_mem_enc
        spatial = sam.no_obj_embed_spatial
        absent = torch.zeros(1, sam.mem_dim) if spatial is None else spatial  # 2.0 has none
        self.absent = nn.Buffer(absent.detach().clone())

    def forward(
        self, level2: Tensor, masks: Tensor, object_score: Tensor, binarize: bool
    ) -> Tensor:
        size = (self.side_px, self.side_px)
        mask = F.interpolate(masks.unsqueeze(1), size=size, mode="bilinear", align_corners=False)
        mask = (mask > 0).float() if binarize else mask.sigmoid()
        mask = mask * self.scale + self.bias
        x = self.encoder.pix_feat_proj(level2) + self.encoder.mask_downsampler(mask)
        memory = tokens(self.encoder.out_proj(self.encoder.fuser(x)))
        return memory + (object_score <= 0).float()[:, None, None] * self.absent


def tokens(grid: Tensor) -> Tensor:
    """(B,C,G,G) to (B,G*G,C)."""
    return grid.flatten(2).transpose(1, 2)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x[b, index[b]] for each b."""
    return x[torch.arange(x.shape[0]), index]


def sine_encoding(position: Tensor, width: int, temperature: float = 10000.0) -> Tensor:
    """Positions (...) to (..., width): sines, then cosines, of the transformer's frequencies."""
    half = width // 2
    steps = torch.arange(half, device=position.device) // 2
    period = temperature ** (2 * steps.float() / half)
    angle = position.unsqueeze(-1) / period
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def age_projection(sam: Any) -> nn.Linear:
    """How a pointer's age enters its key; SAM 2.0 does not tell pointers by age, which is a
    projection of zeros.
    """
    if sam.add_tpos_enc_to_obj_ptrs and sam.proj_tpos_enc_in_obj_ptrs:
        projection: nn.Linear = sam.obj_ptr_tpos_proj
        return projection
    zeros = nn.Linear(sam.hidden_dim, sam.mem_dim)
    nn.init.zeros_(zeros.weight)
    nn.init.zeros_(zeros.bias)
    return zeros
