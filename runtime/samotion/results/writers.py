"""What `--save` can ask for: each is the name of the module of this folder that writes it.

Such a module has two functions of the `Material`: `files` names what it will write, relative to
run.json's folder, and `write` writes it, each file by rename.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from samotion.results.material import Material

WRITERS = (
    "masks",
    "overlay",
    "report",
    "coco",
    "tracks",
    "ytvis",
    "mots",
    "yolo",
    "colmap",
    "cutout",
    "matte",
    "mattes",
    "csv",
    "images",
)
UNASKED = ("masks", "overlay", "report", "tracks")  # in layout clip
OF_TRACKS = ("tracks", "report", "trails")  # of these and of an overlay's layers, what reads tracks
OF_PICTURES = ("overlay", "report", "cutout", "images")  # what shows the frames themselves
TO_LOOK_AT = ("overlay", "report")  # costs a warning where it fails, not the result
ALWAYS = "objects"  # in layout clip


class Writer(Protocol):
    """A module that writes one kind of result."""

    def files(self, material: Material) -> list[str]:
        """What it will write, relative to run.json's folder."""

    def write(self, material: Material) -> None:
        """Write it. Raises OSError for a disk that is full or closed to us."""


def writer(kind: str) -> Writer:
    """The module that writes `kind`, imported when it is asked for."""
    return cast(Writer, import_module(f"samotion.results.{kind}"))
