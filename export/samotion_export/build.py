"""From weights to an engine folder: export, compare, and only then put in place, one net at a time."""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
import samotion
from samotion import contract, manifest
from samotion.errors import EngineError, OutputError, UsageError
from samotion.manifest import Entry, Manifest, sha256_of
from samotion.presets import PRESETS, Preset

from samotion_export import half_precision as half
from samotion_export.checkpoints import download, weights
from samotion_export.graph import Graph, export_onnx, run_module, shapes_of
from samotion_export.parity import clip as half_clip
from samotion_export.parity import half as half_parity
from samotion_export.parity import verify
from samotion_export.report import Report
from samotion_export.trt import build as trt_build

STAGING = ".samotion-export-"
_TOOLS = ("torch", "onnx", "onnxruntime", "sam2", "numpy")


@dataclass(frozen=True)
class Request:
    """What to export and how.

    `sam2`, `refine_px`: another choice than the preset's; `checkpoints`: files given by the user.
    """

    nets: tuple[str, ...]
    preset: str
    out: Path
    sam2: str | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    precision: str = "fp32"
    verify: bool = True
    offline: bool = False
    force: bool = False
    target: str = "onnx"
    verify_clip: Path | None = None
    refine_px: int | None = None

    def chosen(self) -> Preset:
        return manifest.choose_preset(self.preset, self.sam2, self.refine_px)


@dataclass(frozen=True)
class Source:
    """One net's checkpoint, and the hash of all that decides what is built from it."""

    net: str
    config: Any
    path: Path
    weights_sha256: str
    key: str


def export(request: Request, report: Report) -> list[Path]:
    """Build what is not current in `request.out`. Returns the files written, the manifest last."""
    preset = request.chosen()
    device = trt_build.find_target() if request.target == "tensorrt" else None
    with locked(request.out):
        old = _read_old(request.out, report)
        held = _kept(old, request)
        written: list[Path] = []
        graphs = sum(len(_names(preset, net)) for net in request.nets)
        report.plan(2 * graphs if device else graphs, "graphs and engines" if device else "graphs")
        for net in request.nets:
            source = find_source(net, getattr(preset, net), request, report)
            current = not request.force and _is_current(request, held, source)
            if not current:
                entries, paths = _build(source, request, report)
                held = replace(held, tools=_tools(), engines=_in_order({**held.engines, **entries}), masks={})
                manifest.write(request.out, held)
                written += paths
            elif device:
                report.passed(None, len(_names(preset, net)))
            if device:
                entries, paths = _build_for(device, net, held, request, report)
                held = replace(held, engines=_in_order({**held.engines, **entries}))
                if paths:
                    manifest.write(request.out, held)
                    written += paths
                if current and not paths:
                    report.note(f"{net}: up to date")
            elif current:
                report.passed(f"{net}: up to date", len(_names(preset, net)))
        if old is not None and _title(old) != _title(held) and not written:
            manifest.write(request.out, held)  # all that lies there belongs to the new preset too
            report.note(f"{manifest.MANIFEST}: now {_title(held)}")
        if (clip := half_clip.clip_for(request)) and half_clip.is_wanted(clip, request, held):
            held = half_clip.with_masks(clip, request, held, report, lambda plain: export(plain, Report(-1)))
            written.append(request.out / manifest.MANIFEST)
            half_clip.judge(held.masks)
        elif written:
            written.append(request.out / manifest.MANIFEST)
        return written


def _names(preset: Preset, net: str) -> tuple[str, ...]:
    """The graphs of one net of a preset."""
    return tuple(contract.engines_of(net, getattr(preset, net)))


def find_source(net: str, config: Any, request: Request, report: Report) -> Source:
    """The checkpoint of one net, the user's or the published one, with its hash."""
    if net in request.checkpoints:
        path = request.checkpoints[net]
        if not path.is_file():
            raise EngineError(f"checkpoint {str(path)!r} does not exist; --checkpoint takes {net}=FILE")
        weights_sha256 = sha256_of(path)
        published = config.weights.sha256
        if published not in (None, weights_sha256):
            _refuse_twin(net, config, path, weights_sha256)
            report.detail(f"{net}: {path.name} is not the published {config.weights.file} (another sha256)")
    else:
        path, weights_sha256 = download.fetch(net, config.weights, offline=request.offline, report=report)
    return Source(
        net, config, path, weights_sha256, _key(net, config, weights_sha256, half.precision_of(net, request.precision))
    )


