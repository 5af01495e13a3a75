"""What a video file holds, told by its packets without decoding: tracks, frames, an early end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samotion.clips import structure
from samotion.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

FALLBACK_FPS = 24.0
HIDES_FRAMES = ("vp8", "mpeg4")  # a packet may hold no frame that shows
MICROSECONDS = 1_000_000  # of a container's duration
TOLD_AHEAD = ("matroska", "flv", "asf", "ivf")  # their headers tell the length of the whole
TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273, table 3
# Bits of FFmpeg's AV_DISPOSITION_*; PyAV tells them from 14.2 on.
DEFAULT, COVER = 1 << 0, 1 << 10
ASIDE = 1 << 11 | 1 << 12 | 1 << 19 | 1 << 20  # thumbnails, non-diegetic, dependent, still
UNSPECIFIED = 2  # a colour matrix, primaries or transfer (ITU-T H.273, tables 2 to 4)
HD_PX = 1280  # of a frame's longer side: from here on players take BT.709 for unspecified


@dataclass(frozen=True)
class Facts:
    """What the packets tell of the chosen `track`, counted among the video tracks.

    `frame_count`: frames that will show; `coded_hw`: their size before they are turned, px;
    `pixel_aspect`: width to height of their pixels as they are to be shown; `has_matrix`: whether
    it names the colour matrix of its frames, or needs none: it is RGB, or so small that all take it
    for BT.601; `primaries` and `transfer`: what its colours mean, as numbers of ITU-T H.273.
    """

    frame_count: int
    fps: float
    track: int
    codec: str
    coded_hw: tuple[int, int]
    ends_early: bool
    warnings: tuple[str, ...]
    pixel_aspect: Fraction = Fraction(1)
    has_matrix: bool = True
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


@dataclass
class _Tally:
    """Packets of one stream: shown, dropped (edit lists), and where they end. `kind`: video, audio
    or another, as the stream was opened; packets may change it.
    """

    kind: str
    displayed: int = 0
    dropped: int = 0
    end_s: float = 0.0
    short: bool = False  # the last packet lacks data


def survey(path: Path, container: InputContainer) -> Facts:
    """Count the frames by their packets (about 30,000 a second) and choose a video track.

    Raises InputError for a file without video that can be decoded.
    """
    tallies = {stream.index: _Tally(stream.type or "data") for stream in container.streams}
    broken = _count(container, tallies)
    stream = _choose(path, container, tallies)
    tally = tallies[stream.index]
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    fps = fps if math.isfinite(fps) and fps > 0 else FALLBACK_FPS
    cut = broken or tally.short or structure.is_cut(path, container.format.name)
    early = _early_end(container, tallies, stream, fps, cut)
    warnings = [*_other_tracks(container, tallies, stream), *early, *_pictures(stream)]
    track = _videos(container, tallies).index(stream)
    coded_hw = stream.height, stream.width
    codec = stream.codec_context
    return Facts(
        tally.displayed,
        fps,
        track,
        codec.name,
        coded_hw,
        bool(early),
        tuple(warnings),
        stream.sample_aspect_ratio or Fraction(1),
        _has_matrix(stream),
        int(codec.color_primaries or UNSPECIFIED),
        int(codec.color_trc or UNSPECIFIED),
    )


def _videos(container: InputContainer, tallies: dict[int, _Tally]) -> list[VideoStream]:
    """The video tracks, as they are counted where a file is opened."""
    videos = [s for s in container.streams if tallies[s.index].kind == "video"]
    return cast("list[VideoStream]", videos)


def _has_matrix(stream: VideoStream) -> bool:
    """Whether the colour matrix of a stream is told, or beyond doubt."""
    codec = stream.codec_context
    pixels = codec.format
    is_rgb = pixels is not None and (pixels.is_rgb or pixels.has_palette)
    is_told = int(codec.colorspace) != UNSPECIFIED
    return is_told or is_rgb or max(stream.height, stream.width) < HD_PX


def _count(container: InputContainer, tallies: dict[int, _Tally]) -> bool:
    """Tally all packets; whether reading broke off."""
    import av

    try:
        for packet in container.demux():
            if not packet.size:
                continue
            tally = tallies[packet.stream.index]
            tally.dropped += packet.is_discard
            tally.displayed += not packet.is_discard
            ticks = (packet.pts or 0) + (packet.duration or 0)
            tally.end_s = max(tally.end_s, seconds(ticks, packet.time_base))
            tally.short = packet.is_corrupt
    except av.error.FFmpegError:
        return True
    return False


def _choose(path: Path, container: InputContainer, tallies: dict[int, _Tally]) -> VideoStream:
    """As FFmpeg and players choose: the default track, of these the largest, of these the first."""
    videos = _videos(container, tallies)
    tracks = [s for s in videos if not disposition(s) & COVER]
    if not tracks:
        others = {one.kind for one in tallies.values()} - {"video"}
        named = others | ({"a cover picture"} if videos else set())
        kinds = ", ".join(sorted(named)) or "nothing"
        early = "; the file ends early" if structure.is_cut(path, container.format.name) else ""
        raise InputError(f"{str(path)!r} has no video stream; it holds {kinds}{early}")

    def rank(stream: VideoStream) -> tuple[bool, bool, bool, bool, int]:
        flags, (width, height) = disposition(stream), _size(stream)
        moves = tallies[stream.index].displayed > 1
        decodes = stream.codec_context is not None
        return moves, decodes, not flags & ASIDE, bool(flags & DEFAULT), width * height

    best = max(tracks, key=rank)
    if best.codec_context is None:
        raise InputError(
            f"{str(path)!r} holds video of a kind that cannot be decoded; convert it to H.264"
        )
    return best


def disposition(stream: Stream) -> int:
    """What a stream is meant for, in bits; 0 where PyAV does not tell."""
    try:
        flags: Any = getattr(stream, "disposition", 0)
    except (AttributeError, ValueError):  # a bit that this PyAV has no name for
        return 0
    return int(getattr(flags, "value", flags))


def _size(stream: VideoStream) -> tuple[int, int]:
    if stream.codec_context is None:
        return 0, 0
    return stream.width, stream.height


def _other_tracks(
    container: InputContainer, tallies: dict[int, _Tally], chosen: VideoStream
) -> list[str]:
    tracks = [
        s
        for s in _videos(container, tallies)
        if not disposition(s) & COVER and (s is chosen or tallies[s.index].displayed)
    ]
    if len(tracks) < 2:
        return []
    words = [
        f"{number} ({'x'.join(map(str, _size(s)))}, {tallies[s.index].displayed} frames)"
        for number, s in enumerate(tracks, 1)
    ]
    taken = words.pop(tracks.index(chosen))
    return [f"of {len(tracks)} video tracks number {taken} is used, not {', '.join(words)}"]


def _early_end(
    container: InputContainer,
    tallies: dict[int, _Tally],
    stream: VideoStream,
    fps: float,
    cut: bool,
) -> list[str]:
    """The warning that packets are missing at the end, and how much is there."""
    tally = tallies[stream.index]
    expected = stream.frames or 0
    missing = expected - tally.displayed - tally.dropped
    end_s = max(t.end_s for t in tallies.values())
    told_s = _told_length(container)
    length_s = seconds(stream.duration, stream.time_base)
    # An edit list also shows fewer frames than there are, but runs to its end.
    if missing > 0 and (cut or tally.end_s < length_s - 2 / fps):
        return [f"the file ends early: {tally.displayed} of {expected} frames are there"]
    if end_s < told_s - 2 / fps:
        return [f"the file ends early: {end_s:.2f} of {told_s:.2f} s are there"]
    return ["the file ends early: it is cut off, and frames may be missing"] if cut else []


def _told_length(container: InputContainer) -> float:
    """Length in s that the header tells; 0 where FFmpeg estimates it from what is there."""
    names = container.format.name.split(",")
    told = any(name in TOLD_AHEAD for name in names)
    return (container.duration or 0) / MICROSECONDS if told else 0.0


def _pictures(stream: VideoStream) -> list[str]:
    warnings = []
    if kind := TRANSFERS.get(int(stream.codec_context.color_trc or 0)):
        warnings.append(
            f"pictures are HDR ({kind}) and are read without tone mapping, pale as they come;"
            " convert the clip to SDR for better masks"
        )
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        warnings.append(
            f"pixels are not square ({ratio.numerator}:{ratio.denominator}); masks are in"
            f" pixels as stored"
        )
    return warnings


def seconds(ticks: int | None, time_base: Any) -> float:
    """Ticks of a time base in s; 0 where one is unknown."""
    return 0.0 if ticks is None or time_base is None else float(ticks * time_base)
