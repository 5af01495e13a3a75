"""What training commands share: how they end, and checks of what they are given before the work."""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from samotion.commands.exits import exit_code, first_signal
from samotion.commands.streams import note
from samotion.errors import InputError, OutputError, SamotionError, UsageError
from samotion_bench.scenes.drives import build_drive
from samotion_bench.scenes.scenes import build_scene

UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, pickle.UnpicklingError, SafetensorError),
)
REASON_LENGTH = 160
FILMS = (".mp4", ".mov", ".mkv", ".avi")  # that H.264 goes into
HEADERS = {  # of arrays, by the version of their format
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int | None]) -> None:
    """Do a command's work; where it fails, say why in one line and end with its exit code."""
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the stack trace of an error"
    )
    args = parser.parse_args()
    if code := exit_code(lambda: work(args), args.verbose):
        sys.exit(code)


@contextmanager
def signals_wait() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM wait for the end of the block; a second one ends it at once.

    Gives the list of those that came, for the block to look at.
    """
    came: list[int] = []
    with first_signal(came.append):
        yield came
    if came:
        signal.raise_signal(came[0])


def add_drives(options: argparse.ArgumentParser) -> None:
    """The option --drives, which says what builds the scenes to be rendered: `build`."""
    options.add_argument(
        "--drives",
        dest="build",
        action="store_const",
        const=build_drive,
        default=build_scene,
        help="the camera drives on a road in all of them",
    )


def require_positive(args: argparse.Namespace, *names: str) -> None:
    """Raises UsageError unless the options of these names, where they are given, are above 0."""
    for name in names:
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name.replace('_', '-')}: got {value}, expected more than 0")


def require_not_negative(args: argparse.Namespace, *names: str) -> None:
    """Raises UsageError unless the options of these names are 0 or more."""
    for name in names:
        if getattr(args, name) < 0:
            raise UsageError(f"--{name}: got {getattr(args, name)}, expected 0 or more")


def seeds_of(first: int, end: int) -> range:
    """The seeds FIRST to END - 1. Raises UsageError where there are none."""
    if not 0 <= first < end:
        raise UsageError(f"--seeds: got {first} {end}, expected FIRST from 0 on, and END above it")
    return range(first, end)


def require_folder(folder: Path) -> None:
    """Make a folder to write to. Raises OutputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OutputError(
            f"{folder}: got {reason!r}, expected a folder to write to; choose another one"
        ) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"{folder}: got a folder without leave to write, expected one to write to; choose"
            " another one"
        )


def require_output(path: Path) -> None:
    """Make the folder of a file to be written. Raises OutputError where that cannot be."""
    require_folder(path.parent)
    if path.is_dir():
        raise OutputError(f"{path}: got a folder, expected the name of a file; choose another one")


def require_film(path: Path) -> None:
    """Make the folder of a film to be written. Raises OutputError where that cannot be, or where
    its name does not say which kind it is of.
    """
    if path.suffix.lower() not in FILMS:
        got = repr(path.suffix) if path.suffix else "no suffix"
        raise OutputError(
            f"{path}: got {got}, expected a name with one of {', '.join(FILMS)}; choose another one"
        )
    require_output(path)


@contextmanager
def reading(path: Path, expected: str, kind: type[SamotionError] = InputError) -> Iterator[None]:
    """Turns what goes wrong while `path` is read into an error of a kind, in one line."""
    try:
        yield
    except UNREADABLE as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", REASON_LENGTH)
        raise kind(f"{path}: got {reason}, expected {expected}; name another one") from error


def files_of(
    folder: Path,
    fields: Sequence[str],
    maker: str,
    needed: Sequence[str] = (),
    remedy: str = "make them anew",
) -> list[Path]:
    """The files (*.npz) that samotion_training.`maker` wrote to a folder, but for those with
    nothing in one of the arrays `needed`; how many are left out is said on stderr.

    Raises InputError where none remain, or where one is broken or has not the arrays `fields`.
    """
    paths = sorted(folder.glob("*.npz"))
    expected = f"those of: python -m samotion_training.{maker}"
    if not paths:
        raise InputError(f"{folder}: got no files (*.npz), expected {expected}")
    lacking: dict[Path, list[str]] = {}
    for path in paths:
        shapes = shapes_of(path, expected)
        if missing := [name for name in fields if name not in shapes]:
            raise InputError(
                f"{path}: got a file without {', '.join(missing)}, expected {expected}"
            )
        if empty := [name for name in needed if 0 in shapes[name]]:
            lacking[path] = empty
    names = list(dict.fromkeys(name for empty in lacking.values() for name in empty))
    if len(lacking) == len(paths):
        raise InputError(
            f"{paths[0]}: got no {' and no '.join(lacking[paths[0]])}, expected some; {remedy}"
        )
    if lacking:
        note(
            f"{folder}: {len(lacking)} of {len(paths)} files are left out: they have no"
            f" {' or no '.join(names)}"
        )
    return [path for path in paths if path not in lacking]


def shapes_of(path: Path, expected: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's arrays (*.npz) by their names; no array is read for that. Raises
    InputError where the file is broken.
    """
    shapes = {}
    with reading(path, expected), zipfile.ZipFile(path) as file:
        for name in file.namelist():
            with file.open(name) as array:
                read = HEADERS[np.lib.format.read_magic(array)]
                shapes[name.removesuffix(".npy")] = read(array)[0]
    return shapes
