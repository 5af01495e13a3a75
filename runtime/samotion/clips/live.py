"""Live sources: cameras, networks, raw frames on standard input, and files played as if they were
one of these.
"""

from __future__ import annotations

import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from samotion.clips.decode import FORMATS, max_pixels
from samotion.clips.sizes import check_size
from samotion.clips.stream import VideoFile
from samotion.clips.times import MAX_PAUSE_S
from samotion.clips.video import FOLDER_FPS, open_clip
from samotion.errors import InputError, UsageError

Item = tuple[np.ndarray, float]  # a frame (H,W,3) uint8 RGB, and when it was taken, in s
Read = Callable[[], Item | None]  # the next one; None at the end

CAMERA = re.compile(r"[0-9]{1,4}")
NETWORK = re.compile(r"(rtsps?|rtp|udp)://", re.IGNORECASE)
OPEN_S, READ_S = 15.0, 15.0  # how long a network may be silent
PICTURE_S = 60.0  # how long it may send what cannot be decoded


class Newest:
    """Frames from a source that does not wait, one after the other: when several have come since
    the last one was taken, the newest wins and the others are `dropped`.

    `read` gives the next frame of the source with its time, None at its end; it is called in a
    thread of its own, at once, so that no camera waits for engines to be opened; else from the
    first frame that is asked for. `number`: of the frame taken last, among all that came.
    """

    def __init__(self, read: Read, at_once: bool = True) -> None:
        self.came = self.dropped = 0
        self.number = -1
        self._read = read
        self._held: Item | None = None
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if at_once:
            self._thread.start()

    def _work(self) -> None:
        try:
            while not self._stopped and (item := self._read()) is not None:
                with self._changed:
                    self.came += 1
                    self.dropped += self._held is not None
                    self._held = item
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self) -> Item | None:
        """The newest frame, as soon as there is one; None at the end. Raises what `read` raised."""
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._ended)
            item, self._held = self._held, None
            self.number = self.came - 1
        if item is None and self._error is not None:
            raise self._error
        return item

    def stop(self) -> None:
        """Read no more. A source that is being read just now is closed as soon as that ends."""
        self._stopped = True
        if self._thread.ident is not None:
            self._thread.join(timeout=1)
        self._read = lambda: None


class EachOne:
    """Frames of a source that waits; none is dropped."""

    dropped = 0

    def __init__(self, read: Read) -> None:
        self._read = read
        self.number = -1

    def take(self) -> Item | None:
        """The next frame; None at the end."""
        self.number += 1
        return self._read()

    def stop(self) -> None:
        """Nothing is to be stopped."""


@dataclass(frozen=True)
class Source:
    """An opened live source: the name of its results, its frames/s as far as they are known,
    warnings, of which some come while it is read, the files' names where it is a folder, and the
    video file where it is one.
    """

    name: str
    fps: float
    frames: Newest | EachOne
    warnings: list[str]
    frame_names: tuple[str, ...] | None = None
    file: VideoFile | None = None

    def take(self) -> Item | None:
        """The next frame to be done; None at the end."""
        return self.frames.take()

    @property
    def number(self) -> int:
        """Of the frame taken last, from 0, those that were dropped counted."""
        return self.frames.number

    @property
    def waits(self) -> bool:
        """Whether the next frame comes when it is asked for."""
        return isinstance(self.frames, EachOne)

    @property
    def dropped(self) -> int:
        """How many frames came faster than they could be done."""
        return self.frames.dropped


class _Opened(NamedTuple):
    """What reads a source, and what is known of it; other fields as of `Source`."""

    name: str
    fps: float
    read: Read
    frame_names: tuple[str, ...] | None = None
    file: VideoFile | None = None


