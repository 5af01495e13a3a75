"""matte.mp4: white where something moves, black elsewhere, for any editor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samotion.results.film import Kind, look_of, write_film
from samotion.results.material import Material

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


FILE = "matte.mp4"
H264 = Kind("mp4", "libx264", "yuv420p", {"crf": "8", "preset": "ultrafast"})  # edges stay hard


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write the film, at the source's size and times."""
    write_matte(material.target.tree / FILE, material)


def write_matte(path: Path, material: Material, object_id: int | None = None) -> None:
    """A film that is white where an object is, or any (None); odd sizes grow by a row or column."""
    clip = material.result.clip
    height, width = clip.source_hw
    hw = height + height % 2, width + width % 2
    pictures = _pictures(material, hw, object_id)
    write_film(path, H264, hw, pictures, clip.timestamps_s, look=look_of(clip))


def _pictures(
    material: Material, hw: tuple[int, int], object_id: int | None
) -> Iterator[VideoFrame]:
    import av

    for labels in material.labels():
        there = labels > 0 if object_id is None else labels == object_id
        white = np.where(there, np.uint8(255), np.uint8(0))
        below, right = hw[0] - labels.shape[0], hw[1] - labels.shape[1]
        grown: np.ndarray = cv2.copyMakeBorder(white, 0, below, 0, right, cv2.BORDER_REPLICATE)
        yield av.VideoFrame.from_ndarray(grown, "gray")
