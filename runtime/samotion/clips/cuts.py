"""Scene cuts: where a clip goes on with another picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

Array = np.ndarray[Any, Any]

SMALL_WH = (64, 36)  # frames are compared at this size
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

    colours: Array
    structure: Array


def mark_cuts(frames: Iterable[Array]) -> Iterator[tuple[Array, bool]]:
    """Each of `frames` (H,W,3) uint8, and whether another scene begins with it.

    A cut changes colours and structure at once, by much more than the frames before it did, and
    for good: LASTS_FRAMES are looked ahead.
    """
    usual: deque[float] = deque(maxlen=USUAL_FRAMES)
    before: _Look | None = None
    ahead: deque[tuple[Array, _Look]] = deque()
    for frame in frames:
        ahead.append((frame, _look(frame)))
        if len(ahead) == LASTS_FRAMES:
            yield _judge(before, ahead, usual)
            before = ahead.popleft()[1]
    while ahead:
        yield _judge(before, ahead, usual)
        before = ahead.popleft()[1]


def _judge(
    before: _Look | None, ahead: deque[tuple[Array, _Look]], usual: deque[float]
) -> tuple[Array, bool]:
    """The first of the frames `ahead`, and whether it begins another scene; what is `usual` is
    kept up to date.
    """
    frame, look = ahead[0]
    if before is None:
        return frame, False
    change = _colour_change(before, look)
    sudden = change > SUDDEN * float(np.median(usual)) if usual else True
    is_cut = sudden and all(_differ(before, later) for _, later in ahead)
    if is_cut:
        usual.clear()
    else:
        usual.append(change)
    return frame, is_cut


def _look(frame: Array) -> _Look:
    small = cv2.resize(frame, SMALL_WH, interpolation=cv2.INTER_AREA)
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
