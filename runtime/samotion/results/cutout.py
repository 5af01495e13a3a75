"""cutout.mov: what moves, without the rest, as ProRes 4444 with alpha for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from samotion.clips.source import frames_at_source
from samotion.results.film import PLAIN, Kind, Look, look_of, write_film
from samotion.results.material import Material

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


FILE = "cutout.mov"
# One quantiser for all blocks, 2 in FFmpeg's units of 118: 52 dB, 3.5 times as fast as a search.
FIXED_QUALITY = {"flags": "+qscale", "global_quality": "236"}
PRORES = Kind(
    "mov", "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0", **FIXED_QUALITY}
)
# The picture goes on around the objects, unseen: compression and feathering need it there.
MARGIN_PX = 16
BLOCK_PX = 32
COLOURS = "yuv444p10le"  # the planes of PRORES without the last, alpha
OPAQUE = 1023  # of 10 bits


def files(material: Material) -> list[str]:
    """One file."""
    return [FILE]


def write(material: Material) -> None:
    """Write the film, at the source's size and times."""
    clip = material.result.clip
    path = material.target.tree / FILE
    look = look_of(clip)
    pictures = _pictures(material, look)
    write_film(path, PRORES, clip.source_hw, pictures, clip.timestamps_s, look=look)


def _pictures(material: Material, look: Look) -> Iterator[VideoFrame]:
    for rgb, labels in zip(frames_at_source(material.result.clip), material.labels()):
        moving = (labels > 0).astype(np.uint8)
        near = cv2.dilate(moving, np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
        yield with_alpha(cv2.copyTo(np.ascontiguousarray(rgb), near), moving, look.matrix)


def with_alpha(rgb: np.ndarray, moving: np.ndarray, matrix: str = PLAIN.matrix) -> VideoFrame:
    """A picture (H,W,3) uint8 with straight alpha, full where `moving` (H,W) uint8 is 1, none where
    it is 0.

    Alpha is put in by hand, and colours are converted at a width of whole blocks: FFmpeg's
    conversion spoils pixels now and then at other widths.
    """
    import av

    height, width = moving.shape
    padded: np.ndarray = cv2.copyMakeBorder(rgb, 0, 0, 0, -width % BLOCK_PX, cv2.BORDER_REPLICATE)
    colours: Any = av.VideoFrame.from_ndarray(padded, "rgb24")
    colours = colours.reformat(format=COLOURS, dst_colorspace=matrix)
    frame = av.VideoFrame(width, height, PRORES.pixels)
    for plane, source in zip(frame.planes, colours.planes):
        _fill(plane, np.frombuffer(source, np.uint16).reshape(height, -1)[:, :width])
    _fill(frame.planes[3], moving.astype(np.uint16) * OPAQUE)
    return frame


def _fill(plane: Any, values: np.ndarray) -> None:
    """Put values (H,W) into a plane of 16-bit numbers, whose rows may be longer."""
    rows = np.zeros((len(values), plane.line_size // 2), np.uint16)
    rows[:, : values.shape[1]] = values
    plane.update(rows)
