"""Scene cuts: where a clip goes on with another picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

SMALL_WH = (64, 36)  # frames are compared at this size
SHRUNK_WH = (256, 144)  # on the way there: OpenCV's area averages are quick by whole factors alone
BINS = 8  # of each colour channel
COLOURS_CHANGE = 0.25  # of all pixels have other colours after a cut, or more
STRUCTURE_STAYS = 0.8  # correlation of two pictures of one scene, however the light changes
SUDDEN = 3.0  # times as much change as is usual just before
USUAL_FRAMES = 8
LASTS_FRAMES = 3  # a flash or a broken frame is over by then


class _Look(NamedTuple):
    """What is compared of a frame: its share of pixels by colour (B,), and its grey values with
    mean 0 and length 1.
    """

    colours: np.ndarray
    structure: np.ndarray


def mark_cuts(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Each of `frames` (H,W,3) uint8, and whether another scene begins with it.

    A cut changes colours and structure at once, by much more than the frames before it did, and
    for good: LASTS_FRAMES are looked ahead.
    """
    cuts, ahead = Cuts(), deque[np.ndarray]()
    for frame in frames:
        ahead.append(frame)
        if (is_cut := cuts.push(frame)) is not None:
            yield ahead.popleft(), is_cut
    for is_cut in cuts.rest():
        yield ahead.popleft(), is_cut


class Cuts:
    """Says of each frame of a source, LASTS_FRAMES - 1 later, whether another scene begins with
    it.
    """

    def __init__(self) -> None:
        self._usual: deque[float] = deque(maxlen=USUAL_FRAMES)
        self._before: _Look | None = None
        self._ahead: deque[_Look] = deque()

    def push(self, frame: np.ndarray) -> bool | None:
        """Take the next frame (H,W,3) uint8; the answer for the one that is due, None at the
        start.
        """
        self._ahead.append(_look(frame))
        return self._judge() if len(self._ahead) == LASTS_FRAMES else None

    def rest(self) -> Iterator[bool]:
        """The answers for the last frames, after which none come."""
        while self._ahead:
            yield self._judge()

    def _judge(self) -> bool:
        """Whether the first of the frames ahead begins another scene."""
        before = self._before
        if before is None:
            self._before = self._ahead.popleft()
            return False
        differing = [_differ(before, each) for each in self._ahead]
        look = self._ahead.popleft()
        if differing[0] and not all(differing):  # a flash: the frame before it stays the last one
            return False
        self._before, change = look, _colour_change(before, look)
        is_cut = all(differing) and self._is_sudden(change)
        if is_cut:
            self._usual.clear()
        else:
            self._usual.append(change)
        return is_cut

    def _is_sudden(self, change: float) -> bool:
        """Whether it is much more than is usual; False where that is not known yet."""
        return bool(self._usual) and change > SUDDEN * float(np.median(self._usual))


def _look(frame: np.ndarray) -> _Look:
    shrunk = cv2.resize(frame, SHRUNK_WH, interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(shrunk, SMALL_WH, interpolation=cv2.INTER_AREA)
    ranges = [0, 256] * 3
    counts = cv2.calcHist([small], [0, 1, 2], None, [BINS] * 3, ranges).ravel()
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()
    grey -= grey.mean()
    return _Look(counts / counts.sum(), grey / max(float(np.linalg.norm(grey)), 1e-6))


def _colour_change(a: _Look, b: _Look) -> float:
    """The share of pixels whose colours differ."""
    return float(np.abs(a.colours - b.colours).sum()) / 2


def _differ(a: _Look, b: _Look) -> bool:
    """Whether two frames show different scenes."""
    correlation = float(a.structure @ b.structure)
    return _colour_change(a, b) > COLOURS_CHANGE and correlation < STRUCTURE_STAYS
