"""A clip's frames are read once more at the size of its source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import media
from samotion.clips.source import frames_at_source
from samotion.clips.video import read_clip
from samotion.errors import InputError


@pytest.mark.parametrize("max_frames", [None, 3])
@pytest.mark.parametrize("folder", [False, True])
def test_frames_are_those_of_the_source(
    tmp_path: Path, folder: bool, max_frames: int | None
) -> None:
    pictures = media.quadrants(6)
    path = (
        media.write_images(tmp_path / "frames", pictures)
        if folder
        else media.write_video(tmp_path / "a.mkv", pictures, "ffv1", "bgr0")
    )
    clip = read_clip(path, max_frames=max_frames, long_side_px=32)
    assert clip.frames.shape[1:3] == (24, 32)
    found = np.stack(list(frames_at_source(clip)))
    np.testing.assert_array_equal(found, pictures[clip.indices])


def test_a_turned_video_comes_upright(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", media.quadrants(3))
    media.set_display_matrix(path, 0, 1, -1, 0)
    clip = read_clip(path, long_side_px=32)
    assert clip.source_hw == (64, 48)
    assert {frame.shape for frame in frames_at_source(clip)} == {(64, 48, 3)}


def test_frames_of_an_array_are_its_own_or_enlarged() -> None:
    pictures = media.quadrants(3)
    assert all(
        (a == b).all() for a, b in zip(frames_at_source(read_clip(pictures)), pictures, strict=True)
    )
    (first, *_) = frames_at_source(read_clip(pictures, long_side_px=32))
    assert first.shape == (48, 64, 3) and abs(first[8, 8].astype(int) - pictures[0, 8, 8]).max() < 3


def test_a_source_that_is_gone_or_shorter_is_named(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", media.quadrants(6))
    clip, whole = read_clip(path, long_side_px=32), read_clip(path)
    media.write_video(path, media.quadrants(4))
    with pytest.raises(InputError, match="was changed or cut since it was read first"):
        list(frames_at_source(clip))
    with pytest.raises(InputError, match="has 4 of 6 frames now"):
        list(frames_at_source(replace(clip, file=None)))
    path.unlink()
    with pytest.raises(InputError, match="once more: No such file"):
        list(frames_at_source(clip))
    assert len(list(frames_at_source(whole))) == 6, "these are held"


def test_a_picture_that_has_another_size_now_is_named(tmp_path: Path) -> None:
    folder = media.write_images(tmp_path / "frames", media.quadrants(3))
    clip = read_clip(folder, long_side_px=32)
    last = sorted(folder.iterdir())[-1]
    cv2.imwrite(str(last), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(InputError, match=rf"{last.name}' is 30x20 now, and was 64x48"):
        list(frames_at_source(clip))
    last.unlink()
    with pytest.raises(InputError, match=rf"{last.name}' once more: No such file"):
        list(frames_at_source(clip))


def test_a_file_that_only_grew_is_the_same(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.ts", media.quadrants(6))
    clip = read_clip(path, long_side_px=32)
    with path.open("ab") as file:
        file.write(media.write_video(tmp_path / "b.ts", media.quadrants(4)).read_bytes())
    assert len(list(frames_at_source(clip))) == len(clip.frames)