@contextmanager
def open_source(given: str, size: str | None = None, realtime: bool = False) -> Iterator[Source]:
    """Open a camera by its number, `rtsp://` and its like, `-` (raw RGB frames of `size`, as
    640x480, on standard input), or a video file or folder, which `realtime` plays at its own pace.

    Raises UsageError for a size that is missing or wrong, InputError for what cannot be opened.
    """
    if (given == "-") != (size is not None):
        raise UsageError(
            "raw frames need --size, and no other source takes it; as in: samotion-live - --size"
            " 640x480"
        )
    warnings: list[str] = []
    name, fps, read, frame_names, file = _reader(given, size, warnings)
    frames: Newest | EachOne
    if given == "-" or CAMERA.fullmatch(given) or NETWORK.match(given):
        frames = Newest(read)
    elif realtime:
        frames = Newest(_paced(read), at_once=False)
    else:
        frames = EachOne(read)
    del read  # what it reads is closed when nothing holds it any more
    if file is not None:
        warnings.extend(file.facts.warnings)
    try:
        yield Source(name, fps, frames, warnings, frame_names, file)
    finally:
        frames.stop()


def _reader(given: str, size: str | None, warnings: list[str]) -> _Opened:
    """What reads a source, and what is known of it."""
    if given == "-":
        hw = _size(size or "")
        if sys.stdin is None:
            raise InputError("standard input is closed; expected raw RGB frames on it")
        # below the buffer: a thread that waits in it would make Python abort at its end
        file = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        return _Opened("live", FOLDER_FPS, _raw(file, hw, warnings))
    if CAMERA.fullmatch(given):
        return _Opened(f"camera-{given}", *_camera(int(given)))
    if NETWORK.match(given):
        return _Opened("live", *_network(given, warnings))
    stream = open_clip(given, long_side_px=None)
    read = _file(stream.open().scaled, 1 / stream.fps)
    return _Opened(stream.name, stream.fps, read, stream.frame_names, stream.file)


def _size(text: str) -> tuple[int, int]:
    """640x480 as (480, 640)."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not int(match[1]) * int(match[2]):
        raise UsageError(f"--size is {text!r}; expected WIDTHxHEIGHT, as 640x480")
    hw = int(match[2]), int(match[1])
    check_size(hw, "--size")
    return hw


def _raw(file: Any, hw: tuple[int, int], warnings: list[str]) -> Read:
    """Raw RGB frames, one after the other. A part of one at the end is a warning, and an InputError
    where it is all that came.
    """

    def frames() -> Iterator[Item]:
        start = time.monotonic()
        came = 0
        while True:
            data = bytearray(hw[0] * hw[1] * 3)
            rest = memoryview(data)
            while rest:
                count = file.readinto(rest)
                if count is None:  # whoever opened it did so without waiting
                    select.select([file], [], [])
                    continue
                if not count:
                    tell_rest(came, len(data) - len(rest))
                    return
                rest = rest[count:]
            came += 1
            yield np.frombuffer(data, np.uint8).reshape(*hw, 3), time.monotonic() - start

    def tell_rest(came: int, byte_count: int) -> None:
        size = f"{hw[1]}x{hw[0]} has {hw[0] * hw[1] * 3:,}; is --size right?"
        if byte_count and not came:
            raise InputError(f"only {byte_count:,} bytes came, and a frame of {size}")
        if byte_count:
            warnings.append(f"the last {byte_count:,} bytes are no frame: one of {size}")

    return partial(next, frames(), None)


def _file(scaled: Any, period_s: float) -> Read:
    """Frames of a file; one without a time comes a period after the last one."""

    def items() -> Iterator[Item]:
        time_s = -period_s
        for frame in scaled:
            own_s = scaled.times_s[-1]
            time_s = float(own_s) if np.isfinite(own_s) else time_s + period_s
            yield frame, time_s

    return partial(next, items(), None)


def _paced(read: Read) -> Read:
    """The same frames, each as long after the last one as its time says, `MAX_PAUSE_S` at most."""

    def items() -> Iterator[Item]:
        last_s = due_s = None  # by the source's clock and by ours; broadcasts begin hours in
        while (item := read()) is not None:
            if last_s is None or due_s is None:
                due_s = time.monotonic()
            else:
                due_s += min(max(item[1] - last_s, 0.0), MAX_PAUSE_S)
            last_s = item[1]
            time.sleep(max(0.0, due_s - time.monotonic()))
            yield item

    return partial(next, items(), None)


def _camera(number: int) -> tuple[float, Read]:
    """Frames/s of a camera, and what reads it."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error tells
    camera = cv2.VideoCapture(number)
    cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise InputError(f"camera {number} cannot be opened; is it there, and free?")
    start = time.monotonic()

    def read() -> Item | None:
        there, bgr = camera.read()
        if not there:
            raise InputError(f"camera {number} gives no more frames")
        return np.ascontiguousarray(bgr[..., ::-1]), time.monotonic() - start

    return float(camera.get(cv2.CAP_PROP_FPS)) or FOLDER_FPS, read


