"""samotion-check: what is installed, which backends really work, and what to do next."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samotion import __version__
from samotion.backends.folder import DEFAULT, engine_folder
from samotion.commands import exits, options
from samotion.commands.options import Quiet, Verbose, Version
from samotion.commands.streams import note
from samotion.errors import DeviceError, EngineError, InputError, ParityError, first_line
from samotion.manifest import typed
from samotion.presets import SAM2_INSTALL
from samotion.results.record import versions_of

if TYPE_CHECKING:  # both need NumPy, which may be what cannot be loaded
    from samotion.commands.backend_trials import Backend
    from samotion.commands.engine_trials import Trials

PACKAGES = (
    "numpy",
    "av",
    "opencv-python-headless",
    "opencv-python",
    "pycocotools",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-python",
    "torch",
    "onnx",
    "sam2",
)
LOW_DISK_BYTES = 2 << 30
NO_CUDA_13 = sys.version_info < (3, 11)  # onnxruntime-gpu for CUDA 13 has no Python 3.10
JETSON = Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Report:
    """All that the command finds. `engines`: name of each engine and its problem (None: it
    answers). `proof`: how TensorRT engines answer beside their graphs, `is_wrong`: otherwise;
    `untried`: why they could not be tried here.
    """

    samotion: str
    python: str
    system: str
    packages: dict[str, str]
    backends: list[Backend]
    gpus: list[str]
    disk_free_bytes: int
    video: str | None
    engine_dir: str | None
    preset: str | None
    engines: dict[str, str | None]
    advice: list[str]
    proof: str | None = None
    is_wrong: bool = False
    untried: str | None = None


def check(
    engine_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Run every engine of this folder once.", show_default=DEFAULT
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Tell what is installed, which backends really work, and what to do next."""

    def work() -> int:
        if not quiet:
            note(f"samotion {__version__}: trying what is installed")
        require_numpy()
        report = examine(engine_dir)
        print(json.dumps(asdict(report), indent=2) if as_json else to_text(report))
        if not any(backend.problem is None for backend in report.backends):
            return DeviceError.exit_code
        if report.video:
            return InputError.exit_code
        if report.untried:
            return DeviceError.exit_code
        if report.is_wrong:
            return ParityError.exit_code
        broken = [problem for problem in report.engines.values() if problem]
        return EngineError.exit_code if broken else 0

    exits.run_command(work, verbose)


def require_numpy() -> None:
    """Raises DeviceError where NumPy cannot be loaded, without which nothing can be tried."""
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        new = "pip install --upgrade --force-reinstall samotion numpy"
        raise DeviceError(f"NumPy cannot be loaded ({error}); {new}") from error


def examine(engine_dir: str | None = None) -> Report:
    """Try everything. `engine_dir` None: the folder that samotion-run would take.

    Raises EngineError for what is no engine folder.
    """
    from samotion.backends.ort import PROVIDERS
    from samotion.commands.backend_trials import TENSORRTS, try_onnxruntime, try_tensorrt
    from samotion.commands.engine_trials import Trials, run_each

    backends = [*(try_onnxruntime(device) for device in PROVIDERS), *map(try_tensorrt, TENSORRTS)]
    folder = str(engine_folder(engine_dir))
    works = any(backend.problem is None for backend in backends)
    trials = run_each(folder) if works or engine_dir else Trials()
    report = Report(
        samotion=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=versions_of(PACKAGES),
        backends=backends,
        gpus=find_gpus(),
        disk_free_bytes=shutil.disk_usage(".").free,
        video=try_video(),
        engine_dir=folder,
        preset=trials.preset,
        engines=dict(trials.problems),
        advice=[],
        proof=trials.proof,
        is_wrong=trials.is_wrong,
        untried=trials.untried,
    )
    advice = [*advise_on_packages(report.video), *advise(report, trials, engine_dir)]
    return replace(report, advice=advice)


def try_video() -> str | None:
    """Write a clip of two grey frames and read it back; why that fails (None: it works)."""
    try:
        import av
        import numpy as np

        from samotion.clips.video import read_clip

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "clip.mp4")
            with av.open(str(path), "w") as container:
                stream = container.add_stream("mpeg4", rate=10)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for level in (64, 128):
                    picture = np.full((48, 64, 3), level, np.uint8)
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            levels = np.mean(read_clip(path).frames, axis=(1, 2, 3))
    except Exception as error:  # PyAV has kinds of its own; a broken package: ImportError
        return first_line(error)
    right = levels.shape == (2,) and bool(np.all(np.abs(levels - (64, 128)) < 8))
    return None if right else f"frames of brightness 64 and 128 are read as {levels.tolist()}"


