"""Which engine folder is meant where none is named."""

from __future__ import annotations

import os
from pathlib import Path

from samotion import manifest
from samotion.errors import EngineError

VARIABLE = "SAMOTION_ENGINES"
HERE = Path("engines")
DEFAULT = f"{VARIABLE}, ./{HERE}, or the bundled nano"  # as a help page says it


def engine_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """`given`; else what SAMOTION_ENGINES names; else ./engines with a manifest; else nano.

    Raises EngineError for a variable that names no engine folder, and where none of them is there.
    """
    if given is not None:
        return Path(given)
    if named := os.environ.get(VARIABLE):
        return _named(named)
    if (HERE / manifest.MANIFEST).is_file():
        return HERE
    if (manifest.BUNDLED / manifest.MANIFEST).is_file():
        return manifest.BUNDLED
    raise EngineError(
        f"no engine folder: --engine-dir and {VARIABLE} are not set, ./{HERE} holds none, and"
        f" the bundled one is"
        " missing from this installation; install samotion again"
    )


def _named(folder: str) -> Path:
    try:
        manifest.read(folder)
    except EngineError as error:
        raise EngineError(f"the variable SAMOTION_ENGINES is {folder!r}: {error}") from error
    return Path(folder)