def _network(address: str, warnings: list[str]) -> tuple[float, Read]:
    """Frames/s of a stream from a network, and what reads it. Its address may hold a password, and
    no error repeats it.
    """
    import av

    scheme, _, rest = address.partition("://")
    address = f"{scheme.lower()}://{rest}"  # as FFmpeg spells it
    how = _how(scheme.lower())
    start = time.monotonic()
    try:
        container = _aside(lambda: av.open(address, timeout=(OPEN_S, READ_S), **how))
    except (av.error.FFmpegError, OSError) as error:
        reason = _reason(error, time.monotonic() - start, OPEN_S)
        raise InputError(f"the stream cannot be opened ({reason})") from None
    if not container.streams.video:
        raise InputError("the stream holds no video")
    stream = container.streams.video[0]
    stream.codec_context.options = max_pixels()
    pictures = _pictures(container.demux(stream), warnings)
    start = time.monotonic()

    def read() -> Item | None:
        asked = time.monotonic()
        try:
            for picture in pictures:
                return picture.to_ndarray(format="rgb24"), time.monotonic() - start
        except av.error.EOFError:
            pass
        except (av.error.FFmpegError, OSError) as error:
            reason = _reason(error, time.monotonic() - asked, READ_S)
            raise InputError(f"the stream broke off ({reason})") from None
        return None

    return float(stream.average_rate or FOLDER_FPS), read


def _how(scheme: str) -> dict[str, Any]:
    """Options for PyAV to open a stream with. What comes by UDP is no playlist, nor anything else
    that names other addresses.
    """
    if scheme.startswith("rtsp"):
        return {"options": {"rtsp_transport": "tcp"}}
    only = {"protocol_whitelist": "udp,rtp,rtcp", "format_whitelist": f"{FORMATS},rtp,mpjpeg"}
    return {"container_options": only}


def _pictures(packets: Iterator[Any], warnings: list[str]) -> Iterator[Any]:
    """Pictures of a stream. Packets that cannot be decoded are counted in the one line of
    `warnings`: some are, where a network loses others, or before the first whole picture. Where
    nothing else comes for long their error is raised.
    """
    import av

    lost, since = 0, time.monotonic()
    for packet in packets:
        try:
            for picture in packet.decode():
                yield picture
                since = time.monotonic()
        except av.error.FFmpegError:
            if time.monotonic() - since > PICTURE_S:
                raise
            lost += 1
            warnings[:] = [f"{lost} packet{'s' * (lost != 1)} of the stream cannot be decoded"]


def _reason(error: Exception, waited_s: float, most_s: float) -> str:
    """Why a network gave nothing, without its address."""
    import av

    if waited_s >= most_s or isinstance(error, av.error.ExitError):
        return f"it was silent for {most_s:.0f} s"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _aside(work: Callable[[], Any]) -> Any:
    """What `work` gives, done in a thread, so that Ctrl-C need not wait for it."""
    answer: Future[Any] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return answer.result()
