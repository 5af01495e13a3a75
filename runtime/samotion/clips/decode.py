"""Video files, decoded by PyAV frame by frame, with hostile and broken media in mind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from samotion.clips import sizes, structure, times
from samotion.clips.collect import Frame
from samotion.clips.part import Span
from samotion.clips.survey import HIDES_FRAMES, Facts, seconds
from samotion.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# whether a frame is wanted: its place among those of the part, and its number in the file
Take = Callable[[int, int], bool]
UPRIGHT = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1], np.int32)
# Formats of one stream of pictures. Playlists and scripts (HLS, concat, DASH) stay out: they open
# other files. The last four are here so that audio is named as such.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,"
    "h264,hevc,av1,obu,mjpeg,m4v,yuv4mpegpipe,nut,dv,mxf,apng,rm,wav,mp3,flac,aac"
)


@dataclass
class Report:
    """What decoding met: packets with errors, frames that show damage, interlaced frames, times."""

    errors: int = 0
    damaged: int = 0
    interlaced: int = 0
    times_s: list[float] = field(default_factory=list)

    def clear(self) -> None:
        """Start again."""
        self.errors = self.damaged = self.interlaced = 0
        self.times_s.clear()

    def warnings(self, facts: Facts) -> list[str]:
        """One line for each thing that is wrong with the clip."""
        return [*self._damage(facts), *self._interlaced(), *self._leaps(facts)]

    def missing(self, facts: Facts) -> int:
        """How many frames neither came nor failed."""
        hidden = self.interlaced or facts.codec in HIDES_FRAMES  # one packet may be one field
        if hidden and not facts.ends_early:
            return 0
        return max(0, facts.frame_count - len(self.times_s) - self.errors)

    def _damage(self, facts: Facts) -> list[str]:
        counts = (
            (self.errors, "cannot be decoded"),
            (self.missing(facts), "missing"),
            (self.damaged, "damaged"),
        )
        parts = [f"{count} {what}" for count, what in counts if count]
        return [f"of {facts.frame_count} frames: {', '.join(parts)}"] if parts else []

    def _interlaced(self) -> list[str]:
        if not self.interlaced:
            return []
        return [
            f"{self.interlaced} frames are interlaced (two moments in one picture);"
            " deinterlace the clip for better masks"
        ]

    def _leaps(self, facts: Facts) -> list[str]:
        # times of animations are drawn, not recorded
        drawn = facts.codec in ("gif", "apng", "webp")
        return [] if drawn else times.leaps(np.array(self.times_s))


class _Readable:
    """A file for FFmpeg, which may try to seek before its start; that is no error of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell = file.read, file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


class _Damaged(Exception):
    """A frame failed while several were decoded at once, which may cost its neighbours; or the
    first ones of a part did not come.
    """


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a video file. A file object is passed, so that no file name is read as a protocol."""
    import av

    how: dict[str, Any] = {"container_options": {"format_whitelist": FORMATS}}
    if _version() < 19:  # from 19 on this is what PyAV always does
        how["metadata_errors"] = "replace"
    how |= limited()
    try:
        with path.open("rb") as file, av.open(_Readable(file), **how) as container:
            yield container
    except av.error.FFmpegError as error:
        raise InputError(f"{str(path)!r} cannot be read as video {_why(path, error)}") from error


def limited() -> dict[str, Any]:
    """Options for PyAV to open a file with, so that what it looks at is not too large."""
    # up to 16 options crash it on FLV; the decoder gets the limit in any case
    return {"options": max_pixels()} if _version() >= 18 else {}


def max_pixels() -> dict[str, str]:
    """The limit of a frame as an option of FFmpeg."""
    return {"max_pixels": str(sizes.MAX_FRAME_PIXELS)}


def _version() -> int:
    """PyAV's."""
    import av

    return int(av.__version__.split(".")[0])


def _why(path: Path, error: Any) -> str:
    if structure.lacks_index(path):
        return "(it breaks off before its index, moov); expected a whole file"
    return f"({error.strerror}); expected MP4, MOV, WebM, AVI, MKV or GIF"


