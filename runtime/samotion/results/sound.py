"""The sound of a clip's file, for a film that is made of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samotion.clips import decode
from samotion.clips.survey import DEFAULT, disposition
from samotion.clips.video import Clip
from samotion.errors import InputError
from samotion.results.film import long_pauses

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# what MP4 holds and browsers play; the rest becomes AAC
COPIED = ("aac", "mp3", "mp3float", "opus", "flac")
NEEDS_HEADER = ("aac", "flac")  # streams of these without one are framed for another container
MAX_RATE = 48_000  # of AAC that every player takes
JITTER_S = 0.05  # by which times of frames may be off
PRIMING_S = 0.1  # packets from before the first frame that the first ones after it need

Warn = Callable[[str], None]


class Sound:
    """The packets of an audio stream, on the clock of a film whose first frame shows at `first_s`
    in the source.
    """

    def __init__(
        self, source: InputContainer, stream: AudioStream, first_s: float, warn: Warn
    ) -> None:
        """Of an open file."""
        self._stream, self._first_s, self._warn = stream, first_s, warn
        codec = stream.codec_context
        framed = codec.name not in NEEDS_HEADER or bool(codec.extradata)
        self.is_copied = codec.name in COPIED and framed
        packets = source.demux(stream)
        self._packets = self._copied(packets) if self.is_copied else self._encoded(packets)
        self._waiting: Any = None
        self._out: Any = None

    def join(self, film: Any) -> None:
        """Become a stream of a film, PyAV's output container."""
        if not self.is_copied:
            codec = self._stream.codec_context
            rate = min(codec.sample_rate, MAX_RATE)
            layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
            self._out = film.add_stream("aac", rate=rate, layout=layout)
        elif hasattr(film, "add_stream_from_template"):
            self._out = film.add_stream_from_template(self._stream)
        else:  # PyAV up to 13
            self._out = film.add_stream(template=self._stream)

    def until(self, time_s: float, ends: bool = False) -> list[Any]:
        """The packets that begin before a time of the film and did not come yet; `ends`: no later
        ones will be asked for.
        """
        taken: list[Any] = []
        while True:
            packet = self._next()
            if packet is None:
                return taken
            if float(packet.pts * packet.time_base) >= time_s:
                self._waiting = None if ends else packet
                return taken
            taken.append(packet)

    def close(self) -> None:
        """Give no more: the packets and this hold each other, and a decoder's threads."""
        self._packets.close()

    def _next(self) -> Any:
        import av

        if self._waiting is not None:
            packet, self._waiting = self._waiting, None
            return packet
        try:
            return next(self._packets, None)
        except av.error.FFmpegError as error:
            self._warn(f"the overlay's sound breaks off ({error.strerror})")
            return None

    def _copied(self, packets: Iterator[Any]) -> Generator[Any, None, None]:
        for packet in packets:
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            offset = round(self._first_s / float(packet.time_base))
            packet.pts -= offset
            packet.dts -= offset
            if float(packet.pts * packet.time_base) >= -PRIMING_S:
                packet.stream = self._out
                yield packet

    def _encoded(self, packets: Iterator[Any]) -> Generator[Any, None, None]:
        """As AAC, without a gap where times are a little off, as AVI's are."""
        following: float | None = None
        for frame in _alike(self._decoded(packets)):
            time_s = (following or 0.0) if frame.time is None else frame.time - self._first_s
            if following is not None and abs(time_s - following) < JITTER_S:
                time_s = following
            if time_s < (following or 0.0):
                continue
            following = time_s + frame.samples / frame.sample_rate
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round(time_s * frame.sample_rate)
            yield from self._out.encode(frame)
        yield from self._out.encode()

    def _decoded(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Frames; a packet that cannot be decoded costs itself alone."""
        import av

        told = False
        for packet in packets:
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                if not told:
                    self._warn(f"the overlay's sound lacks parts ({error.strerror})")
                told = True


def _alike(frames: Iterator[Any]) -> Iterator[Any]:
    """Frames of the first one's format, layout and rate: a broadcast changes from 5.1 to stereo."""
    import av

    first: tuple[str, str, int] | None = None
    resampler: Any = None
    last: tuple[str, str, int] | None = None
    for frame in frames:
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        first = first or kind
        if kind == first:
            yield frame
            continue
        if kind != last:
            resampler, last = av.AudioResampler(*first), kind
        yield from resampler.resample(frame)


@contextmanager
def sound_of(clip: Clip, warn: Warn) -> Iterator[Sound | None]:
    """The sound of the file that a clip was read from; None where there is none, or where cut
    pauses would bring it out of step.
    """
    with ExitStack() as stack:
        yield _open(clip, warn, stack)


def _open(clip: Clip, warn: Warn, stack: ExitStack) -> Sound | None:
    if clip.path is None or clip.frame_names is not None:
        return None
    try:
        container = stack.enter_context(decode.opened(Path(clip.path)))
    except (InputError, OSError):  # the file is gone; whoever wants its pictures will tell
        return None
    streams = [one for one in container.streams.audio if one.codec_context]
    if not streams:
        return None
    if long_pauses(clip.timestamps_s):
        warn("the overlay has no sound, for its pauses are cut")
        return None
    chosen = max(streams, key=lambda one: disposition(one) & DEFAULT)
    if len(streams) > 1:
        every = container.streams.audio
        number = every.index(chosen) + 1
        warn(f"of {len(every)} audio tracks number {number} is the overlay's sound")
    sound = Sound(container, chosen, float(clip.timestamps_s[0]), warn)
    stack.callback(sound.close)
    return sound
