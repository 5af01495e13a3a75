"""SAM 2 as a PyTorch module: the sam2 package's own modules, for its published configurations and
for our nano one.

A configuration is the package's own kind of nested dict with `_target_` names. The nano net differs
from the published ones in sizes and in its trunk (`ConvTrunk`), not in how it is put together.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from samotion.errors import UsageError
from samotion.presets import SAM2_INSTALL, Sam2Net
from torch import Tensor, nn

CONFIGS = tuple(
    f"{version}_hiera_{size}" for version in ("sam2", "sam2.1") for size in ("t", "s", "b+", "l")
)
# What the package's video predictor adds to a configuration (build_sam.py,
# apply_postprocessing=True).
POSTPROCESSING: dict[str, Any] = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}
_STRIDE = 16  # px per cell of the coarsest feature level; the same in every configuration


@dataclass(frozen=True)
class NanoSizes:
    """All numbers of the nano net. At 448 px the image encoder costs 4.5 GFLOP a frame, 55 ms on
    2 cores.
    """

    channels: tuple[int, int, int, int] = (32, 64, 128, 192)  # at strides 4, 8, 16 and 32
    blocks: tuple[int, int, int, int] = (2, 2, 3, 2)
    width: int = 128
    memory_width: int = 64
    attention_layers: int = 2
    feed_forward: int = 512
    fuser_layers: int = 2


class ConvTrunk(nn.Module):
    """A residual convolutional trunk with the package's trunk interface: four levels at strides
    4, 8, 16 and 32.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.channel_list = list(channels[::-1])  # coarsest first, as the neck lists them
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0] // 2, 3, stride=2, padding=1),
            _norm(channels[0] // 2),
            nn.ReLU(),
            nn.Conv2d(channels[0] // 2, channels[0], 3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        for i, (width, count) in enumerate(zip(channels, blocks)):
            down = (
                []
                if i == 0
                else [
                    _norm(channels[i - 1]),
                    nn.Conv2d(channels[i - 1], width, 3, stride=2, padding=1),
                ]
            )
            self.stages.append(nn.Sequential(*down, *(ResidualBlock(width) for _ in range(count))))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B,3,S,S), normalised, to four maps (B,C,S/4,S/4) ... (B,C,S/32,S/32)."""
        x = self.stem(images)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after normalisation and ReLU, around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(width), nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2, self.conv2 = _norm(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(torch.relu(self.norm1(x)))
        y = self.conv2(torch.relu(self.norm2(y)))
        return x + y


def _norm(width: int) -> nn.Module:
    return nn.GroupNorm(max(1, width // 16), width)


def build_module(net: Sam2Net) -> nn.Module:
    """A `sam2.modeling.sam2_base.SAM2Base` for `net`, randomly initialised, with the official
    parameter names.

    Raises UsageError for a configuration that the package does not have, or a missing package.
    """
    return instantiate(config_of(net))


def instantiate(config: dict[str, Any]) -> nn.Module:
    """The module that a configuration describes."""
    from hydra.utils import instantiate as build

    module: nn.Module = build(config, _recursive_=True, _convert_="all")
    return module


def config_of(net: Sam2Net) -> dict[str, Any]:
    """The configuration of `net` with the video predictor's options, as a plain nested dict."""
    config = _nano(NanoSizes()) if net.config == "nano" else _official(net.config)
    config |= POSTPROCESSING
    config["image_size"] = net.image_size_px
    config["max_cond_frames_in_attn"] = net.max_conditioning_frames or -1
    layer = config["memory_attention"]["layer"]
    for attention in (layer["self_attention"], layer["cross_attention"]):
        attention["feat_sizes"] = [net.image_size_px // _STRIDE] * 2
    return config


def _official(name: str) -> dict[str, Any]:
    if name not in CONFIGS:
        raise UsageError(
            f"SAM 2 configuration {name!r} is unknown; choose nano or one of {', '.join(CONFIGS)}"
        )
    from omegaconf import OmegaConf

    path = package_folder() / "configs" / name.split("_")[0] / f"{name}.yaml"
    model: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    config: dict[str, Any] = model["model"]
    return config


def package_folder() -> Path:
    """Where the sam2 package lies. Raises UsageError where it is not installed."""
    spec = importlib.util.find_spec("sam2")
    if spec is None or spec.origin is None:
        raise UsageError(f"sam2 is not installed; {SAM2_INSTALL}")
    return Path(spec.origin).parent


def _nano(sizes: NanoSizes) -> dict[str, Any]:
    """The nano net as SAM 2.1 is configured, but smaller and with our trunk."""
    modeling = "sam2.modeling"
    attention = {
        "_target_": f"{modeling}.sam.transformer.RoPEAttention",
        "embedding_dim": sizes.width,
        "num_heads": 1,
        "downsample_rate": 1,
    }
    layer = {
        "_target_": f"{modeling}.memory_attention.MemoryAttentionLayer",
        "activation": "relu",
        "dim_feedforward": sizes.feed_forward,
        "dropout": 0.0,
        "d_model": sizes.width,
        "pos_enc_at_attn": False,
        "pos_enc_at_cross_attn_keys": True,
        "pos_enc_at_cross_attn_queries": False,
        "self_attention": dict(attention),
        "cross_attention": {**attention, "rope_k_repeat": True, "kv_in_dim": sizes.memory_width},
    }
    return {
        "_target_": f"{modeling}.sam2_base.SAM2Base",
        "image_encoder": _nano_image_encoder(sizes, modeling),
        "memory_attention": {
            "_target_": f"{modeling}.memory_attention.MemoryAttention",
            "d_model": sizes.width,
            "pos_enc_at_input": True,
            "layer": layer,
            "num_layers": sizes.attention_layers,
        },
        "memory_encoder": _nano_memory_encoder(sizes, modeling),
        **NANO_OPTIONS,
    }


def _nano_image_encoder(sizes: NanoSizes, modeling: str) -> dict[str, Any]:
    return {
        "_target_": f"{modeling}.backbones.image_encoder.ImageEncoder",
        "scalp": 1,
        "trunk": {
            "_target_": "samotion_export.sam2.net.ConvTrunk",
            "channels": list(sizes.channels),
            "blocks": list(sizes.blocks),
        },
        "neck": {
            "_target_": f"{modeling}.backbones.image_encoder.FpnNeck",
            "position_encoding": _sine(sizes.width, modeling),
            "d_model": sizes.width,
            "backbone_channel_list": list(sizes.channels[::-1]),
            "fpn_top_down_levels": [2, 3],
            "fpn_interp_model": "nearest",
        },
    }


def _nano_memory_encoder(sizes: NanoSizes, modeling: str) -> dict[str, Any]:
    encoder = f"{modeling}.memory_encoder"
    return {
        "_target_": f"{encoder}.MemoryEncoder",
        "out_dim": sizes.memory_width,
        "in_dim": sizes.width,
        "position_encoding": _sine(sizes.memory_width, modeling),
        "mask_downsampler": {
            "_target_": f"{encoder}.MaskDownSampler",
            "embed_dim": sizes.width,
            "kernel_size": 3,
            "stride": 2,
            "padding": 1,
        },
        "fuser": {
            "_target_": f"{encoder}.Fuser",
            # Trained from scratch in a few thousand steps: the published 1e-6 would keep the blocks
            # shut too long.
            "layer": {
                "_target_": f"{encoder}.CXBlock",
                "dim": sizes.width,
                "layer_scale_init_value": 0.1,
            },
            "num_layers": sizes.fuser_layers,
        },
    }


def _sine(width: int, modeling: str) -> dict[str, Any]:
    return {
        "_target_": f"{modeling}.position_encoding.PositionEmbeddingSine",
        "num_pos_feats": width,
    }


# The options of the published 2.1 configurations.
NANO_OPTIONS: dict[str, Any] = {
    "num_maskmem": 7,
    "sigmoid_scale_for_mem_enc": 20.0,
    "sigmoid_bias_for_mem_enc": -10.0,
    "use_mask_input_as_output_without_sam": True,
    "directly_add_no_mem_embed": True,
    "no_obj_embed_spatial": True,
    "use_high_res_features_in_sam": True,
    "multimask_output_in_sam": True,
    "iou_prediction_use_sigmoid": True,
    "use_obj_ptrs_in_encoder": True,
    "add_tpos_enc_to_obj_ptrs": True,
    "proj_tpos_enc_in_obj_ptrs": True,
    "use_signed_tpos_enc_to_obj_ptrs": True,
    "only_obj_ptrs_in_the_past_for_eval": True,
    "pred_obj_scores": True,
    "pred_obj_scores_mlp": True,
    "fixed_no_obj_ptr": True,
    "multimask_output_for_tracking": True,
    "use_multimask_token_for_obj_ptr": True,
    "multimask_min_pt_num": 0,
    "multimask_max_pt_num": 1,
    "use_mlp_for_obj_ptr_proj": True,
}
