"""images/*: the frames themselves, under the names that coco.json, labels and colmap_masks use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from samotion.clips.source import frames_at_source, reading_again
from samotion.manifest import write_atomically
from samotion.results.material import Material

FOLDER = "images"
EXIF = (b"Exif\0", b"eXIf", b"EXIF")  # where a JPEG, a PNG and a WebP have it


def files(material: Material) -> list[str]:
    """One picture a frame."""
    return [f"{FOLDER}/{name}" for name in material.frame_names]


def write(material: Material) -> None:
    """Write one picture after the other; those of a folder are copied."""
    clip, folder = material.result.clip, material.target.tree / FOLDER
    folder.mkdir(exist_ok=True)
    if clip.path is not None and clip.frame_names is not None:
        for name in clip.frame_names:
            with reading_again(source := Path(clip.path) / name):
                stored = source.read_bytes()
            write_atomically(folder / name, upright(stored, name))
        return
    for name, rgb in zip(material.frame_names, frames_at_source(clip)):
        bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
        write_atomically(folder / name, _encoded(bgr, name))


def upright(data: bytes, name: str) -> bytes:
    """A picture's bytes as they are; one that is to be turned when it is shown is turned, for
    COLMAP and others do not.
    """
    if not any(mark in data for mark in EXIF):
        return data
    stored = np.frombuffer(data, np.uint8)
    shown = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    as_stored = cv2.imdecode(stored, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if shown is None or as_stored is None or np.array_equal(shown, as_stored):
        return data
    whole = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)  # as stored, with alpha and 16 bits
    pairs = zip(_turns(as_stored), _turns(whole if whole is not None else as_stored))
    turned = next((full for three, full in pairs if np.array_equal(three, shown)), shown)
    return _encoded(np.ascontiguousarray(turned), name)


def _turns(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The eight ways in which a picture may be shown."""
    for mirrored in (picture, picture[:, ::-1]):
        yield from (np.rot90(mirrored, k) for k in range(4))


def _encoded(bgr: np.ndarray, name: str) -> bytes:
    """A picture as a file of this name holds it; by OpenCV's choice a JPEG has quality 95, in which
    no block can be seen, and a WebP loses nothing.
    """
    return cv2.imencode(Path(name).suffix, bgr)[1].tobytes()
