"""Pictures become a film file, each shown at its own time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samotion.manifest import replacing
from samotion.results.overlay import TIME_BASE, mean_rate

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Array = np.ndarray[Any, Any]
_ITU709 = 1  # colour matrix, transfer and primaries all carry this number


@dataclass(frozen=True)
class Kind:
    """What a film file is made with, in FFmpeg's words."""

    container: str
    codec: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)


def write_film(
    path: Path, kind: Kind, hw: tuple[int, int], pictures: Iterable[VideoFrame], ticks: Array
) -> None:
    """Write pictures of size `hw`, shown at `ticks` (T,) of `TIME_BASE`; appears by rename.

    Raises OSError, and what PyAV raises where the codec is missing or refuses.
    """
    with replacing(path) as temporary:
        _encode(str(temporary), kind, hw, pictures, ticks)


def _encode(
    path: str, kind: Kind, hw: tuple[int, int], pictures: Iterable[VideoFrame], ticks: Array
) -> None:
    import av

    options = {"movflags": "+faststart"}
    with av.open(path, "w", format=kind.container, options=options) as container:
        stream: Any = container.add_stream(
            kind.codec, rate=mean_rate(ticks), options=dict(kind.options)
        )
        stream.height, stream.width, stream.pix_fmt = *hw, kind.pixels
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.colorspace = context.color_primaries = context.color_trc = _ITU709
        for picture, tick in zip(pictures, ticks.tolist()):
            frame = picture
            if picture.format.name != kind.pixels:
                frame = picture.reformat(format=kind.pixels, dst_colorspace="ITU709")
            frame.pts, frame.time_base = tick, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
