"""Weights for a net: official files as published, or the bundled ones, with every name and shape
checked.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from samotion.contract import PATCH_PX
from samotion.errors import DeviceError, EngineError
from samotion.presets import SAM2_INSTALL, SAM2_SIZES

from samotion_export.checkpoints import files as checkpoints
from samotion_export.checkpoints.download import bundled_file

Shapes = Mapping[str, tuple[int, ...]]

# In published files but used by no forward pass: masked-image training of DINOv2, counters of batch
# norms.
HARMLESS = ("mask_token", "num_batches_tracked")

_VIT = {384: "Small", 768: "Base", 1024: "Large", 1536: "giant"}
_HIERA = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base+", (144, 48): "large"}
_SAM2_CONFIG = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}


def load(
    name: str, net: Any, path: Path | None = None, module: torch.nn.Module | None = None
) -> checkpoints.State:
    """The float32 state dict of `net` (a TracksNet, DepthNet, ...) from `path`, or from its bundled
    file.

    `module`: a built net to check names and shapes against (None: build one). Raises EngineError
    that says what the file is and what was expected.
    """
    path = path or bundled_file(net.weights)
    module = module or build_module(name, net)
    own = module.state_dict()
    state = checkpoints.of_one_net(checkpoints.read(path), own, path)
    check(_shapes(state), _shapes(own), path)
    _check_numbers(state, own, path)
    return {key: _as_float32(state[key]) for key in own}


def build_module(name: str, net: Any) -> torch.nn.Module:
    """The net with random weights. Raises DeviceError where a package it is built from is not
    installed.
    """
    try:
        module: torch.nn.Module = net_module(name).build_module(net)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "sam2":
            raise
        raise DeviceError(
            f"{name} needs the sam2 package; install it with: {SAM2_INSTALL}"
        ) from error
    return module


def net_module(name: str) -> Any:
    """The module of this package that builds a net."""
    return importlib.import_module(f"samotion_export.{name}")


def check(found: Shapes, expected: Shapes, path: Path) -> None:
    """Refuse a file whose tensors are not those expected, by the name of the net it holds."""
    this, wanted = recognise(found), recognise(expected)
    if this != wanted:
        raise EngineError(f"{str(path)!r}: this is {this}, expected {wanted}{_hint(this, wanted)}")
    if missing := [key for key in expected if key not in found]:
        raise EngineError(
            f"{str(path)!r}: this is {wanted}, but it lacks {len(missing)} of its"
            f" {len(expected)} tensors,"
            f" the first of them {missing[0]!r}; download it again"
        )
    for key, shape in expected.items():
        if found[key] != shape:
            raise EngineError(
                f"{str(path)!r}: this is {wanted}, but {key!r} has shape {list(found[key])},"
                f" expected {list(shape)}"
            )
    if extra := [
        key for key in found if key not in expected and key.rsplit(".", 1)[-1] not in HARMLESS
    ]:
        raise EngineError(
            f"{str(path)!r}: expected {wanted}, but it holds {len(extra)} tensors that this net"
            f" lacks,"
            f" the first of them {extra[0]!r}"
        )


def _check_numbers(state: checkpoints.State, own: checkpoints.State, path: Path) -> None:
    """Refuse weights that are not there, or are no fractions: of another scale, or complex."""
    for key, expected in own.items():
        tensor = state[key]
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_meta:
            kind = "no numbers"
        elif tensor.layout is not torch.strided:
            kind = "sparse numbers"
        elif tensor.is_floating_point() or not expected.is_floating_point():
            continue
        raise EngineError(
            f"{str(path)!r}: {key!r} holds {kind}, expected float32, or another kind of"
            " floating-point numbers; save the net's weights so"
        )


def recognise(shapes: Shapes) -> str:
    """What net a set of names and shapes belongs to, in words."""
    for recogniser in (_tapir, _depth, _motion, _sam2, _dino, _stranger):
        with suppress(IndexError, ValueError):  # fewer axes than the net's
            if label := recogniser(shapes):
                return label
    return f"no net known here (its first tensor is {next(iter(shapes), 'absent')!r})"


def _tapir(shapes: Shapes) -> str | None:
    if "resnet_torch.initial_conv.weight" not in shapes:
        return None
    boots = (
        "BootsTAPIR"
        if any(key.startswith("extra_convs.") for key in shapes)
        else "TAPIR without extra convolutions"
    )
    stem = shapes["resnet_torch.initial_conv.weight"][0]
    return boots if stem == 64 else f"a {boots} with a stem of {stem} channels"


def _depth(shapes: Shapes) -> str | None:
    if "pretrained.cls_token" not in shapes or not any(
        key.startswith("depth_head.") for key in shapes
    ):
        return None
    return f"Depth Anything V2 {_size(shapes['pretrained.cls_token'][-1], _VIT)}"


def _motion(shapes: Shapes) -> str | None:
    if "decoder.embedding.embedding.weight" not in shapes:
        return None
    wide = [
        shape[1]
        for key, shape in shapes.items()
        if len(shape) == 2 and shape[0] == 512 and shape[1] > 512
    ]
    return (
        f"the motion net (moseg) for {wide[0] - 128} DINO channels"
        if wide
        else "the motion net (moseg)"
    )


def _sam2(shapes: Shapes) -> str | None:
    if "image_encoder.trunk.stem.0.weight" in shapes:
        return (
            f"the nano SAM 2 with a stem of"
            f" {shapes['image_encoder.trunk.stem.0.weight'][0]} channels"
        )
    stem = shapes.get("image_encoder.trunk.patch_embed.proj.weight")
    if stem is None:
        return None
    version = "2.1" if "no_obj_embed_spatial" in shapes else "2.0"
    blocks = len(
        [
            k
            for k in shapes
            if k.startswith("image_encoder.trunk.blocks.") and k.endswith("norm1.weight")
        ]
    )
    size = _HIERA.get((stem[0], blocks), f"of width {stem[0]} with {blocks} blocks")
    return f"SAM {version} Hiera {size}"


def _dino(shapes: Shapes) -> str | None:
    if "cls_token" not in shapes or "patch_embed.proj.weight" not in shapes:
        return None
    width, _, patch, _ = shapes["patch_embed.proj.weight"]
    if patch != PATCH_PX or "blocks.0.ls1.gamma" not in shapes:
        return f"a vision transformer other than DINOv2 (width {width}, patches of {patch} px)"
    registers = " with registers" if "register_tokens" in shapes else ""
    return f"DINOv2 {_size(width, _VIT)}{registers}"


def _stranger(shapes: Shapes) -> str | None:
    """Nets that are mistaken for ours, told by one name each."""
    marks = {
        "image_encoder.patch_embed.proj.weight": "SAM 1",
        "embeddings.cls_token": "DINOv2 in the format of transformers (not Meta's file)",
        "backbone.embeddings.cls_token": "Depth Anything in the format of transformers (not the"
        " original file)",
    }
    return next((label for name, label in marks.items() if name in shapes), None)


def _size(width: int, names: Mapping[int, str]) -> str:
    return names.get(width, f"of width {width}")


def _hint(this: str, wanted: str) -> str:
    """How to use the SAM 2 file that was given, where one option is all it needs."""
    version, _, size = this.removeprefix("SAM ").partition(" Hiera ")
    config = f"sam{version.removesuffix('.0')}_hiera_{_SAM2_CONFIG.get(size, '?')}"
    return (
        f"; to use it add --sam2 {config}"
        if wanted.startswith("SAM 2") and config in SAM2_SIZES
        else ""
    )


def _shapes(state: checkpoints.State) -> Shapes:
    return {key: tuple(value.shape) for key, value in state.items()}


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
