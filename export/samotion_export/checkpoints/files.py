"""A checkpoint file whose content nobody vouches for: its tensors, or one line on what it is."""

from __future__ import annotations

import itertools
import pickle
import re
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from samotion.errors import EngineError, SamotionError, first_line

from samotion_export.checkpoints.foreign import foreign_kind, reading

State = dict[str, torch.Tensor]
# Under what a trainer files a net's tensors: an entry of the file, or the start of every name.
_WORDS = ("model", "module", "net", "network", "ema", "ema_model", "model_ema")
_ENTRIES = (*_WORDS, "model_state_dict", "state_dict", "ema_state_dict", "params", "params_ema")
_PREFIXES = (*_WORDS, "_orig_mod")
_DEPTH = 3  # entries within entries
_PICKLE, _ZIP = b"\x80", b"PK"


def read(path: Path) -> State:
    """The tensors of a .pt, .pth, .safetensors or .npz file, unwrapped (zip files are mapped).

    What the file is shows in its content, whatever its name says.

    Nothing in the file is run. Raises EngineError for whatever is not a readable set of tensors.
    """
    try:
        with reading(path):
            return _read(path)
    except (SamotionError, ImportError):
        raise
    except Exception as error:  # each reader raises a family of its own, and what it stumbles over
        raise EngineError(
            f"checkpoint {str(path)!r} is truncated or damaged: {first_line(error)}"
        ) from error


def _read(path: Path) -> State:
    head = _head(path)
    if _is_safetensors(path, head):
        from safetensors.torch import load_file

        return load_file(path)
    if head.startswith(_ZIP) and _holds_arrays(path):
        return _read_arrays(path)
    return _tensors_of(_read_torch(path, head), path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(512)
    advice = {
        "nothing": "is empty; download it again",
        "a web page": "is a web page, not a checkpoint; download the file itself",
        "a git-lfs pointer": "is a git-lfs pointer, not the file; run: git lfs pull",
    }
    if kind := foreign_kind(head):
        raise EngineError(f"checkpoint {str(path)!r} {advice[kind]}")
    return head


def of_one_net(state: State, expected: Collection[str], path: Path) -> State:
    """The tensors `expected`, without the prefix that wrappers put before every name (`module.`).

    What stands under no or another prefix is left out where all that is expected stands under one.
    Raises EngineError where two prefixes hold all of it.
    """
    groups: dict[str, State] = {}
    for name, tensor in state.items():
        prefix = _prefix_of(name)
        groups.setdefault(prefix, {})[name.removeprefix(prefix)] = tensor
    whole = [prefix for prefix, group in groups.items() if group.keys() >= set(expected)]
    if len(whole) > 1:
        raise EngineError(
            f"checkpoint {str(path)!r} holds this net {len(whole)} times, with names that begin"
            f" with"
            f" {' and '.join(repr(prefix) for prefix in whole)}; save one of them in a file of"
            f" its own"
        )
    if whole:
        return groups[whole[0]]
    return next(iter(groups.values())) if len(groups) == 1 else state


def _prefix_of(name: str) -> str:
    """The words before a tensor's own name: "" or as "module._orig_mod."."""
    words = itertools.takewhile(_PREFIXES.__contains__, name.split(".")[:-1])
    return "".join(f"{word}." for word in words)


def _is_safetensors(path: Path, head: bytes) -> bool:
    header_bytes = int.from_bytes(head[:8], "little")  # in a pickle or zip: an absurd number
    if head[8:9] == b"{" and header_bytes < path.stat().st_size:
        return True
    return path.suffix == ".safetensors" and not head.startswith((_PICKLE, _ZIP))


def _holds_arrays(path: Path) -> bool:
    """Whether a zip file is one of NumPy's."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read_arrays(path: Path) -> State:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (ValueError, TypeError) as error:
        raise EngineError(
            f"checkpoint {str(path)!r} holds arrays that cannot be read ({first_line(error)});"
            " expected numbers under the names of the state dict"
        ) from error


def _read_torch(path: Path, head: bytes) -> Any:
    if not head.startswith((_PICKLE, _ZIP)):
        raise EngineError(
            f"{str(path)!r} is not a PyTorch or safetensors checkpoint (it begins with"
            f" {head[:8]!r})"
        )
    zipped = head.startswith(_ZIP)
    if zipped and not zipfile.is_zipfile(path):  # the index of a zip stands at its end
        raise EngineError(f"checkpoint {str(path)!r} is truncated; download it again")
    if zipped and _holds_program(path):
        raise EngineError(
            f"checkpoint {str(path)!r} is a TorchScript program, expected a state dict;"
            " save its state_dict() with torch.save"
        )
    try:
        with warnings.catch_warnings():
            # about pickle protocols and file formats: the outcome says it better
            warnings.simplefilter("ignore")
            if path.suffix == ".safetensors":  # PyTorch would believe the name
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise EngineError(_refusal(path, str(error))) from error


def _holds_program(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _refusal(path: Path, reason: str) -> str:
    if found := re.search(r"GLOBAL ([\w.]+)", reason):
        return (
            f"checkpoint {str(path)!r} holds Python objects, not just tensors"
            f" ({found.group(1).rstrip('.')});"
            " it was refused without running it; expected a state dict"
        )
    return (
        f"{str(path)!r} is a pickle, but not a PyTorch checkpoint, or a damaged"
        f" one; nothing in it was run"
    )


def _tensors_of(content: Any, path: Path) -> State:
    for _ in range(_DEPTH):
        if (name := _wrapper_in(content, path)) is None:
            break
        content = content[name]
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise EngineError(f"checkpoint {str(path)!r} holds a {kind}, expected a state dict")
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    # nested ones have no shape
    tensors = {k: v for k, v in named.items() if isinstance(v, torch.Tensor) and not v.is_nested}
    if not tensors:
        keys = ", ".join(str(k) for k in list(content)[:4]) or "nothing"
        raise EngineError(
            f"checkpoint {str(path)!r} holds no tensors (it holds {keys}), expected a state dict;"
            " save the net's state_dict() alone"
        )
    return tensors


def _wrapper_in(content: Any, path: Path) -> str | None:
    """The entry that holds the net, None where there is none. Raises EngineError where two do."""
    if not isinstance(content, dict):
        return None
    entries = [name for name in _ENTRIES if isinstance(content.get(name), dict)]
    if len(entries) > 1:
        raise EngineError(
            f"checkpoint {str(path)!r} holds {' and '.join(entries)}, and which is the net is not"
            " told; save one of them in a file of its own"
        )
    return entries[0] if entries else None
