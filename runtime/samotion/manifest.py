"""engines/manifest.json: what lies in an engine folder, from what it was built, and how to trust it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samotion.contract import SIGNATURES
from samotion.errors import EngineError
from samotion.presets import PRESETS, Preset

SCHEMA = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One engine file. `shapes` maps every input and output to its dims, `parity` every output to its error."""

    file: str
    sha256: str
    onnx_sha256: str
    weights_sha256: str
    precision: str
    inputs: Mapping[str, list[int | str]]
    outputs: Mapping[str, list[int | str]]
    parity: Mapping[str, Mapping[str, float]]
    source: str  # hash of all that decided this file; export rebuilds when it changes
    meta: Mapping[str, Any] = field(default_factory=dict)  # numbers the runtime needs that no shape shows
    gpu: str | None = None
    tensorrt: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The whole file. `tools` maps a package to the version that exported."""

    preset: str
    tools: Mapping[str, str]
    engines: Mapping[str, Entry]
    schema: int = SCHEMA

    def get_preset(self) -> Preset:
        if self.preset not in PRESETS:
            raise EngineError(f"{MANIFEST} names preset {self.preset!r}; this samotion knows {', '.join(PRESETS)}")
        return PRESETS[self.preset]


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path` and rename, so that a reader sees the old file or the new one, never half."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write(folder: Path, manifest: Manifest) -> None:
    write_atomically(folder / MANIFEST, (json.dumps(asdict(manifest), indent=2) + "\n").encode())


def read(folder: str | os.PathLike[str]) -> Manifest:
    """Read and check a folder's manifest. Raises EngineError naming the folder and the command that makes one."""
    path = Path(folder) / MANIFEST
    advice = f"make one with: samotion-export all --preset nano --out {str(folder)!r}"
    if not Path(folder).is_dir():
        raise EngineError(f"no engine folder at {str(folder)!r}; {advice}")
    if not path.is_file():
        raise EngineError(f"no {MANIFEST} in {str(folder)!r}; {advice}")
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise EngineError(f"{path}: schema {data['schema']}, expected {SCHEMA}; export again with this samotion")
        entries = {name: Entry(**entry) for name, entry in data["engines"].items()}
        manifest = Manifest(data["preset"], data["tools"], entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} is damaged ({type(error).__name__}: {error}); {advice}") from error
    if unknown := [name for name in entries if name not in SIGNATURES]:
        raise EngineError(f"{path} names unknown engines {', '.join(unknown)}; {advice}")
    return manifest


def checked_file(folder: str | os.PathLike[str], name: str, entry: Entry) -> Path:
    """The path of an engine's file, once it is known to lie inside `folder` and to hash as recorded."""
    root = Path(folder).resolve()
    path = (root / entry.file).resolve()
    again = f"export again: samotion-export {SIGNATURES[name].net} --out {str(folder)!r}"
    if path.parent != root:
        raise EngineError(f"engine {name!r}: the manifest's path {entry.file!r} leaves the engine folder; {again}")
    if not path.is_file():
        raise EngineError(f"engine {name!r}: {entry.file} is missing from {str(folder)!r}; {again}")
    if (got := sha256_of(path)) != entry.sha256:
        raise EngineError(
            f"engine {name!r}: {entry.file} was changed since its export"
            f" (sha256 {got[:12]}, expected {entry.sha256[:12]}); {again}"
        )
    return path
