"""overlay.mp4: the clip with what was found drawn on it, as H.264 for any browser, at the source's
size and times and with its sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from samotion.clips.source import frames_at_source
from samotion.clips.times import MAX_PAUSE_S
from samotion.errors import is_disk_error, reason
from samotion.results.colours import palette
from samotion.results.drawing import (
    around_largest_piece,
    boxes_of,
    draw,
    draw_box,
    draw_name,
    draw_trails,
)
from samotion.results.film import PLAIN, Kind, Look, long_pauses, look_of, write_film
from samotion.results.material import Material
from samotion.results.record import OVERLAY
from samotion.results.result import Result
from samotion.results.sound import Sound, sound_of
from samotion.results.windows import TrackWindow, at_source, windows_of
from samotion.tracks.records import Tracks

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


TRAIL_FRAMES = 12
MAX_SIDE_PX = 4096  # of H.264 that browsers and phones play
LARGE_PX = 2_500_000  # of a frame: from here on encoding is to be fast
# without B-frames: with them some readers take a clip with a long last pause for much shorter
FILE = {"crf": "20", "preset": "veryfast", "bf": "0"}
LARGE_FILE = {"crf": "22", "preset": "superfast", "bf": "0"}


def files(material: Material) -> list[str]:
    """One file."""
    return [OVERLAY]


def write(material: Material) -> None:
    """Write the overlay, with a warning where its pauses are cut."""
    clip = material.result.clip
    if cut := long_pauses(clip.timestamps_s):
        material.warn(
            f"pauses of more than {MAX_PAUSE_S:.0f} s between frames are cut to that in the"
            f" overlay ({cut})"
        )
    with sound_of(clip, material.warn) as sound:
        if sound and _has_sound(material, sound):
            return
    _write(material, None)


def _has_sound(material: Material, sound: Sound) -> bool:
    """Whether the overlay is there with its sound; a sound that no film takes costs itself only."""
    try:
        _write(material, sound)
    except Exception as error:
        if is_disk_error(error):
            raise
        material.warn(f"the overlay has no sound ({type(error).__name__}: {reason(error)})")
        return False
    return True


def _write(material: Material, sound: Sound | None) -> None:
    result = material.result
    frames, labels = frames_at_source(result.clip), material.labels()
    pictures = drawn(result, frames, labels, material.target.overlay)
    path = material.target.tree / OVERLAY
    write_overlay(path, pictures, result.clip.timestamps_s, sound, look_of(result.clip))


def write_overlay(
    path: Path,
    pictures: Iterable[np.ndarray],
    timestamps_s: np.ndarray,
    sound: Sound | None = None,
    look: Look = PLAIN,
) -> None:
    """Write an MP4 (H.264, yuv420p, faststart) of pictures (H,W,3) uint8, each shown at its own
    time, as `write_film` does.

    Odd sizes grow by one repeated row or column, larger ones than `MAX_SIDE_PX` shrink to it.
    """
    whole = iter(pictures)
    first = next(whole)
    height, width = _even_hw(first.shape[:2])
    kind = Kind("mp4", "libx264", "yuv420p", FILE if height * width < LARGE_PX else LARGE_FILE)
    fitted = (_fitted(picture, (height, width)) for picture in chain([first], whole))
    write_film(path, kind, (height, width), fitted, timestamps_s, sound, look)


def drawn(
    result: Result,
    frames: Iterable[np.ndarray],
    labels: Iterable[np.ndarray],
    layers: tuple[str, ...],
) -> Iterator[np.ndarray]:
    """Each of `frames` (H,W,3) with its `labels` (H,W), at the source's size, with the `layers` on
    it.
    """
    trails = Trails(result) if "trails" in layers else None
    colour_of = palette()
    for t, (frame, own) in enumerate(zip(frames, labels)):
        picture = draw(frame, own, colour_of) if "masks" in layers else frame
        if picture is frame:
            picture = np.array(frame)
        if trails:
            trails.draw(picture, t, colour_of)
        _draw_objects(picture, result, t, layers, colour_of)
        yield np.hstack([frame, picture]) if "beside" in layers else picture


def _draw_objects(
    picture: np.ndarray, result: Result, t: int, layers: tuple[str, ...], colour_of: np.ndarray
) -> None:
    """Boxes of all objects, then their names above their largest pieces, into the picture of frame
    `t`.
    """
    scores = {one.id: one.score for one in result.objects}
    seen = result.labels[t], list(scores), result.clip.source_hw
    if "boxes" in layers:
        for object_id, box in boxes_of(*seen).items():
            draw_box(picture, box, _colour(colour_of, object_id))
    if not {"ids", "score"} & {*layers}:
        return
    for object_id, piece in boxes_of(*seen, around=around_largest_piece).items():
        parts = [(str(object_id), "ids"), (f"{scores[object_id]:.2f}", "score")]
        text = "  ".join(word for word, layer in parts if layer in layers)
        draw_name(picture, text, piece, _colour(colour_of, object_id))


class Trails:
    """Where the tracks of objects have been, in px of the source."""

    def __init__(self, result: Result) -> None:
        """Of all objects."""
        self._result = result
        self._windows = windows_of(result)
        self._window: TrackWindow | None = None
        self._next: TrackWindow | None = next(self._windows, None)

    def draw(self, picture: np.ndarray, frame: int, colour_of: np.ndarray) -> None:
        """Draw those that are visible in a frame, into the picture; frames come in order."""
        while self._next and self._next.first <= frame:
            self._window = self._owned(self._next)
            self._next = next(self._windows, None)
        window = self._window
        if window is None or frame >= window.end:
            return
        place = frame - window.first
        start = max(0, place - TRAIL_FRAMES)
        for label in np.unique(window.owners).tolist():
            own = np.flatnonzero((window.owners == label) & window.tracks.visible[:, place])
            lines = [_trail(window.tracks, track, start, place) for track in own.tolist()]
            draw_trails(picture, lines, _colour(colour_of, label))

    def _owned(self, window: TrackWindow) -> TrackWindow:
        """A window's tracks that belong to objects, in px of the source."""
        own = at_source(window.take(window.owners > 0), self._result.clip)
        visible = own.tracks.visible & np.isfinite(own.tracks.xy).all(axis=-1)
        return replace(own, tracks=replace(own.tracks, visible=visible))


def _trail(tracks: Tracks, track: int, start: int, frame: int) -> np.ndarray:
    """A track's last visible points without a gap, (K,2)."""
    hidden = np.flatnonzero(~tracks.visible[track, start:frame])
    first = start + int(hidden[-1]) + 1 if len(hidden) else start
    points: np.ndarray = tracks.xy[track, first : frame + 1]
    return points


def _colour(colour_of: np.ndarray, label: int) -> tuple[int, int, int]:
    red, green, blue = colour_of[label].tolist()
    return red, green, blue


def _even_hw(hw: tuple[int, ...]) -> tuple[int, int]:
    """The size of a film for pictures of a size."""
    scale = min(1.0, MAX_SIDE_PX / max(hw))
    height, width = (max(1, round(side * scale)) for side in hw)
    return height + height % 2, width + width % 2


def _fitted(picture: np.ndarray, hw: tuple[int, int]) -> VideoFrame:
    import av

    height, width = hw
    below, right = height - picture.shape[0], width - picture.shape[1]
    if below < 0 or right < 0:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    elif below or right:
        picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
