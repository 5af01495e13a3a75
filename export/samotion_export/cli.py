"""samotion-export: from published or bundled weights to engines, compared with PyTorch."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from samotion import __version__, manifest
from samotion.backends.folder import DEFAULT, engine_folder
from samotion.commands import options
from samotion.commands.exits import run_command
from samotion.commands.options import Quiet, Verbose, Version
from samotion.contract import NETS
from samotion.errors import DeviceError, UsageError
from samotion.presets import PRESETS, REFINE_PX, SAM2_INSTALL, SAM2_SIZES

from samotion_export.report import Report
from samotion_export.spelling import GRAPHS_ONLY

TRITON = "triton"  # no net: all of them, for a server
PRECISIONS = ("fp32", "fp16")
PACKAGES = ("torch", "onnx", "onnxruntime", "safetensors")
CHOICES = ("all", *NETS, TRITON)
TARGETS = ("auto", *GRAPHS_ONLY, "tensorrt", "rtx")


def parse_nets(names: list[str] | None) -> tuple[str, ...]:
    """Nets in contract order, `all` standing for every one."""
    chosen = set(names or ())
    if unknown := chosen - {"all", *NETS}:
        raise UsageError(f"{', '.join(sorted(unknown))} is not one of {', '.join(CHOICES)}")
    return NETS if "all" in chosen else tuple(net for net in NETS if net in chosen)


def parse_checkpoints(pairs: list[str] | None) -> dict[str, Path]:
    """NET=FILE options as a table."""
    table: dict[str, Path] = {}
    for pair in pairs or ():
        net, equals, file = pair.partition("=")
        if net not in NETS or not equals or not file:
            raise UsageError(f"{pair!r} is not NET=FILE with NET one of {', '.join(NETS)}")
        if net in table:
            raise UsageError(f"{net} has two checkpoints")
        table[net] = Path(file).expanduser()
    return table


def export(
    nets: Annotated[
        list[str] | None,
        typer.Argument(metavar="|".join(CHOICES), help="What to export.", show_default=False),
    ] = None,
    preset: Annotated[str, options.choice(tuple(PRESETS), help="Which five nets.")] = "nano",
    sam2: Annotated[
        str | None,
        options.choice(
            tuple(SAM2_SIZES), help="Another SAM 2 than the preset's.", show_default="the preset's"
        ),
    ] = None,
    refine_px: Annotated[
        int | None,
        options.choice(REFINE_PX, help="Frames for finer tracks.", show_default="the preset's"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another number than the preset's, as tracks.mixer_width=128; repeatable.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NET=FILE",
            help="Use this official file for a net; repeatable.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="Where the engines go, or triton's models.",
            show_default="engines, or models",
        ),
    ] = None,
    engine_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="With triton: the engines to serve.", show_default=DEFAULT
        ),
    ] = None,
    precision: Annotated[str, options.choice(PRECISIONS, help="Numbers in the graphs.")] = "fp32",
    target: Annotated[
        str,
        options.choice(
            TARGETS,
            help="Kind of engine; auto is onnx, onnx-gpu is what GPU engines are built from,"
            " rtx needs no GPU to build.",
        ),
    ] = "auto",
    verify: Annotated[bool, typer.Option(help="Compare every graph with PyTorch.")] = True,
    verify_clip: Annotated[
        Path | None,
        typer.Option(
            metavar="CLIP",
            exists=True,
            help="Compare this clip's masks: with fp16 float32's, on a GPU the graphs'.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never download; use what the cache holds.")
    ] = False,
    accept_hash: Annotated[
        bool, typer.Option("--accept-hash", help="Take a published file even if its hash differs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again what is up to date.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show every weight file: licence, origin, cached or not.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Turn weights into engines for samotion-run, and compare each graph with its PyTorch source.

    Prints the files it wrote. Skips what is already built from the same weights, preset and
    options.
    """

    def work() -> None:
        if list_:
            return _list()
        if TRITON in (nets or ()):
            build = (preset, sam2, refine_px, set_, checkpoint, precision, target, verify_clip)
            if build != ("nano", None, None, None, None, "fp32", "auto", None):
                raise UsageError(
                    "triton serves engines as they are; expected --engine-dir, --out and no option"
                    " that builds engines"
                )
            return _triton(nets or [], engine_dir, out, quiet)
        if engine_dir is not None:
            raise UsageError("--engine-dir goes with triton only; engines are written to --out")
        chosen, files = parse_nets(nets), parse_checkpoints(checkpoint)
        if not chosen:
            raise UsageError(f"name what to export: {', '.join(CHOICES)}")
        if unused := [net for net in files if net not in chosen]:
            raise UsageError(
                f"--checkpoint {unused[0]}=... is given, but {unused[0]} is not exported"
            )
        on_cpu = target in ("auto", *GRAPHS_ONLY)
        if verify_clip and not (verify and (precision == "fp16" or not on_cpu)):
            raise UsageError(
                "--verify-clip has nothing to compare here; it goes with --precision fp16 or"
                " --target tensorrt or rtx, and not with --no-verify"
            )
        report, folder = Report(1 if verbose else -1 if quiet else 0), out or Path("engines")
        _require_packages(chosen)
        report.note(
            f"samotion {__version__}: exporting {', '.join(chosen)} of preset {preset} to"
            f" {str(folder)!r}"
        )
        from samotion_export.export import export
        from samotion_export.overrides import parse_overrides
        from samotion_export.request import Request  # torch and onnx take seconds: not for --help

        kind = "onnx" if target == "auto" else target
        request = Request(
            chosen,
            preset,
            folder,
            sam2,
            files,
            precision,
            verify,
            offline,
            force,
            kind,
            verify_clip,
            refine_px,
            accept_hash,
            parse_overrides(set_),
        )
        for path in export(request, report):
            report.result(path)
        report.note(f"next: {next_command(folder)}")

    run_command(work, verbose)


def next_command(out: Path) -> str:
    """What to type after an export: what is missing in the folder, or a run with it."""
    held = manifest.read(out)
    preset = held.get_preset()
    if missing := held.missing_nets():
        return held.command(" ".join(missing), out)
    folder = shlex.quote(str(out))
    if preset.tracks.causal:
        return f"samotion-live --engine-dir {folder} clip.mp4"
    return f"samotion-run --engine-dir {folder} clip.mp4"


def _require_packages(nets: tuple[str, ...]) -> None:
    """Raise DeviceError, before any work, where a package is missing that these nets need."""
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    lines = ["pip install 'samotion[export]'"] if lacking else []
    if "sam2" in nets and find_spec("sam2") is None:
        lacking.append("sam2")
        lines.append(SAM2_INSTALL)
    if lacking:
        raise DeviceError(
            f"exporting needs {', '.join(lacking)}; install with: {' && '.join(lines)}"
        )


def _triton(nets: list[str], engine_dir: str | None, out: Path | None, quiet: bool) -> None:
    """Write a model repository; needs neither PyTorch nor a server."""
    if nets != [TRITON]:
        raise UsageError(f"triton stands alone; got {' '.join(nets)}")
    from samotion_export.bundle.triton import write_repository

    report = Report(-1 if quiet else 0)
    report.note(f"samotion {__version__}: a model repository of {options.engines_at(engine_dir)}")
    for path in write_repository(engine_folder(engine_dir), out or Path("models"), report):
        report.result(path)


def _list() -> None:
    from samotion_export.checkpoints.listing import table

    print(table())


app = options.command_line(export)


def main() -> None:
    """The command."""
    options.start(app, "samotion-export")


if __name__ == "__main__":
    main()
