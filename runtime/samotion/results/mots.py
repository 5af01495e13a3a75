"""mots.txt: a line for each object in each frame, as the MOTS challenge has it.

`frame id class height width rle`. Frames count from 1 there, so frame 0 of the source is 1; ids are
the objects' own; the class is 1 for all.
"""

from __future__ import annotations

from collections.abc import Iterator

from samotion.manifest import write_atomically
from samotion.results.material import Material

FILE = "mots.txt"
FIRST_FRAME = 1
CLASS = 1


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write all lines, frame by frame."""
    text = "".join(f"{line}\n" for line in _lines(material))
    write_atomically(material.target.tree / FILE, text.encode())


def _lines(material: Material) -> Iterator[str]:
    height, width = material.result.clip.source_hw
    for number, rles in zip(material.result.clip.indices.tolist(), material.rles):
        for object_id, rle in zip(material.ids, rles):
            if rle:
                yield f"{number + FIRST_FRAME} {object_id} {CLASS} {height} {width} {rle['counts']}"
