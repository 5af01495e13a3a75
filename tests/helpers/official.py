"""Checkpoint files in the published formats, with random weights, for any net of any preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from samotion_export.checkpoints.weights import build_module

_WRAPPER = {"motion": "model_state_dict", "sam2": "model"}


def random_state(name: str, net: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """The state dict of a freshly initialised net, its constants nudged so that no parameter is
    idle.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = build_module(name, net).state_dict()
        for value in state.values():
            if value.is_floating_point():
                value += 0.01 * torch.randn_like(value)
    return dict(state)


def write(path: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """Save `state` as the publisher of net `name` does."""
    torch.save({_WRAPPER[name]: state} if name in _WRAPPER else state, path)
    return path


def checkpoint(folder: Path, name: str, net: Any, seed: int = 0) -> Path:
    """A random checkpoint of `net` under its published file name."""
    return write(
        folder / Path(net.weights.file).with_suffix(".pt").name, name, random_state(name, net, seed)
    )
