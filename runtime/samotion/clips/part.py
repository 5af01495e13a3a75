"""A part of a clip, between two times, and what of a video file is decoded for it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from samotion.clips.sizes import check_count, every_kth, left_out
from samotion.clips.survey import HIDES_FRAMES, Facts, seconds

if TYPE_CHECKING:
    from av.container import InputContainer

# times are typed as they are read: 1.033 for the frame at 31/30 s
ROUNDED_S = 0.0006
SAME_S = 1e-6  # between times of the same ticks


def _slack_s(times_s: np.ndarray) -> float:
    """How far a time may be off, less than half of what usually lies between two frames."""
    between_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else math.inf
    return max(SAME_S, min(ROUNDED_S, 0.4 * between_s))


@dataclass(frozen=True)
class Part:
    """From `start_s` on, to before `end_s`, in s from the clip's first frame; None: no bound."""

    start_s: float | None = None
    end_s: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start_s is None and self.end_s is None

    def rows(self, times_s: np.ndarray) -> range:
        """Which of the frames that show at increasing times (T,) belong to it."""
        since_s = times_s - times_s[:1] + _slack_s(times_s)
        first, end = 0, len(times_s)
        if self.start_s is not None:
            first = int(np.searchsorted(since_s, self.start_s))
        if self.end_s is not None:
            end = int(np.searchsorted(since_s, self.end_s))
        return range(first, end)

    def told(self, length_s: float) -> str:
        """How an error names it, of a clip so long; empty for a whole one."""
        if self.is_whole:
            return ""
        start = "" if self.start_s is None else f"from {self.start_s:g} s "
        end = "on" if self.end_s is None else f"to {self.end_s:g} s"
        return f"{start}{end}, of {length_s:.2f} s"


WHOLE = Part()


def chosen(
    times_s: np.ndarray, part: Part, max_frames: int | None, where: str
) -> tuple[range, list[str]]:
    """Which frames of a clip that show at `times_s` (T,) are taken, and a line if some of the part
    are not. Raises InputError for too few.
    """
    rows = _rows(times_s, part, where)
    step = every_kth(len(rows), max_frames)
    return rows[::step], left_out(len(rows), step)


def _rows(times_s: np.ndarray, part: Part, where: str) -> range:
    """The frames of a part. Raises InputError for too few."""
    rows = part.rows(times_s)
    check_count(len(rows), where, part.told(float(times_s[-1] - times_s[0])))
    return rows


@dataclass(frozen=True, eq=False)
class Span:
    """Which pictures of a video file are read, and where decoding begins for them.

    `packets` of the track are passed over; `number`: of the first picture behind them, in the file.
    Of the pictures from there on, `skipped` are decoded and not read, and none after `count`, None:
    all are. `times_s` (count,): when they show by their packets, increasing, which tells what place
    a picture has; None: it has that in which it comes.
    """

    packets: int = 0
    number: int = 0
    skipped: int = 0
    count: int | None = None
    times_s: np.ndarray | None = None

    def facts(self, facts: Facts) -> Facts:
        """What is known of a file, with as many frames as are read of it."""
        count = facts.frame_count if self.count is None else self.count
        return replace(facts, frame_count=count - self.skipped)

    def place(self, time_s: float, expected: int) -> int:
        """The place of a picture that shows at `time_s`, the first of those that do, -1 before all;
        the `expected` one where that is unknown (NaN).
        """
        if self.times_s is None or math.isnan(time_s):
            return expected
        last = int(np.searchsorted(self.times_s, time_s + SAME_S)) - 1
        return last if last < 0 else int(np.searchsorted(self.times_s, self.times_s[last]))


WHOLE_FILE = Span()


def span_of(container: InputContainer, facts: Facts, part: Part, where: str) -> Span:
    """What is decoded for a part of an open file, told by the packets of its track. Raises
    InputError for a part of too few frames.
    """
    packets = _packets(container, facts.track)
    times_s = np.arange(facts.frame_count) / facts.fps
    if packets.have_times:
        times_s = np.sort(packets.times_s[packets.is_shown])
    rows = _rows(times_s, part, where)
    if not packets.have_times:
        return Span(skipped=rows.start, count=rows.stop)
    begin = first = 0
    if facts.codec not in HIDES_FRAMES:
        # later than all before it, so that its time tells its number
        latest_s = np.maximum.accumulate(packets.times_s)
        is_later = np.append(True, latest_s[1:] > latest_s[:-1])
        before = packets.is_key & is_later & (packets.times_s <= times_s[rows.start])
        begin = int(np.flatnonzero(before)[-1]) if before.any() else 0
        first = int(np.searchsorted(times_s, packets.times_s[begin]))
    # one more, by which a picture behind the last is known
    shown_s = times_s[first : rows.stop + 1]
    passed = packets.numbers[begin] if begin else 0
    return Span(passed, first, rows.start - first, rows.stop - first, shown_s)


class _Packets(NamedTuple):
    """A track's packets in the file's order: when each is to be shown, in s, and what it is."""

    numbers: list[int]  # among all of the track, empty ones too
    times_s: np.ndarray
    is_key: np.ndarray
    is_shown: np.ndarray
    have_times: bool


def _packets(container: InputContainer, track: int) -> _Packets:
    import av

    rows: list[tuple[int, float, float, bool, bool]] = []
    with suppress(av.error.FFmpegError):  # reading breaks off, as decoding will
        for number, packet in enumerate(container.demux(container.streams.video[track])):
            if packet.size:
                shows_s, decodes_s = (
                    math.nan if ticks is None else seconds(ticks, packet.time_base)
                    for ticks in (packet.pts, packet.dts)
                )
                rows.append((number, shows_s, decodes_s, packet.is_keyframe, not packet.is_discard))
    numbers, shows, decodes, keys, shown = zip(*rows) if rows else ([], [], [], [], [])
    times_s = np.array(shows, np.float64)
    # AVI has no times, and a clock that is set back, as where recordings are joined, no order
    is_timed = container.format.name != "avi" and not np.isnan(times_s).any()
    have_times = is_timed and any(shown) and not (np.diff(decodes) < 0).any()
    return _Packets(list(numbers), times_s, np.array(keys, bool), np.array(shown, bool), have_times)
