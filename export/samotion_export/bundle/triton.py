"""An engine folder as a model repository of NVIDIA's Triton Inference Server.

One model, `samotion`, takes a clip's frames and gives masks: Triton's Python backend over
samotion's runtime, with the engines lying beside it. Each engine is a model of its own as well, for
programs that chain them by themselves.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from samotion import manifest
from samotion.contract import SIGNATURES, Tensor
from samotion.errors import EngineError, OutputError
from samotion.manifest import Entry, Manifest

from samotion_export import staging_in
from samotion_export.bundle import triton_model
from samotion_export.report import Report

CHAIN = "samotion"
CONFIG, VERSION = "config.pbtxt", "1"
MARK = "# Written by samotion-export triton.\n"
TYPES = {"float32": "TYPE_FP32", "int32": "TYPE_INT32", "int64": "TYPE_INT64"} | {
    "uint8": "TYPE_UINT8",
    "bytes": "TYPE_STRING",
}
# what a server needs to run a folder, by its TensorRT; without cuda-python, which these bring,
# every instance is on the first GPU
PACKAGES = {"tensorrt": "'samotion[trt]'", "rtx": "'samotion[rtx]'"}
FOR_GRAPHS = "'samotion[gpu]' cuda-python"
# M objects seen in T frames of HxW px; `triton_model` answers so
CHAIN_INPUTS = (Tensor("FRAMES", "uint8", ("T", "H", "W", 3)),)
CHAIN_OUTPUTS = (
    Tensor("IDS", "int32", ("M",)),
    Tensor("CONFIDENCES", "float32", ("M",)),
    Tensor("RLES", "bytes", ("M", "T")),
)


def write_repository(engines: Path, out: Path, report: Report) -> list[Path]:
    """Write the repository of an engine folder; the folders of its models.

    Models of an earlier call are replaced; those of other engines stay, and are named. Raises
    EngineError for engines that are missing or damaged, OutputError where something else lies in a
    model's place, or the disk is full.
    """
    held = manifest.read(engines)
    if not held.engines:
        raise EngineError(f"{str(engines)!r} holds no engines; {held.command('all', engines)}")
    if missing := held.missing_nets():
        rest = held.command(" ".join(missing), engines)
        raise EngineError(f"{str(engines)!r} lacks {', '.join(missing)}; {rest}")
    for name in held.engines:
        manifest.checked_file(engines, name, held)
    with _told(out):
        out.mkdir(parents=True, exist_ok=True)
        with staging_in(out) as staging:
            return _write(staging, engines, held, out, report)


def _write(staging: Path, engines: Path, held: Manifest, out: Path, report: Report) -> list[Path]:
    """Write all models aside, then put them in place."""
    models = [CHAIN, *map(model_name, held.engines)]
    for name in models:
        _check_place(out / name)
    _write_chain(staging / CHAIN, engines, held)
    for name, entry in held.engines.items():
        _write_engine(staging / model_name(name), name, entry, engines)
    written = [_put(model, out / model.name) for model in sorted(staging.iterdir())]
    for name in sorted({model_name(engine) for engine in SIGNATURES} - {*models}):
        if _is_marked(out / name):
            report.note(
                f"{name}: is not of these engines; remove {str(out / name)!r}, or it is served"
            )
    packages = PACKAGES.get(held.tensorrt_target() or "", FOR_GRAPHS)
    report.note(
        f"{len(written)} models; next: pip install {packages} where tritonserver runs, and"
        f" tritonserver --model-repository={shlex.quote(str(out.resolve()))}"
    )
    return written


def model_name(engine: str) -> str:
    """What an engine's model is called."""
    return f"{CHAIN}_{engine}"


def chain_config(device: str) -> str:
    """config.pbtxt of the model that takes clips."""
    return _config(
        CHAIN,
        'backend: "python"',
        _tensors("input", CHAIN_INPUTS),
        _tensors("output", CHAIN_OUTPUTS),
        "instance_group [ { kind: KIND_AUTO, count: 1 } ]",
        _parameters({"device": device, "max_objects": "10", "max_tracks": "", "seed": "0"}),
    )


