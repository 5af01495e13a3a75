"""Reading a checkpoint file whose content nobody vouches for: tensors out of it, or one line that says what it is."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from samotion.errors import EngineError

State = dict[str, torch.Tensor]
_WRAPPERS = ("model_state_dict", "model", "state_dict")  # moseg, SAM 2, and a habit of other trainers
_PICKLE, _ZIP = b"\x80", b"PK"


def read(path: Path) -> State:
    """The tensors of a .pt/.pth/.safetensors file, unwrapped, as stored (zip files are mapped, not copied).

    Nothing in the file is run. Raises EngineError for whatever is not a readable set of tensors.
    """
    try:
        head = _head(path)
        if _looks_like_safetensors(path, head):
            return _read_safetensors(path)
        return _tensors_of(_read_torch(path, head), path)
    except OSError as error:
        raise EngineError(f"checkpoint {str(path)!r} cannot be read: {error.strerror or error}") from error


def _head(path: Path) -> bytes:
    if not path.exists():
        raise EngineError(f"checkpoint {str(path)!r} does not exist")
    if not path.is_file():
        raise EngineError(f"checkpoint {str(path)!r} is a folder or device, expected a file")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise EngineError(f"checkpoint {str(path)!r} is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise EngineError(f"checkpoint {str(path)!r} is a git-lfs pointer, not the file; run: git lfs pull")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise EngineError(f"checkpoint {str(path)!r} is a web page, not a checkpoint; download the file itself")
    return head


def _looks_like_safetensors(path: Path, head: bytes) -> bool:
    return path.suffix == ".safetensors" or (head[8:9] == b"{" and not head.startswith((_PICKLE, _ZIP)))


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise EngineError(f"checkpoint {str(path)!r} is truncated or damaged: {_first_line(error)}") from error


def _read_torch(path: Path, head: bytes) -> Any:
    if not head.startswith((_PICKLE, _ZIP)):
        raise EngineError(f"{str(path)!r} is not a PyTorch or safetensors checkpoint (it begins with {head[:8]!r})")
    zipped = head.startswith(_ZIP)
    if zipped and not zipfile.is_zipfile(path):  # the index of a zip stands at its end
        raise EngineError(f"checkpoint {str(path)!r} is truncated; download it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and file formats: the outcome says it better
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise EngineError(_refusal(path, str(error))) from error
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise EngineError(f"checkpoint {str(path)!r} is truncated or damaged: {_first_line(error)}") from error


def _refusal(path: Path, reason: str) -> str:
    if found := re.search(r"GLOBAL ([\w.]+)", reason):
        return (
            f"checkpoint {str(path)!r} holds Python objects, not just tensors ({found.group(1).rstrip('.')});"
            " it was refused without running it; expected a state dict"
        )
    return f"{str(path)!r} is a pickle, but not a PyTorch checkpoint, or a damaged one; nothing in it was run"


def _tensors_of(content: Any, path: Path) -> State:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict):
        raise EngineError(f"checkpoint {str(path)!r} holds a {type(content).__name__}, expected a state dict")
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if not tensors:
        keys = ", ".join(str(k) for k in list(content)[:4]) or "nothing"
        raise EngineError(f"checkpoint {str(path)!r} holds no tensors (it holds {keys}), expected a state dict")
    return tensors


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:200]
