"""From what a net's engines are built: its weights, and the hash of all that decides them."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import samotion
from samotion import contract
from samotion.errors import EngineError
from samotion.presets import PRESETS

from samotion_export import half_precision
from samotion_export.checkpoints import download
from samotion_export.checkpoints.foreign import hash_of
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.spelling import Spelling, spelling_of

_TOOLS = ("torch", "onnx", "onnxruntime", "sam2", "numpy")


@dataclass(frozen=True)
class Source:
    """One net's checkpoint, and the hash of all that decides what is built from it."""

    net: str
    config: Any
    path: Path
    weights_sha256: str
    key: str


def find_source(net: str, config: Any, request: Request, report: Report) -> Source:
    """The checkpoint of one net, the user's or the published one, with its hash."""
    if net in request.checkpoints:
        path = request.checkpoints[net]
        weights_sha256 = hash_of(path)
        published = config.weights.sha256
        if published not in (None, weights_sha256):
            _refuse_twin(net, config, path, weights_sha256)
            report.detail(
                f"{net}: {path.name} is not the published {config.weights.file} (another sha256)"
            )
    else:
        path, weights_sha256 = download.fetch(
            net,
            config.weights,
            offline=request.offline,
            report=report,
            accept_hash=request.accept_hash,
        )
    precision = half_precision.precision_of(net, request.precision)
    spelling = spelling_of(net, request.target)
    key = _key(net, config, weights_sha256, precision, spelling)
    return Source(net, config, path, weights_sha256, key)


def _refuse_twin(net: str, config: Any, path: Path, sha256: str) -> None:
    """The causal tracker's tensors have the names and shapes of the other's; in its place they
    give wrong tracks.
    """
    for preset in PRESETS.values():
        other = getattr(preset, net)
        if net == "tracks" and other.weights.sha256 == sha256:
            raise EngineError(
                f"{str(path)!r} is {other.weights.file}, the tracker of preset {preset.name!r};"
                f" expected"
                f" {config.weights.file}: leave --checkpoint out, or use --preset {preset.name}"
            )


def _key(net: str, config: Any, weights_sha256: str, precision: str, spelling: Spelling) -> str:
    numbers = {k: v for k, v in asdict(config).items() if k != "weights"}
    versions = {
        tool: version
        for tool, version in tools().items()
        if tool in ("samotion", "torch", "onnx", "sam2")
    }
    facts = [
        net,
        weights_sha256,
        type(config).__name__,
        numbers,
        precision,
        spelling.value,
        versions,
        code_hash(net, precision),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def code_hash(net: str, precision: str) -> str:
    """Hash of the source that makes a net's graphs: its module, what that imports here, the
    tracer, the contract.
    """
    names, todo = set[str](), {net, "graph", *(["half_precision"] if precision == "fp16" else [])}
    while todo:
        name = todo.pop()
        names.add(name)
        todo |= _local_imports(_source_file(name)) - names
    files = [*(_source_file(name) for name in sorted(names)), Path(contract.__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _source_file(name: str) -> Path:
    """The file of a module of this package, `graph` or `tracks.layers`; a package's is its
    `__init__.py`.
    """
    path = Path(__file__).parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _local_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, wherever in it, and the packages that hold
    them.
    """
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        package, *inner = node.module.split(".")
        if package != "samotion_export":
            continue
        for alias in node.names:
            parts = [*inner, alias.name]
            found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return {name for name in found if _source_file(name).is_file()}


def tools() -> dict[str, str]:
    """Versions of what an export depends on, by name."""
    versions = {"samotion": samotion.__version__}
    for tool in _TOOLS:
        try:
            versions[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
