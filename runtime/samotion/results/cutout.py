"""cutout.mov: what moves, without the rest, as ProRes 4444 with alpha for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from samotion.clips.source import frames_at_source
from samotion.results.film import Kind, write_film
from samotion.results.material import Material
from samotion.results.overlay import show_ticks

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Array = np.ndarray[Any, Any]

FILE = "cutout.mov"
# One quantiser for all blocks, 2 in FFmpeg's units of 118: 52 dB, 3.5 times as fast as a search.
FIXED_QUALITY = {"flags": "+qscale", "global_quality": "236"}
PRORES = Kind(
    "mov", "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0", **FIXED_QUALITY}
)
# The picture goes on around the objects, unseen: compression and feathering need it there.
MARGIN_PX = 16


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write the film, at the source's size and times."""
    clip = material.result.clip
    ticks = show_ticks(clip.timestamps_s)
    path = material.target.tree / FILE
    write_film(path, PRORES, clip.source_hw, _pictures(material), ticks)


def _pictures(material: Material) -> Iterator[VideoFrame]:
    import av

    for rgb, labels in zip(frames_at_source(material.result.clip), material.labels()):
        yield av.VideoFrame.from_ndarray(cut_out(rgb, labels), "rgba")


def cut_out(rgb: Array, labels: Array) -> Array:
    """A frame (H,W,3) with the alpha of its labels (H,W): RGBA (H,W,4) uint8, straight alpha."""
    alpha = np.where(labels > 0, np.uint8(255), np.uint8(0))
    near = cv2.dilate(alpha, np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
    return np.dstack([cv2.bitwise_and(np.ascontiguousarray(rgb), rgb, mask=near), alpha])
