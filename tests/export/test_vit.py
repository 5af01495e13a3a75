"""The ViT against the obvious version of each of its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samotion.presets import VitNet
from samotion_export import vit
from samotion_export.examples import frames

TINY = VitNet(width=128, depth=2, pos_grid=5)
EXACT = 2e-6  # float32 sums in another order


@pytest.fixture
def tiny() -> vit.Vit:
    torch.manual_seed(0)
    return vit.Vit(TINY, stride_px=7).eval()


@pytest.mark.parametrize("grid_hw", [(3, 9), (11, 5), (1, 1), (6, 6), (37, 53)])
def test_positions_resize_as_pytorch_does_with_the_literal_scale(grid_hw: tuple[int, int]) -> None:
    side = 5
    positions = torch.randn(side * side, 8, generator=torch.Generator().manual_seed(0))
    scale = tuple((n + 0.1) / side for n in grid_hw)
    image = positions.reshape(1, side, side, 8).permute(0, 3, 1, 2)
    expected = F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
    assert tuple(expected.shape[2:]) == grid_hw
    got = vit.resize_positions(positions, side, grid_hw)
    assert torch.allclose(got, expected[0].flatten(1).T, atol=1e-5)


def test_positions_of_their_own_grid_stay_untouched() -> None:
    positions = torch.randn(25, 8)
    assert torch.equal(vit.resize_positions(positions, 5, (5, 5)), positions)
    assert not torch.equal(vit.resize_positions(positions, 5, (5, 6))[:5], positions[:5])


def test_attention_is_what_pytorch_defines() -> None:
    torch.manual_seed(0)
    attention = vit.Attention(128)
    reference = torch.nn.MultiheadAttention(128, 2, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": attention.qkv.weight,
            "in_proj_bias": attention.qkv.bias,
            "out_proj.weight": attention.proj.weight,
            "out_proj.bias": attention.proj.bias,
        }
    )
    x = torch.randn(2, 7, 128)
    assert torch.allclose(attention(x), reference(x, x, x, need_weights=False)[0], atol=EXACT)


def test_last_keys_are_dimension_major_and_without_the_class_token(tiny: vit.Vit) -> None:
    images = torch.from_numpy(frames(1, 28, 42))
    last: Any = tiny.blocks[-1]
    with torch.no_grad():
        x = tiny.blocks[0](tiny.tokens(images)[0])
        packed = last.attn.qkv(last.norm1(x))[0, 1:]  # [tokens, 3 * heads * 64]
        got = tiny.last_keys(images)[0].reshape(-1, 128)
    keys = packed.reshape(-1, 3, 2, 64)[:, 1]
    for head in range(2):
        assert torch.allclose(got[:, head::2], keys[:, head], atol=EXACT)


def test_last_keys_have_one_cell_per_stride(tiny: vit.Vit) -> None:
    rows, columns = 1 + (28 - 14) // 7, 1 + (56 - 14) // 7
    keys = tiny.last_keys(torch.from_numpy(frames(1, 28, 56)))
    assert keys.shape == (1, rows, columns, 128)


def test_nothing_after_the_last_keys_matters(tiny: vit.Vit) -> None:
    images = torch.from_numpy(frames(1, 28, 42))
    with torch.no_grad():
        before = tiny.last_keys(images)
        for name, parameter in tiny.blocks[-1].named_parameters():
            if not name.startswith(("norm1", "attn.qkv")):
                parameter.fill_(torch.nan)
        assert torch.equal(tiny.last_keys(images), before)


def test_images_are_normalised_as_imagenet() -> None:
    image = np.array([[[[255, 0, 128]]]], np.uint8)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    assert vit.normalise(torch.from_numpy(image)).flatten().tolist() == pytest.approx(
        expected, abs=1e-5
    )