def engine_config(name: str, entry: Entry) -> str:
    """config.pbtxt of one engine. TensorRT for RTX has no backend there: its ONNX graph serves."""
    signature = SIGNATURES[name]
    plan = _is_plan(entry)
    return _config(
        model_name(name),
        f'backend: "{"tensorrt" if plan else "onnxruntime"}"',
        f'default_model_filename: "{_model_file(entry)}"',
        _tensors("input", signature.inputs, entry.inputs),
        _tensors("output", signature.outputs, entry.outputs),
        "instance_group [ { kind: KIND_GPU, count: 1 } ]" if plan else "",
    )


def _config(name: str, *parts: str) -> str:
    # engines have their batch among their dims, where there is one: Triton adds none
    lines = [f'name: "{name}"', "max_batch_size: 0", *(part for part in parts if part)]
    return MARK + "\n".join(lines) + "\n"


def _tensors(
    kind: str,
    tensors: tuple[Tensor, ...],
    dims: Mapping[str, list[int | str]] | None = None,
) -> str:
    """Inputs or outputs as the configuration has them; a letter is any size."""
    rows = []
    for tensor in tensors:
        sizes = tensor.dims if dims is None else dims[tensor.name]
        numbers = ", ".join(str(size if isinstance(size, int) else -1) for size in sizes)
        row = f'name: "{tensor.name}", data_type: {TYPES[tensor.dtype]}, dims: [ {numbers} ]'
        rows.append(f"  {{ {row} }}")
    return f"{kind} [\n" + ",\n".join(rows) + "\n]"


def _parameters(values: Mapping[str, str]) -> str:
    return "\n".join(
        f'parameters {{ key: "{key}", value: {{ string_value: "{value}" }} }}'
        for key, value in values.items()
    )


def _is_plan(entry: Entry) -> bool:
    return entry.tensorrt is not None and not entry.rtx


def _model_file(entry: Entry) -> str:
    return "model.plan" if _is_plan(entry) else "model.onnx"


def _write_chain(model: Path, engines: Path, held: Manifest) -> None:
    folder = model / VERSION / triton_model.ENGINES
    folder.mkdir(parents=True)
    (model / CONFIG).write_text(chain_config("tensorrt" if held.tensorrt_target() else "auto"))
    shutil.copyfile(triton_model.__file__, model / VERSION / "model.py")
    files = {entry.file for entry in held.engines.values()}
    files |= {file for entry in held.engines.values() for file in entry.data}
    for file in sorted(files | {manifest.MANIFEST}):
        shutil.copyfile(engines / file, folder / file)


def _write_engine(model: Path, name: str, entry: Entry, engines: Path) -> None:
    version = model / VERSION
    version.mkdir(parents=True)
    (model / CONFIG).write_text(engine_config(name, entry))
    source = entry.file if _is_plan(entry) else f"{name}.onnx"
    for file, to in ((source, _model_file(entry)), *((data, data) for data in entry.data)):
        if not (engines / file).is_file():
            raise EngineError(f"{str(engines / file)!r} is missing; export again")
        shutil.copyfile(engines / file, version / to)


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """Name the folder, and not the file that was being copied to it."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write to {str(out)!r}: {error.strerror}; choose another --out"
        ) from error


def _check_place(model: Path) -> None:
    """Raise OutputError where something lies that an earlier call did not write."""
    if not os.path.lexists(model):
        return
    ours = _is_marked(model)
    foreign = sorted({path.name for path in model.iterdir()} - {CONFIG, VERSION}) if ours else []
    if not ours or foreign:
        what = repr(str(model / foreign[0]) if foreign else str(model))
        raise OutputError(f"{what} was not written by samotion-export; choose another --out")


def _is_marked(model: Path) -> bool:
    """Whether an earlier call wrote this folder."""
    config = model / CONFIG
    is_file = not model.is_symlink() and config.is_file()
    return is_file and config.read_bytes().startswith(MARK.encode())


def _put(model: Path, place: Path) -> Path:
    """A model takes its place, and what an earlier call put there goes."""
    if place.exists():
        shutil.rmtree(place)
    os.replace(model, place)
    return place
