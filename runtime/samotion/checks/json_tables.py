"""JSON that others may have edited: values of the kinds that are expected, or one line that says
which is not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_SHOWN = 80  # letters of a value in a message
MOST_LETTERS = 300  # of a string
MOST_BYTES = 16 << 20  # of a file; the manifest of eleven engines takes 16 KB
MOST_BITS = 64  # of a number in a message: Python refuses to print very long ones


def read_table(path: Path) -> dict[str, Any]:
    """The table in a JSON file. Raises OSError where it cannot be read, ValueError for all else."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{size} bytes, expected at most {MOST_BYTES}")
    try:
        data = json.loads(
            path.read_bytes(), object_pairs_hook=_without_doubles, parse_constant=_refuse
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return table(data, "the whole")


def text(value: Any, what: str) -> str:
    """A string that can be printed and be part of a path."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {short(value)}, expected a string")
    if not value.isprintable():
        raise ValueError(f"{what} is {short(value)}, expected letters that can be printed")
    if len(value) > MOST_LETTERS:
        raise ValueError(f"{what} has {len(value)} letters, expected at most {MOST_LETTERS}")
    return value


def table(value: Any, what: str) -> dict[str, Any]:
    """The value if it is a table. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {short(value)}, expected a table")
    return value


def dims(value: Any, what: str) -> list[int | str]:
    """The sizes of a tensor: whole numbers, and letters for those that vary."""
    if not isinstance(value, list):
        raise ValueError(f"{what} are {short(value)}, expected a list of numbers and letters")
    for size in value:
        if type(size) is not int or size.bit_length() > MOST_BITS:
            text(size, what)
    return value


def short(value: Any) -> str:
    """A value as a message shows it: in ASCII, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return "a huge number"
    if isinstance(value, (dict, list)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def short_line(error: BaseException) -> str:
    """What an error says, on one line that can be printed."""
    said = " ".join(str(error)[: 4 * MOST_SHOWN].split())
    return "".join(c if c.isprintable() else "?" for c in said)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name comes twice in one table")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
