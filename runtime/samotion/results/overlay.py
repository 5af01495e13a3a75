"""The overlay: the clip with every object tinted and outlined in its palette colour, as H.264
for any browser.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from samotion.manifest import replacing
from samotion.results.colours import palette
from samotion.results.material import Material
from samotion.results.record import OVERLAY

Array = np.ndarray[Any, Any]

TINT = 0.45
TIME_BASE = Fraction(1, 90_000)  # of MPEG: exact for 24, 25, 30, 50 and 60 frames/s
ENCODER = {"crf": "20", "preset": "veryfast"}
MAX_PAUSE_S = 60.0  # between two frames; the source's own is kept up to here
DEFAULT_RATE, MAX_RATE = 24, 240  # frames/s
_ITU709 = 1  # colour matrix, transfer and primaries all carry this number


def files(material: Material) -> list[str]:
    """One file."""
    return [OVERLAY]


def write(material: Material) -> None:
    """Write the overlay, with a warning where its pauses are cut."""
    clip, labels = material.result.clip, material.result.labels
    if cut := long_pauses(clip.timestamps_s):
        material.warn(
            f"pauses of more than {MAX_PAUSE_S:.0f} s between frames are cut to that in the"
            f" overlay ({cut})"
        )
    write_overlay(material.target.tree / OVERLAY, clip.frames, labels, clip.timestamps_s)


def draw(frame: Array, labels: Array, colour_of: Array) -> Array:
    """`frame` (H,W,3) uint8 with `labels` (H,W) uint8 tinted, and outlined inside their border;
    static stays as is.
    """
    if not labels.any():
        return frame
    colours = np.take(colour_of, labels, axis=0)  # 1.9 ms for 1000x562; indexing takes 7
    tinted = cv2.copyTo(cv2.addWeighted(frame, 1 - TINT, colours, TINT, 0), labels, frame.copy())
    size = 3 if max(labels.shape) < 720 else 5  # px of the kernel: a line 1 or 2 px wide
    kernel = np.ones((size, size), np.uint8)
    border = cv2.compare(cv2.dilate(labels, kernel), cv2.erode(labels, kernel), cv2.CMP_NE)
    drawn: Array = cv2.copyTo(colours, cv2.bitwise_and(border, labels), tinted)
    return drawn


def write_overlay(path: Path, frames: Array, labels: Array, timestamps_s: Array) -> None:
    """Write an MP4 (H.264, yuv420p, faststart) of frames (T,H,W,3) and labels (T,H,W), each shown
    at its own time.

    Times (T,) are as `show_ticks` gives them; odd sizes grow by one repeated row or column. Appears
    by rename. Raises OSError, and what PyAV raises where the codec is missing or refuses.
    """
    with replacing(path) as temporary:
        _encode(str(temporary), frames, labels, show_ticks(timestamps_s))


def show_ticks(timestamps_s: Array) -> Array:
    """When each frame shows (T,) int64, in `TIME_BASE` from the first frame on, strictly
    increasing.

    A time that repeats, goes back or is none comes one tick after its predecessor, a pause above
    `MAX_PAUSE_S` is cut to that: the container holds neither, and nobody waits a day for a frame.
    """
    with np.errstate(invalid="ignore"):
        pauses = np.nan_to_num(np.diff(timestamps_s.astype(np.float64)), nan=0.0)
    times = np.concatenate([[0.0], np.cumsum(np.clip(pauses, 0.0, MAX_PAUSE_S))])
    ticks = np.round(times / float(TIME_BASE)).astype(np.int64)
    order = np.arange(len(ticks))
    increasing: Array = np.maximum.accumulate(ticks - order) + order
    return increasing


def long_pauses(timestamps_s: Array) -> int:
    """How many pauses between frames the overlay cuts to `MAX_PAUSE_S`."""
    return int((np.diff(timestamps_s) > MAX_PAUSE_S).sum())


def _encode(path: str, frames: Array, labels: Array, ticks: Array) -> None:
    import av

    height, width = frames.shape[1:3]
    pad = height % 2, width % 2
    colours = palette()
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=mean_rate(ticks), options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width + pad[1], height + pad[0], "yuv420p"
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.colorspace = context.color_primaries = context.color_trc = _ITU709
        for frame, label, tick in zip(frames, labels, ticks.tolist()):
            drawn = draw(frame, label, colours)
            image: Array = cv2.copyMakeBorder(drawn, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = tick, TIME_BASE
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def mean_rate(ticks: Array) -> Fraction:
    """The mean frame rate, which the encoder wants for its rate control; times do not follow
    from it.
    """
    length_s = float(ticks[-1] * TIME_BASE)
    mean = (len(ticks) - 1) / length_s if length_s else DEFAULT_RATE
    return Fraction(float(np.clip(mean, 1, MAX_RATE))).limit_denominator(1001)
