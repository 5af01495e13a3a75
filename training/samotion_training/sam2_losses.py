"""Losses for SAM 2: masks, predicted IoU, and whether there is an object."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mask_loss(logits: Tensor, target: Tensor, balance: float) -> Tensor:
    """Dice and cross-entropy of logits (B,M,h,w) against target shares (B,1,h,w) in [0,1]: (B,M).

    balance 1: object and ground weigh the same whatever their areas, which starts learning; 0:
    every pixel the same, with those near an edge of the truth three times, which sharpens.
    """
    truth = target.expand_as(logits)
    pixel = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    area = target.mean(dim=(-2, -1), keepdim=True).clamp(1e-3, 1 - 1e-3)
    balanced = target / (2 * area) + (1 - target) / (2 * (1 - area))
    spread = F.max_pool2d(target, 5, 1, 2) + F.max_pool2d(-target, 5, 1, 2)
    weight = balance * balanced + (1 - balance) * (1 + 2 * spread)
    entropy = (pixel * weight).mean(dim=(-2, -1))
    guess = logits.sigmoid()
    overlap = (guess * truth).sum(dim=(-2, -1))
    dice = 1 - (2 * overlap + 1) / (
        guess.square().sum(dim=(-2, -1)) + truth.square().sum(dim=(-2, -1)) + 1
    )
    return 2 * entropy + dice


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded logits (B,M,h,w) with thresholded shares (B,1,h,w): (B,M)."""
    guess, truth = logits > 0, (target > 0.5).expand_as(logits)
    union = (guess | truth).sum(dim=(-2, -1))
    return (guess & truth).sum(dim=(-2, -1)) / union.clamp(min=1)


def frame_loss(
    masks: Tensor, ious: Tensor, score: Tensor, target: Tensor, balance: float
) -> tuple[Tensor, Tensor]:
    """The loss of one frame, and the mean IoU of the single mask where there is an object.

    masks (B,4,h,w) logits: the single mask and three candidates; ious (B,4) predicted; score (B,1)
    logits. Every candidate learns a little, the best one most, so that they may differ where a
    prompt is ambiguous.
    """
    present = (target.amax(dim=(-2, -1)) > 0.5).float()
    count = present.sum().clamp(min=1)
    each = mask_loss(masks, target, balance)
    total = each[:, 0] + 0.5 * each[:, 1:].amin(dim=1) + 0.2 * each[:, 1:].mean(dim=1)
    real = iou(masks.detach(), target)
    quality = (ious - real).square().mean(dim=1)
    existence = F.binary_cross_entropy_with_logits(score, present)
    loss = ((total + quality) * present[:, 0]).sum() / count + existence
    return loss, (real[:, 0] * present[:, 0]).sum() / count
