"""A long clip window by window: frames that overlap, and scene cuts that part them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

OVERLAP_FRAMES = 32  # that neighbours share, or a quarter of shorter windows


class Window(NamedTuple):
    """Frames that are worked on together.

    `start`: place of the first one in the clip; `frames` (T,H,W,3) uint8, which hold until the
    next window is asked for; the first `shared` are the last ones of the window before, 0 where a
    scene begins. `last`: its scene ends here.
    """

    start: int
    frames: np.ndarray
    shared: int
    last: bool

    @property
    def answered(self) -> slice:
        """Its frames whose masks are its own: neighbours part the frames they share."""
        first = self.shared - self.shared // 2
        behind = 0 if self.last else overlap_of(len(self.frames)) // 2
        return slice(first, len(self.frames) - behind)


def overlap_of(window_frames: int) -> int:
    """How many frames neighbours share."""
    return max(1, min(OVERLAP_FRAMES, window_frames // 4))


def windows(
    marked: Iterable[tuple[np.ndarray, bool]], window_frames: int, start: int = 0, shared: int = 0
) -> Iterator[Window]:
    """The windows of frames (H,W,3) that come with whether a scene begins with them; see
    `samotion.clips.cuts.mark_cuts`.

    `start`: place in the clip of the first one, which shares so many with one before; frames before
    it are passed over. A scene's windows have `window_frames` each but for its last one.
    """
    buffer: np.ndarray | None = None
    begin, count = start, 0
    overlap = overlap_of(window_frames)
    for place, (frame, is_cut) in enumerate(marked):
        if place < start:
            continue
        if buffer is None:
            buffer = np.empty((window_frames, *frame.shape), np.uint8)
        if is_cut and count:
            yield Window(begin, buffer[:count], shared, last=True)
            begin, count, shared = place, 0, 0
        elif count == window_frames:
            yield Window(begin, buffer, shared, last=False)
            buffer[:overlap] = buffer[count - overlap :]
            begin, count, shared = place - overlap, overlap, overlap
        buffer[count] = frame
        count += 1
    if buffer is not None and count:
        yield Window(begin, buffer[:count], shared, last=True)
