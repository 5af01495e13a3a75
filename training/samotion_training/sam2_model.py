"""SAM 2's forward pass for training: many prompted objects per image, and short clips through
its memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
NO_OBJECT = -10.0  # mask logits remembered for a frame that does not show the object


class Prompts(NamedTuple):
    """Prompts of B objects: logits (B,1,S/4,S/4), has_mask (B,) bool, points (B,P,2) px, labels
    (B,P) int.
    """

    logits: Tensor
    has_mask: Tensor
    points: Tensor
    labels: Tensor


class Answer(NamedTuple):
    """masks (B,4,S/4,S/4) logits, ious (B,4), score (B,1) logits, tokens (B,4,C)."""

    masks: Tensor
    ious: Tensor
    score: Tensor
    tokens: Tensor


class Levels(NamedTuple):
    """Image features: strides 4 and 8 as the decoder takes them, stride 16 with its position
    code (B,C,h,w).
    """

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    position: Tensor

    def take(self, index: Tensor) -> Levels:
        """The features of some images."""
        return Levels(
            self.fine[index], self.middle[index], self.coarse[index], self.position[index]
        )


def orthogonal_start(model: Any) -> None:
    """Starts the mask decoder's attentions with q = k, so that a click attends to its own place
    from step one.
    """
    for module in model.sam_mask_decoder.transformer.modules():
        if hasattr(module, "q_proj"):
            nn.init.orthogonal_(module.q_proj.weight)
            with torch.no_grad():
                module.q_proj.weight.mul_(2)
                module.k_proj.weight.copy_(module.q_proj.weight)
            nn.init.zeros_(module.q_proj.bias)
            nn.init.zeros_(module.k_proj.bias)


def resize(model: Any, size_px: int) -> None:
    """Makes `model` take images of another size: no weight depends on it, only bookkeeping does."""
    model.image_size = size_px
    model.sam_image_embedding_size = size_px // 16
    encoder = model.sam_prompt_encoder
    encoder.input_image_size = (size_px, size_px)
    encoder.image_embedding_size = (size_px // 16, size_px // 16)
    encoder.mask_input_size = (size_px // 4, size_px // 4)


def encode(model: Any, frames: Tensor) -> Levels:
    """Features of frames (B,S,S,3) uint8."""
    mean, std = MEAN.to(frames.device), STD.to(frames.device)
    images = (frames.permute(0, 3, 1, 2).float() / 255 - mean) / std
    out = model.forward_image(images)
    fine, middle, coarse = out["backbone_fpn"]
    return Levels(fine, middle, coarse, out["vision_pos_enc"][-1])


def decode(model: Any, levels: Levels, conditioned: Tensor, prompts: Prompts | None) -> Answer:
    """Masks of B objects from their images' features; `conditioned` is the stride-16 level after
    memory.
    """
    encoder, count = model.sam_prompt_encoder, len(conditioned)
    if prompts is None:
        points = conditioned.new_zeros(count, 1, 2)
        labels = torch.full((count, 1), -1, dtype=torch.int32, device=conditioned.device)
        sparse, dense = encoder((points, labels), None, None)
    else:
        sparse, dense = encoder((prompts.points, prompts.labels), None, prompts.logits)
        dense = torch.where(
            prompts.has_mask.view(-1, 1, 1, 1),
            dense,
            encoder.no_mask_embed.weight.view(1, -1, 1, 1),
        )
    masks, ious, tokens, score = model.sam_mask_decoder.predict_masks(
        image_embeddings=conditioned,
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=[levels.fine, levels.middle],
    )
    return Answer(masks, ious, score, tokens)


def without_memory(model: Any, levels: Levels) -> Tensor:
    """The stride-16 level of a frame that is prompted before anything is remembered."""
    level: Tensor = levels.coarse + model.no_mem_embed.view(1, -1, 1, 1)
    return level


def with_memory(
    model: Any, levels: Levels, frame: int, memory: dict[str, dict[int, Any]]
) -> Tensor:
    """The stride-16 level after attention to what `memory` holds, for frame number `frame`."""
    size = tuple(levels.coarse.shape[-2:])
    conditioned: Tensor = model._prepare_memory_conditioned_features(
        frame_idx=frame,
        is_init_cond_frame=False,
        current_vision_feats=[levels.coarse.flatten(2).permute(2, 0, 1)],
        current_vision_pos_embeds=[levels.position.flatten(2).permute(2, 0, 1)],
        feat_sizes=[size],
        output_dict=memory,
        num_frames=16,
    )
    return conditioned


def remember(
    model: Any, levels: Levels, answer: Answer, token: int, present: Tensor, prompted: bool
) -> dict[str, Any]:
    """What a frame leaves behind: its memory features and object pointer. present: (B,1) in {0,1}.

    The mask of a prompted frame is remembered as a sure yes or no, as in a run.
    """
    size = model.image_size
    mask = torch.where(present.view(-1, 1, 1, 1) > 0, answer.masks[:, token : token + 1], NO_OBJECT)
    if prompted:
        mask = torch.where(mask > 0, -NO_OBJECT, NO_OBJECT)
    features, position = model._encode_new_memory(
        current_vision_feats=[levels.coarse.flatten(2).permute(2, 0, 1)],
        feat_sizes=[tuple(levels.coarse.shape[-2:])],
        pred_masks_high_res=F.interpolate(
            mask, size=(size, size), mode="bilinear", align_corners=False
        ),
        object_score_logits=present * 2 - 1,
        is_mask_from_pts=False,
    )
    pointer = (
        present * model.obj_ptr_proj(answer.tokens[:, token]) + (1 - present) * model.no_obj_ptr
    )
    return {"maskmem_features": features, "maskmem_pos_enc": position, "obj_ptr": pointer}
