"""Checkpoints of the parity data: every parameter drawn from its name and shape, in the
published file formats.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers import official

SALT = "open-"  # of the expected outputs
_NAMES = {
    "depth": "depth_anything_v2_vits",
    "dino": "dinov2_vitb14",
    "motion": "moseg",
    "tracks": "bootstapir",
}


def shapes(folder: Path, net: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the official checkpoint of `net`: one of depth (Small), dino, motion
    and tracks.
    """
    found = json.loads((folder / "shapes.json").read_text())[_NAMES[net]]
    return {name: tuple(shape) for name, shape in found.items()}


def state(folder: Path, net: str, salt: str = SALT) -> dict[str, torch.Tensor]:
    """The official state dict of `net`."""
    arrays = _drawer(folder).state_dict(shapes(folder, net), salt)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def engines(
    folder: Path,
    out: Path,
    net: str,
    salt: str = SALT,
    preset: str = "fast",
    target: str = "onnx",
) -> Path:
    """An engine folder with one net of a preset, exported from its official file."""
    from samotion_export.export import export
    from samotion_export.report import Report
    from samotion_export.request import Request

    out.mkdir()
    checkpoint = official.write(out / f"{net}.pt", net, state(folder, net, salt))
    files = {net: checkpoint}
    request = Request((net,), preset, out, checkpoints=files, verify=False, target=target)
    export(request, Report(-1))
    return out


def _drawer(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("detweights", folder / "detweights.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
