"""Pictures become a film file, each shown at its own time, with sound where there is some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samotion.backends.threads import ahead
from samotion.clips.stream import Clip
from samotion.clips.survey import UNSPECIFIED
from samotion.clips.times import MAX_PAUSE_S
from samotion.manifest import replacing

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from samotion.results.sound import Sound


# The longest that is exact for 24, 25, 30, 50, 60, 120 and 240 frames/s, and for these by 1001/1000
# where broadcasts have them (24000/1001): frames that are evenly spaced stay so.
TIME_BASE = Fraction(1, 120_000)
DEFAULT_RATE, MAX_RATE = 24, 240  # frames/s
COLOUR_TAGS = ("colorspace", "color_primaries", "color_trc")
_ITU709 = 1  # colour matrix, transfer and primaries all carry this number


@dataclass(frozen=True)
class Kind:
    """What a film file is made with, in FFmpeg's words."""

    container: str
    codec: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """How a player shows pixels: by which colour matrix, in FFmpeg's words, with which of
    `COLOUR_TAGS`, and how wide one is for its height.
    """

    matrix: str = "ITU709"
    tags: tuple[int, int, int] = (_ITU709,) * 3
    pixel_aspect: Fraction = Fraction(1)


PLAIN = Look()


def look_of(clip: Clip) -> Look:
    """As the clip's source looks in whatever player.

    FFmpeg reads frames of HD that name no matrix by BT.601, players show them by BT.709: written by
    BT.601, with no matrix named either, they are the same numbers again. Primaries and transfer are
    the source's, for nothing converts them.
    """
    if clip.file is None:
        return PLAIN
    facts = clip.file.facts
    turned = facts.coded_hw != clip.source_hw and facts.coded_hw[::-1] == clip.source_hw
    aspect = 1 / facts.pixel_aspect if turned else facts.pixel_aspect
    matrix, tag = ("ITU709", _ITU709) if facts.has_matrix else ("ITU601", UNSPECIFIED)
    primaries, transfer = (
        tag if told == UNSPECIFIED else told for told in (facts.primaries, facts.transfer)
    )
    return Look(matrix, (tag, primaries, transfer), aspect)


def write_film(
    path: Path,
    kind: Kind,
    hw: tuple[int, int],
    pictures: Iterable[VideoFrame],
    timestamps_s: np.ndarray,
    sound: Sound | None = None,
    look: Look = PLAIN,
) -> None:
    """Write pictures of size `hw`, shown at their times (T,) as `show_ticks` gives them; appears by
    rename.

    Raises OSError, and what PyAV raises where the codec is missing or refuses.
    """
    ticks = show_ticks(timestamps_s)
    drawn = ahead((_as(kind.pixels, look, picture) for picture in pictures), on_a_thread=True)
    with replacing(path) as temporary:
        _encode(
            str(temporary), kind, hw, zip(drawn, ticks.tolist()), usual_rate(ticks), look, sound
        )


def _as(pixels: str, look: Look, picture: VideoFrame) -> VideoFrame:
    if picture.format.name == pixels:
        return picture
    return picture.reformat(format=pixels, dst_colorspace=look.matrix)


def _encode(
    path: str,
    kind: Kind,
    hw: tuple[int, int],
    timed: Iterable[tuple[VideoFrame, int]],
    rate: Fraction,
    look: Look,
    sound: Sound | None,
) -> None:
    import av

    options = {"movflags": "+faststart"}
    with av.open(path, "w", format=kind.container, options=options) as container:
        stream: Any = container.add_stream(kind.codec, rate=rate, options=dict(kind.options))
        stream.height, stream.width, stream.pix_fmt = *hw, kind.pixels
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.thread_type = "FRAME"  # slices, PyAV's choice, keep one core busy
        context.sample_aspect_ratio = look.pixel_aspect
        context.colorspace, context.color_primaries, context.color_trc = look.tags
        if sound:
            sound.join(container)
        tick = 0
        for frame, tick in timed:
            frame.pts, frame.time_base = tick, TIME_BASE
            for name, tag in zip(COLOUR_TAGS, look.tags):  # ProRes keeps those of frames
                if hasattr(frame, name):  # PyAV up to 16 lacks some
                    setattr(frame, name, tag)
            container.mux(stream.encode(frame))
            if sound:
                container.mux(sound.until(float(tick * TIME_BASE)))
        container.mux(stream.encode())
        if sound:  # to the end of the last frame
            container.mux(sound.until(float(tick * TIME_BASE + 1 / rate), ends=True))


def show_ticks(timestamps_s: np.ndarray) -> np.ndarray:
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
    increasing: np.ndarray = np.maximum.accumulate(ticks - order) + order
    return increasing


def long_pauses(timestamps_s: np.ndarray) -> int:
    """How many pauses between frames a film cuts to `MAX_PAUSE_S`."""
    return int((np.diff(timestamps_s) > MAX_PAUSE_S).sum())


def usual_rate(ticks: np.ndarray) -> Fraction:
    """The rate of most frames: the encoder's rate control follows from it, and how long the last
    frame shows.
    """
    step_s = float(np.median(np.diff(ticks)) * TIME_BASE) if len(ticks) > 1 else 1 / DEFAULT_RATE
    rate = 1 / float(np.clip(step_s, 1 / MAX_RATE, MAX_PAUSE_S))
    return Fraction(rate).limit_denominator(1001)
