"""objects.csv: a line for each object in each frame where it is seen, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from samotion.manifest import write_atomically
from samotion.results.material import Material
from samotion.results.objects import per_frame

FILE = "objects.csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for its beginning
COLUMNS = (
    *("frame", "name", "time_s", "id", "left_px", "top_px", "width_px", "height_px", "area_px"),
    *("score", "confidence"),
)


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write all lines, object by object; boxes and areas are in px of the source."""
    text = io.StringIO()
    has_cr = any("\r" in name for name in material.frame_names)  # which Python leaves unquoted
    how: Any = csv.QUOTE_NONNUMERIC if has_cr else csv.QUOTE_MINIMAL
    table = csv.writer(text, lineterminator="\n", quoting=how)
    table.writerow(COLUMNS)
    table.writerows(_rows(material))
    data = text.getvalue().encode("utf-8", "surrogateescape")  # names of files are bytes
    write_atomically(material.target.tree / FILE, data)


def _rows(material: Material) -> Iterator[tuple[object, ...]]:
    numbers = material.result.clip.indices.tolist()
    frames = list(zip(numbers, map(_as_text, material.frame_names), material.times_s))
    for k, one in enumerate(material.result.objects):
        seen = per_frame([row[k] for row in material.rles])
        for frame, box, area in zip(frames, seen["boxes"], seen["areas"]):
            if box is not None:
                sure = round(one.score, 6), round(one.confidence, 6)
                yield (*frame, one.id, *map(int, box), area, *sure)


def _as_text(name: str) -> str:
    """A name that no spreadsheet runs."""
    return f"'{name}" if name.startswith(FORMULA) else name
