"""Video files, decoded by PyAV frame by frame, with hostile and broken media in mind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samotion.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Array = np.ndarray[Any, Any]
FALLBACK_FPS = 24.0
UPRIGHT = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1], np.int32)


@dataclass(frozen=True)
class Facts:
    """What the packets tell without decoding. `frame_count`: frames that will show."""

    frame_count: int
    fps: float
    warnings: tuple[str, ...]


@dataclass
class Skipped:
    """Packets that would not decode, counted while frames stream by."""

    packets: int = 0

    def warnings(self) -> list[str]:
        return [f"{self.packets} damaged packets were skipped"] if self.packets else []


@contextmanager
def opened(path: Path, formats: str, max_pixels: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file's first video stream. A file object is passed, so that no file name is read as a protocol."""
    import av

    limits = {"max_pixels": str(max_pixels)}
    containers = {"format_whitelist": formats}
    how: dict[str, Any] = {"options": limits, "container_options": containers}
    if int(av.__version__.split(".")[0]) < 19:  # from 19 on this is what PyAV always does
        how["metadata_errors"] = "replace"
    try:
        with path.open("rb") as file, av.open(file, **how) as container:
            pictures = [s for s in container.streams.video if not _is_cover(s)]
            if not pictures:
                kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
                raise InputError(f"{str(path)!r} has no video stream; it holds {kinds}")
            stream = pictures[0]
            if stream.codec_context is None:
                raise InputError(f"{str(path)!r} holds video of a kind that cannot be decoded; convert it to H.264")
            stream.codec_context.options = limits
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.FFmpegError as error:
        raise InputError(
            f"{str(path)!r} cannot be read as video ({error.strerror}); expected MP4, MOV, WebM, AVI, MKV or GIF"
        ) from error


def survey(container: InputContainer, stream: VideoStream) -> Facts:
    """Count the frames by their packets (about 30,000 a second, nothing decoded)."""
    shown = dropped = 0
    end_s = 0.0
    for packet in container.demux(stream):
        if packet.size:
            dropped += packet.is_discard
            shown += not packet.is_discard
            end_s = max(end_s, _seconds(packet.pts, packet.time_base))
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    fps = fps if math.isfinite(fps) and fps > 0 else FALLBACK_FPS
    warnings = []
    missing = (stream.frames or 0) - shown - dropped
    length_s = _seconds(stream.duration, stream.time_base)
    if missing > 0 and end_s < length_s - 2 / fps:  # an edit list also shows fewer frames, but runs to its end
        warnings.append(f"the file ends early: {shown} of {stream.frames} frames are there")
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        warnings.append(f"pixels are not square ({ratio.numerator}:{ratio.denominator}); masks are in pixels as stored")
    return Facts(shown, fps, tuple(warnings))


def frames(
    container: InputContainer, stream: VideoStream, step: int, skipped: Skipped
) -> Iterator[tuple[int, float, Array, Array]]:
    """Every `step`-th frame: its number, time in s (NaN: none), RGB (H,W,3) uint8 as stored, display matrix (9,)."""
    for index, frame in enumerate(_decoded(container, stream, skipped)):
        if index % step == 0:
            time_s = math.nan if frame.pts is None else _seconds(frame.pts, frame.time_base)
            yield index, time_s, frame.to_ndarray(format="rgb24"), _display_matrix(frame)


def _decoded(container: InputContainer, stream: VideoStream, skipped: Skipped) -> Iterator[VideoFrame]:
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            skipped.packets += 1


def _display_matrix(frame: VideoFrame) -> Array:
    side_data: Any = frame.side_data  # iterating it gives entries up to PyAV 18, keys from 19 on
    try:
        return np.frombuffer(side_data["DISPLAYMATRIX"], np.int32).copy()
    except KeyError:
        return UPRIGHT


def _seconds(ticks: int | None, time_base: Any) -> float:
    return 0.0 if ticks is None or time_base is None else float(ticks * time_base)


def _is_cover(stream: VideoStream) -> bool:
    """Whether a stream is the cover picture of an audio file."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()