def frames(path: Path, facts: Facts, span: Span, take: Take, report: Report) -> Iterator[Frame]:
    """The frames to `take` of a part of a video; what was met on the way stands in `report`.

    Frames are decoded several at a time. Where one fails or is missing all are decoded anew, one
    after the other from the file's start: a damaged frame then costs no other, and no frame that
    waits at the end.
    """
    given, passed = 0, span.packets
    with suppress(_Damaged):
        pictures = _decoded(path, facts, passed, report, at_once=True)
        for frame in _taken(take, _within(span, pictures, report, passed)):
            yield frame
            given += 1
        if not report.missing(span.facts(facts)):
            return
    report.clear()
    pictures = _decoded(path, facts, 0, report, at_once=False)
    yield from _taken(take, _within(span, pictures, report, 0), given)


def _taken(
    take: Take, numbered: Iterator[tuple[int, VideoFrame]], skip: int = 0
) -> Iterator[Frame]:
    """The pictures to take as frames, without the first `skip` of them."""
    taken = (one for count, one in enumerate(numbered) if take(count, one[0]))
    for number, picture in islice(taken, skip, None):
        rgb = picture.to_ndarray(format="rgb24")
        yield Frame(number, _time(picture), orient(rgb, _display_matrix(picture)))


def _within(
    span: Span, pictures: Iterator[VideoFrame], report: Report, passed: int
) -> Iterator[tuple[int, VideoFrame]]:
    """The pictures of a part, with their numbers in the file, of those behind the `passed` packets:
    those of the span, or none. Both ways the same picture has the same number.
    """
    place = -1
    for came, picture in enumerate(pictures, 0 if passed else -span.number):
        expected = came if place < 0 else place + 1
        told = span.place(_time(picture), expected)
        # several may have one time, and a damaged picture's may lie back
        place = told if place < 0 else max(told, expected)
        if span.count is not None and place >= span.count:
            return
        if place < span.skipped:
            continue
        if passed and not report.times_s and place > span.skipped:
            raise _Damaged  # decoding does not begin everywhere
        _note(picture, report)
        yield span.number + (place if span.packets else came), picture


def _decoded(
    path: Path, facts: Facts, packets: int, report: Report, at_once: bool
) -> Iterator[VideoFrame]:
    """The pictures of a track behind its first `packets`."""
    import av

    with opened(path) as container:
        stream = container.streams.video[facts.track]
        stream.codec_context.options = max_pixels()
        stream.thread_type = "AUTO" if at_once else "SLICE"
        if not at_once:
            stream.codec_context.thread_count = 1
        stream.codec_context.open(strict=False)
        for packet in islice(_packets(container, stream), packets, None):
            try:
                pictures = stream.codec_context.decode(packet)
            except av.error.FFmpegError as error:
                if at_once:
                    raise _Damaged from error
                report.errors += 1
                continue
            yield from pictures


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    """A stream's packets, and one that empties the decoder also where reading breaks off."""
    import av

    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        last: Any = av.Packet()
        last.time_base = stream.time_base
        yield last


def _note(picture: VideoFrame, report: Report) -> None:
    report.damaged += picture.is_corrupt
    report.interlaced += picture.interlaced_frame
    report.times_s.append(_time(picture))


def _time(picture: VideoFrame) -> float:
    return math.nan if picture.pts is None else seconds(picture.pts, picture.time_base)


def _display_matrix(picture: VideoFrame) -> np.ndarray:
    from av.sidedata.sidedata import SideDataContainer

    # not `picture.side_data`, which the picture would hold, and it the picture: hundreds of
    # pictures would stay until Python looks for such circles
    side_data: Any = SideDataContainer(picture)  # type: ignore[call-arg]
    try:
        return np.frombuffer(side_data["DISPLAYMATRIX"], np.int32).copy()
    except KeyError:
        return UPRIGHT


def orient(rgb: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a display matrix to an image (H,W,...): its quarter turns and mirrors only.

    9 int32 (a b u / c d v / x y w; x' = ax + cy, y' = bx + dy): the signs count, scale and shift
    do not.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    if turned:
        rgb = rgb.swapaxes(0, 1)
    mirror_x, mirror_y = (c < 0, b < 0) if turned else (a < 0, d < 0)
    return rgb[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