def find_gpus() -> list[str]:
    """NVIDIA GPUs as the driver names them: name, memory, driver."""
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def cuda_of(gpus: list[str]) -> str:
    """What the extras' names end in for the CUDA that driver and Python have: none for 13."""
    from samotion.backends.cuda import DRIVERS

    found = (re.search(r", (\d+\.\d+)[\d.]*$", gpu) for gpu in gpus)
    drivers = [float(match[1]) for match in found if match]
    is_old = drivers and min(drivers) < float(DRIVERS[13])
    return "-cu12" if is_old or NO_CUDA_13 else ""


def advise_on_packages(video: str | None) -> list[str]:
    """What to install so that videos are read, and so that exporting works where it was begun."""
    advice = []
    if video:
        advice.append("videos cannot be read: pip install --upgrade --force-reinstall samotion av")
    if find_spec("torch") is not None and find_spec("sam2") is None:
        advice.append(f"to export SAM 2: {SAM2_INSTALL}")
    return advice


def advise(report: Report, trials: Trials, engine_dir: str | None) -> list[str]:
    """What to do next, most urgent first. `engine_dir`: as it was asked for."""
    from samotion.commands.backend_trials import TENSORRTS

    works = {backend.name for backend in report.backends if backend.problem is None}
    advice = []
    if not works:
        advice.append("no backend works: pip install 'samotion[cpu]'")
    cuda = cuda_of(report.gpus)
    if report.gpus and "onnxruntime cuda" not in works:
        new = f"pip install 'samotion[gpu{cuda}]'"
        advice.append(f"to use the GPU: pip uninstall onnxruntime; {new}")
    if report.gpus and not works & TENSORRTS.keys():
        advice.append(
            f"for the fastest engines: pip install 'samotion[trt{cuda}]', or 'samotion[rtx{cuda}]'"
            " for an RTX 30, 40 or 50"
        )
    if JETSON.exists() and "tensorrt" not in works:
        advice.append(
            "on a Jetson take JetPack's own TensorRT (JetPack 6: 8.6.2, for Python 3.10):"
            " pip install 'cuda-python>=12.6,<13' polygraphy"
        )
    if report.disk_free_bytes < LOW_DISK_BYTES:
        free = f"{report.disk_free_bytes / 2**30:.1f} GiB"
        advice.append(f"only {free} are free here: choose another folder with -o")
    advice += _advise_on_engines(trials)
    if not advice and not report.video:
        named = f"--engine-dir {typed(engine_dir)} " if engine_dir else ""
        advice.append(f"all is well: samotion-run {named}clip.mp4")
    return advice


def _advise_on_engines(trials: Trials) -> list[str]:
    advice = []
    if trials.untried:
        advice.append(f"these engines need a GPU; for this machine: {trials.rebuild}")
    if any(trials.problems.values()):
        anew = f"build the engines again: {trials.rebuild}"
        otherwise = "install samotion again, or name another folder with --engine-dir"
        advice.append(anew if trials.rebuild else otherwise)
    if trials.own:
        files = " ".join(f"--checkpoint {net}=FILE" for net in trials.own)
        advice.append(f"to keep weights that are not samotion's, add {files}")
    if trials.rest:
        advice.append(f"engines are missing, which samotion-run needs: {trials.rest}")
    return advice


def to_text(report: Report) -> str:
    """The report for a reader."""
    lines = [f"samotion {report.samotion}, Python {report.python}, {report.system}"]
    lines += ["", *(f"{name:24} {version}" for name, version in report.packages.items()), ""]
    lines += [f"{backend.name:24} {backend.problem or 'works'}" for backend in report.backends]
    lines += [f"{'video':24} {report.video or 'works'}"]
    lines += [f"{'GPU':24} {gpu}" for gpu in report.gpus or ["none found"]]
    lines += [f"{'disk':24} {report.disk_free_bytes / 2**30:.1f} GiB free here"]
    if report.preset is not None:
        lines += ["", f"{report.engine_dir!r} holds preset {report.preset}"]
        lines += [f"{name:24} {problem or 'works'}" for name, problem in report.engines.items()]
    if report.untried:
        lines += [f"{'engines':24} not tried: {report.untried}"]
    if report.proof is not None:
        lines += [f"{'proof':24} {report.proof}"]
    return "\n".join([*lines, "", *(f"next: {advice}" for advice in report.advice)])


app = options.command_line(check)


def main() -> None:
    """The command."""
    options.start(app, "samotion-check")