def _refuse_twin(net: str, config: Any, path: Path, sha256: str) -> None:
    """The causal tracker's tensors have the names and shapes of the other's; in its place they give wrong tracks."""
    for preset in PRESETS.values():
        other = getattr(preset, net)
        if net == "tracks" and other.weights.sha256 == sha256:
            raise EngineError(
                f"{str(path)!r} is {other.weights.file}, the tracker of preset {preset.name!r}; expected"
                f" {config.weights.file}: leave --checkpoint out, or use --preset {preset.name}"
            )


def _key(net: str, config: Any, weights_sha256: str, precision: str) -> str:
    numbers = {k: v for k, v in asdict(config).items() if k != "weights"}
    versions = {tool: version for tool, version in _tools().items() if tool in ("samotion", "torch", "onnx", "sam2")}
    facts = [net, weights_sha256, type(config).__name__, numbers, precision, versions, _code_hash(net, precision)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code_hash(net: str, precision: str) -> str:
    """Hash of the source that makes a net's graphs: its module, what that imports here, the tracer, the contract."""
    names, todo = set[str](), {net, "graph", *(["half_precision"] if precision == "fp16" else [])}
    while todo:
        name = todo.pop()
        names.add(name)
        todo |= _local_imports(_source_file(name)) - names
    files = [*(_source_file(name) for name in sorted(names)), Path(contract.__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _source_file(name: str) -> Path:
    """The file of a module of this package, `graph` or `tracks.layers`; a package's is its `__init__.py`."""
    path = Path(__file__).parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _local_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, wherever in it, and the packages that hold them."""
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


def _is_current(request: Request, held: Manifest, source: Source) -> bool:
    """Is every engine of the net there, whole, and built from the same things?"""
    for name in contract.engines_of(source.net, source.config):
        entry = held.engines.get(name)
        if entry is None or entry.source != source.key or (request.verify and not entry.parity):
            return False
        if request.target == "onnx" and entry.tensorrt:
            return False
        try:
            manifest.checked_file(request.out, name, held)
        except EngineError:
            return False
        graph = request.out / f"{name}.onnx"
        if entry.tensorrt and not (graph.is_file() and sha256_of(graph) == entry.onnx_sha256):
            return False
    return True


def _read_old(out: Path, report: Report) -> Manifest | None:
    """The manifest that lies in the folder, None where there is none or it cannot be used."""
    if not (out / manifest.MANIFEST).exists():
        return None
    try:
        old = manifest.read(out)
        old.get_preset()
    except EngineError as error:
        report.note(f"{error}; building anew")
        return None
    return old


def _kept(old: Manifest | None, request: Request) -> Manifest:
    """What of the old manifest may stay: the nets that its preset and the wanted one share.

    The others must be rebuilt in the same command, for a folder never mixes two presets.
    """
    new = Manifest(request.preset, _tools(), {}, request.sam2, refine_px=request.refine_px)
    if old is None:
        return new
    before, after = old.get_preset(), new.get_preset()
    shared = {net for net in contract.NETS if getattr(before, net) == getattr(after, net)}
    held = {contract.SIGNATURES[name].net for name in old.engines}
    if left := [net for net in contract.NETS if net in held - shared and net not in request.nets]:
        raise UsageError(
            f"{str(request.out)!r} holds {_title(old)}, whose {', '.join(left)} differ from those of {_title(new)};"
            " export all, or choose another --out"
        )
    kept = {n: e for n, e in old.engines.items() if contract.SIGNATURES[n].net in shared}
    return replace(new, engines=kept, masks=old.masks)


def _title(held: Manifest) -> str:
    changes = [held.sam2, held.refine_px and f"refine_px {held.refine_px}"]
    return " with ".join([f"preset {held.preset!r}", *(change for change in changes if change)])


def _build(source: Source, request: Request, report: Report) -> tuple[dict[str, Entry], list[Path]]:
    """Export and compare all graphs of one net in a staging folder, then move them into place together."""
    report.detail(f"{source.net}: weights {str(source.path)!r} (sha256 {source.weights_sha256})")
    with report.working(f"{source.net}: loading weights"):
        module = weights.build_module(source.net, source.config)
        module.load_state_dict(weights.load(source.net, source.config, source.path, module))
    staging = Path(tempfile.mkdtemp(dir=request.out, prefix=STAGING))
    try:
        graphs: list[Graph] = weights.net_module(source.net).graphs(source.config, module.eval())
        entries = {}
        while graphs:
            graph = graphs.pop(0)
            entries[graph.name] = _export_graph(graph, staging, source, request, report)
            del graph
            gc.collect()
        for entry in entries.values():
            os.replace(staging / entry.file, request.out / entry.file)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return entries, [request.out / entry.file for entry in entries.values()]


def _build_for(
    device: trt_build.Target, net: str, held: Manifest, request: Request, report: Report
) -> tuple[dict[str, Entry], list[Path]]:
    """Build what TensorRT engines of one net are not current, and move them into place together."""
    preset = request.chosen()
    names = _names(preset, net)
    todo = [name for name in names if not trt_build.is_current(held.engines[name], name, preset, device)]
    report.passed(None, len(names) - len(todo))
    staging = Path(tempfile.mkdtemp(dir=request.out, prefix=STAGING))
    try:
        folders = staging, request.out
        entries = {}
        for name in todo:
            graph = request.out / f"{name}.onnx"
            entries[name] = trt_build.build(name, held.engines[name], graph, preset, device, folders, report)
        for entry in entries.values():
            os.replace(staging / entry.file, request.out / entry.file)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return entries, [request.out / entry.file for entry in entries.values()]


def _export_graph(graph: Graph, staging: Path, source: Source, request: Request, report: Report) -> Entry:
    start = time.perf_counter()
    path = staging / f"{graph.name}.onnx"
    with report.working(f"{graph.name}: exporting"):
        examples = graph.examples if request.verify else graph.examples[:1]
        answers = [run_module(graph, example) for example in examples]
        inputs, outputs = shapes = shapes_of(graph, answers[0])
        export_onnx(graph, path, shapes)
    with report.working(f"{graph.name}: comparing with PyTorch"):
        parity = verify.compare(graph, path, answers) if request.verify else {}
    precision = half.precision_of(source.net, request.precision)
    if precision == "fp16":
        with report.working(f"{graph.name}: converting to half precision"):
            half.convert(path, graph.name)
            parity = half_parity.compare(graph, path, answers) if request.verify else {}
    os.chmod(path, 0o644)
    sha256 = sha256_of(path)
    report.made(_line(graph, path.stat().st_size, time.perf_counter() - start, parity))
    weights_sha256 = source.weights_sha256
    return Entry(
        path.name, sha256, sha256, weights_sha256, precision, inputs, outputs, parity, source.key, dict(graph.meta)
    )


def _line(graph: Graph, size: int, seconds: float, parity: verify.Parity) -> str:
    text = f"{graph.name}: exported, {size / 1e6:.1f} MB, {seconds:.1f} s"
    if not parity:
        return text + ", not compared"
    if any("tolerance" not in figures for figures in parity.values()):
        name, measure = half_parity.worst(parity)
        limit = parity[name][f"{measure}_limit"]
        return text + f", differs in {name} by {parity[name][measure]:.1g} {measure} (limit {limit:.1g})"
    kind = "relative" if graph.relative else "max_abs"
    name = max(parity, key=lambda output: parity[output][kind] / parity[output]["tolerance"])
    return text + f", differs by {parity[name][kind]:.1g} in {name} (tolerance {parity[name]['tolerance']:.1g})"


def _in_order(engines: Mapping[str, Entry]) -> dict[str, Entry]:
    return {name: engines[name] for name in contract.SIGNATURES if name in engines}


def _tools() -> dict[str, str]:
    versions = {"samotion": samotion.__version__}
    for tool in _TOOLS:
        try:
            versions[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the out folder (made where needed) against other exports, and clear what a killed one left there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / ".samotion-export.lock")
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise OutputError(f"another samotion-export is writing to {str(out)!r}; wait for it to end") from error
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"cannot write to {str(out)!r}: {error.strerror}; choose another --out") from error
    try:
        for stale in out.glob(f"{STAGING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()
