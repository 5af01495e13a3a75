"""Clips that were read already, and frames that are read anew."""

from __future__ import annotations

import copy
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import media
from samotion.clips.stream import Frames, fitted
from samotion.clips.video import open_clip, read_clip
from samotion.errors import InputError, SamotionError

COUNT, SIDE = 12, 1000


def test_a_clip_has_no_more_frames_and_pixels_than_are_asked_for(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "frames", media.quadrants(6))
    clip = read_clip(folder)
    assert fitted(clip, None, SIDE) is clip
    few = fitted(clip, 3, 32)
    again = read_clip(folder, max_frames=3, long_side_px=32)
    np.testing.assert_array_equal(few.frames, again.frames)
    np.testing.assert_array_equal(few.indices, again.indices)
    np.testing.assert_array_equal(few.timestamps_s, again.timestamps_s)
    assert few.frame_names == tuple(clip.frame_names[k] for k in few.indices)  # type: ignore[index]
    assert few.source_hw == clip.source_hw and "every 2nd is used" in few.warnings[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda clip: {"frames": clip.frames[:3]}, "3 frames, and 6 numbers"),
        (lambda clip: {"indices": clip.indices[:3]}, "6 frames, and 3 numbers"),
        (lambda clip: {"frames": clip.frames / 255}, "float64"),
        (lambda clip: {"frames": list(clip.frames)}, "list"),
        (lambda clip: {"frames": clip.frames[..., 0]}, "expected uint8"),
        (lambda clip: {"source_hw": (8, 64)}, "64x8; expected at least 16x16"),
    ],
)
def test_what_is_no_clip_is_refused(change: Any, words: str) -> None:
    clip = read_clip(media.quadrants(6))
    with pytest.raises(SamotionError, match=words):
        fitted(replace(clip, **change(clip)), None, SIDE)


def test_one_frame_is_no_clip() -> None:
    clip = read_clip(media.quadrants(6))
    beside = clip.indices[:1], clip.timestamps_s[:1]
    one = replace(clip, frames=clip.frames[:1], indices=beside[0], timestamps_s=beside[1])
    with pytest.raises(InputError, match="motion needs at least 2 frames"):
        fitted(one, None, SIDE)


def frames_of(path: Path) -> Frames:
    stream = open_clip(path)
    return Frames(stream, stream.read().frames.shape)


def test_threads_may_ask_for_frames(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", media.quadrants(COUNT), "ffv1", "bgr0")
    frames = frames_of(path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(frames.__getitem__, [*range(COUNT)] * 3))
    np.testing.assert_array_equal(found, [*media.quadrants(COUNT)] * 3)


def test_a_file_that_was_changed_is_told_from_the_first_frame_on(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", media.quadrants(COUNT), "ffv1", "bgr0")
    frames = frames_of(path)
    media.write_video(path, media.quadrants(COUNT // 2), "ffv1", "bgr0")
    for ask in (lambda: frames[0], lambda: frames[0], lambda: list(frames)):
        with pytest.raises(InputError, match="was changed or cut since"):
            ask()


def test_a_source_with_fewer_or_smaller_frames_is_told() -> None:
    pictures = media.quadrants(COUNT)
    stream = open_clip(pictures)
    frames = Frames(stream, (COUNT + 1, *pictures.shape[1:]))
    np.testing.assert_array_equal(frames[COUNT - 1], pictures[-1])
    for _ in range(2):
        with pytest.raises(InputError, match=f"has {COUNT} of {COUNT + 1} frames now"):
            frames[COUNT]
    np.testing.assert_array_equal(frames[0], pictures[0])
    with pytest.raises(InputError, match="frames are 64x48 now"):
        Frames(stream, (COUNT, 24, 32, 3))[0]


def test_frames_are_told_where_they_are_too_small(tmp_path: Path) -> None:
    strip = np.zeros((3, 16, 3200, 3), np.uint8)
    assert "worked on at 1000x5 px" in read_clip(strip).warnings[0]
    assert not read_clip(strip, long_side_px=None).warnings
    assert fitted(read_clip(strip), None, SIDE).frames.shape == (3, 5, 1000, 3)


def test_frames_can_be_copied() -> None:
    pictures = media.quadrants(COUNT)
    frames = Frames(open_clip(pictures), pictures.shape)
    for one in (copy.copy(frames), copy.deepcopy(frames)):
        np.testing.assert_array_equal(one[1], frames[1])


def test_frames_whose_file_is_open_are_gone_when_nobody_holds_them(tmp_path: Path) -> None:
    frames = frames_of(media.write_video(tmp_path / "a.mp4", media.quadrants(COUNT)))
    assert frames[0].any()
    held = weakref.ref(frames)
    del frames
    assert held() is None
