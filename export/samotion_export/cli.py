"""samotion-export: from published or bundled weights to engines, compared with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from samotion.commands.exits import run_command
from samotion.contract import NETS
from samotion.errors import DeviceError
from samotion.presets import PRESETS, REFINE_PX, SAM2_SIZES

from samotion_export.report import Report

PRECISIONS = ("fp32", "fp16")
TARGETS = ("auto", "onnx", "tensorrt")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main() -> None:
    app(prog_name="samotion-export")


def _one_of(choices: tuple[str, ...]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return check


def _refine_px(value: int | None) -> int | None:
    if value is not None and value not in REFINE_PX:
        raise typer.BadParameter(f"{value} is not one of {', '.join(map(str, REFINE_PX))}")
    return value


def parse_nets(names: list[str] | None) -> tuple[str, ...]:
    """Nets in contract order, `all` standing for every one."""
    chosen = set(names or ())
    if unknown := chosen - {"all", *NETS}:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is not one of all, {', '.join(NETS)}")
    return NETS if "all" in chosen else tuple(net for net in NETS if net in chosen)


def parse_checkpoints(pairs: list[str] | None) -> dict[str, Path]:
    """NET=FILE options as a table."""
    table: dict[str, Path] = {}
    for pair in pairs or ():
        net, equals, file = pair.partition("=")
        if net not in NETS or not equals or not file:
            raise typer.BadParameter(f"{pair!r} is not NET=FILE with NET one of {', '.join(NETS)}")
        if net in table:
            raise typer.BadParameter(f"{net} has two checkpoints")
        table[net] = Path(file).expanduser()
    return table


@app.command()
def export(
    nets: Annotated[
        list[str] | None, typer.Argument(metavar="[all|tracks|depth|dino|motion|sam2]...", help="What to export.")
    ] = None,
    preset: Annotated[
        str, typer.Option(callback=_one_of(tuple(PRESETS)), metavar="|".join(PRESETS), help="Which five nets.")
    ] = "nano",
    sam2: Annotated[
        str | None,
        typer.Option(callback=_one_of(tuple(SAM2_SIZES)), metavar="CONFIG", help=f"{', '.join(SAM2_SIZES)}."),
    ] = None,
    refine_px: Annotated[
        int | None,
        typer.Option(callback=_refine_px, metavar="|".join(map(str, REFINE_PX)), help="Frames for finer tracks."),
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(metavar="NET=FILE", help="Use this official file for a net; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the engines go.")] = Path("engines"),
    precision: Annotated[
        str, typer.Option(callback=_one_of(PRECISIONS), metavar="|".join(PRECISIONS), help="Numbers in the graphs.")
    ] = "fp32",
    target: Annotated[
        str, typer.Option(callback=_one_of(TARGETS), metavar="|".join(TARGETS), help="Kind of engine; auto is onnx.")
    ] = "auto",
    verify: Annotated[bool, typer.Option(help="Compare every graph with PyTorch.")] = True,
    verify_clip: Annotated[
        Path | None,
        typer.Option(metavar="CLIP", exists=True, help="With fp16: compare this clip's masks with float32's, too."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download; use what the cache holds.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again what is up to date.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show every weight file: licence, origin, cached or not.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more; stack traces for errors.")] = False,
) -> None:
    """Turn weights into engines for samotion-run, and compare each graph with its PyTorch source.

    Prints the files it wrote. Skips what is already built from the same weights, preset and options.
    """
    if list_:
        run_command(_list, verbose)
    chosen, files = parse_nets(nets), parse_checkpoints(checkpoint)
    if not chosen:
        raise typer.BadParameter(f"name what to export: all, or any of {', '.join(NETS)}")
    if unused := [net for net in files if net not in chosen]:
        raise typer.BadParameter(f"--checkpoint {unused[0]}=... is given, but {unused[0]} is not exported")

    def work() -> None:
        _require_packages()
        from samotion_export.build import Request, export  # torch and onnx take seconds: not for --help

        report = Report(-1 if quiet else int(verbose))
        kind = "onnx" if target == "auto" else target
        request = Request(
            chosen, preset, out, sam2, files, precision, verify, offline, force, kind, verify_clip, refine_px
        )
        for path in export(request, report):
            report.result(path)

    run_command(work, verbose)


def _require_packages() -> None:
    lacking = [name for name in ("torch", "onnx", "onnxruntime", "safetensors") if find_spec(name) is None]
    if lacking:
        raise DeviceError(f"exporting needs {', '.join(lacking)}; install with: pip install 'samotion[export]'")


def _list() -> None:
    from samotion_export.checkpoints.listing import table

    print(table())


if __name__ == "__main__":
    main()
