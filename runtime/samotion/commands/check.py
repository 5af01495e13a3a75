"""samotion-check: what is installed, which backends really work, and what to do next."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import typer

from samotion import __version__
from samotion.backends.engines import open_engines
from samotion.backends.folder import DEFAULT, engine_folder
from samotion.backends.ort import PROVIDERS, first_line
from samotion.commands import exits, options
from samotion.commands.options import Quiet, Verbose, Version
from samotion.errors import DeviceError, SamotionError

# An ONNX graph, y = x @ x of 2x2 float32 (opset 17): small enough to carry, large enough to need a working backend.
TINY_GRAPH = bytes.fromhex(
    "08083a400a110a01780a017812017922064d61744d756c1201675a130a0178120e0a0c080112080a0208020a0208"
    "0262130a0179120e0a0c080112080a0208020a02080242040a001011"
)
PACKAGES = (
    "numpy",
    "av",
    "opencv-python-headless",
    "pycocotools",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "torch",
    "onnx",
    "sam2",
)
LOW_DISK_BYTES = 2 << 30


@dataclass(frozen=True)
class Backend:
    """One way to run engines, tried: `problem` says why it does not work, None where it does."""

    name: str
    problem: str | None


@dataclass(frozen=True)
class Report:
    """All that the command finds. `engines`: name of each engine and its problem (None: opened)."""

    samotion: str
    python: str
    system: str
    packages: dict[str, str]
    backends: list[Backend]
    gpus: list[str]
    disk_free_bytes: int
    engine_dir: str | None
    preset: str | None
    engines: dict[str, str | None]
    advice: list[str]


def check(
    engine_dir: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Open every engine of this folder.", show_default=DEFAULT),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Tell what is installed, which backends really work, and what to do next."""

    def work() -> int:
        if not quiet:
            print(f"samotion {__version__}: trying what is installed", file=sys.stderr, flush=True)
        report = examine(engine_dir)
        print(json.dumps(asdict(report), indent=2) if as_json else to_text(report))
        if not any(backend.problem is None for backend in report.backends):
            return DeviceError.exit_code
        broken = [problem for problem in report.engines.values() if problem]
        return 4 if broken else 0

    exits.run_command(work, verbose)


def examine(engine_dir: str | None = None) -> Report:
    """Try everything. `engine_dir` None: the folder that samotion-run would take.

    Raises EngineError for what is no engine folder.
    """
    backends = [*(try_onnxruntime(device) for device in PROVIDERS), try_tensorrt()]
    folder = str(engine_folder(engine_dir))
    works = any(backend.problem is None for backend in backends)
    preset, engines = open_each(folder) if works or engine_dir else (None, {})
    gpus, free = find_gpus(), shutil.disk_usage(".").free
    return Report(
        samotion=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=installed(),
        backends=backends,
        gpus=gpus,
        disk_free_bytes=free,
        engine_dir=folder,
        preset=preset,
        engines=engines,
        advice=advise(backends, gpus, free, engine_dir, engines),
    )


def installed() -> dict[str, str]:
    """Versions of the packages that matter, where they are installed."""
    from importlib import metadata

    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def try_onnxruntime(device: str) -> Backend:
    """Run the tiny graph on one of onnxruntime's providers and look at the answer."""
    name = f"onnxruntime {device}"
    try:
        import onnxruntime
    except ImportError as error:
        return Backend(name, f"onnxruntime is not installed ({first_line(error)})")
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        return Backend(name, f"this onnxruntime was built without {provider}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    x = np.array([[1, 2], [3, 4]], np.float32)
    try:
        session: Any = onnxruntime.InferenceSession(TINY_GRAPH, options, providers=[provider])
        active = session.get_providers()
        y = session.run(["y"], {"x": x})[0]
    except Exception as error:  # onnxruntime raises a kind of its own for each stage
        return Backend(name, first_line(error))
    if provider not in active:
        return Backend(name, f"{provider} did not start: CUDA or cuDNN is missing or of another version")
    return Backend(name, None if np.array_equal(y, x @ x) else f"computes wrongly: {y.tolist()} for {(x @ x).tolist()}")


def try_tensorrt() -> Backend:
    """Load TensorRT and cuda-python, and send numbers to the GPU and back."""
    from samotion.backends import trt as trt_engine

    name = "tensorrt"
    try:
        backend = trt_engine.Backend()
    except DeviceError as error:
        return Backend(name, str(error))
    try:
        sent = np.arange(1 << 10, dtype=np.float32)
        memory = backend.device.take(sent.nbytes)
        backend.device.upload(sent, memory.address)
        same = np.array_equal(backend.device.download(memory.address, sent.shape, "float32"), sent)
        return Backend(name, None if same else f"{backend.gpu} returns other numbers than were sent to it")
    except DeviceError as error:
        return Backend(name, str(error))
    finally:
        backend.close()


def open_each(engine_dir: str) -> tuple[str, dict[str, str | None]]:
    """The preset of an engine folder, and for each engine of its manifest why it does not open (None: it does)."""
    problems: dict[str, str | None] = {}
    with open_engines(engine_dir) as engines:
        for name in engines.manifest.engines:
            try:
                engines[name]
                problems[name] = None
            except SamotionError as error:
                problems[name] = str(error)
        return engines.preset.name, problems


def find_gpus() -> list[str]:
    """NVIDIA GPUs as the driver names them: name, memory, driver."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def advise(
    backends: list[Backend], gpus: list[str], free: int, engine_dir: str | None, engines: dict[str, str | None]
) -> list[str]:
    """What to do next, most urgent first."""
    works = {backend.name for backend in backends if backend.problem is None}
    advice = []
    if not works:
        advice.append("no backend works: pip install 'samotion[cpu]'")
    if gpus and "onnxruntime cuda" not in works:
        advice.append("to use the GPU: pip uninstall onnxruntime; pip install 'samotion[gpu]'")
    if gpus and "tensorrt" not in works:
        advice.append("for the fastest engines: pip install 'samotion[trt]'")
    if free < LOW_DISK_BYTES:
        advice.append(f"only {free / 2**30:.1f} GiB are free here: choose another folder with -o")
    if any(engines.values()):
        anew = f"build the engines again: samotion-export all --out {engine_dir!r}"
        advice.append(anew if engine_dir else "install samotion again, or name another folder with --engine-dir")
    if works and not advice:
        named = f"--engine-dir {engine_dir!r} " if engine_dir else ""
        advice.append(f"all is well: samotion-run {named}clip.mp4")
    return advice


def to_text(report: Report) -> str:
    """The report for a reader."""
    lines = [f"samotion {report.samotion}, Python {report.python}, {report.system}"]
    lines += ["", *(f"{name:24} {version}" for name, version in report.packages.items()), ""]
    lines += [f"{backend.name:24} {backend.problem or 'works'}" for backend in report.backends]
    lines += [f"{'GPU':24} {gpu}" for gpu in report.gpus or ["none found"]]
    lines += [f"{'disk':24} {report.disk_free_bytes / 2**30:.1f} GiB free here"]
    if report.preset is not None:
        lines += ["", f"{report.engine_dir!r} holds preset {report.preset}"]
        lines += [f"{name:24} {problem or 'opens'}" for name, problem in report.engines.items()]
    return "\n".join([*lines, "", *(f"next: {advice}" for advice in report.advice)])


app = options.command_line(check)


def main() -> None:
    """The command."""
    options.start(app, "samotion-check")
