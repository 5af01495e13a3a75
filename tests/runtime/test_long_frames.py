"""The frames of a long clip's result: its own, an array for those who ask for one, and to be pickled."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import long_scene, media
from samotion import Settings, depth, dino, segment_clip
from samotion.clips.video import open_clip, read_clip
from samotion.errors import InputError
from samotion.results.result import Result

LONG, SHORT = Settings(window_frames=16, max_tracks=120), Settings(max_tracks=120)
COUNT = 40


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Of a folder in several windows."""
    source = long_scene.write_clip(tmp_path_factory.mktemp("in") / "square", COUNT)
    return segment_clip(os.fspath(source), long_scene.engines(), LONG)


@pytest.mark.parametrize("settings", [LONG, SHORT])
def test_what_is_written_into_an_array_later_is_no_part_of_the_result(settings: Settings) -> None:
    ring = long_scene.frames(COUNT)
    found = segment_clip(ring, long_scene.engines(), settings)
    before = found.plot(0)
    ring[:] = 0
    np.testing.assert_array_equal(found.plot(0), before)
    np.testing.assert_array_equal(found.clip.frames, long_scene.frames(COUNT))


def test_a_clip_that_was_read_is_not_copied_again() -> None:
    clip = read_clip(long_scene.frames(COUNT))
    assert segment_clip(clip, long_scene.engines(), LONG).clip is clip


def test_frames_that_are_not_held_become_an_array(result: Result) -> None:
    frames, wanted = result.clip.frames, long_scene.frames(COUNT)
    assert not isinstance(frames, np.ndarray)
    held = np.asarray(frames)
    assert held.dtype == np.uint8 and np.asarray(frames, np.float32).dtype == np.float32
    np.testing.assert_array_equal(held, wanted)
    assert np.mean(frames) == wanted.mean()
    with pytest.raises(ValueError, match="not held"):
        frames.__array__(copy=False)


def test_frames_that_are_too_many_to_be_held_are_told(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samotion.clips.sizes.MAX_CLIP_BYTES", 1000)
    with pytest.raises(InputError, match="40 frames of 80x48 take"):
        np.asarray(result.clip.frames)


@pytest.mark.parametrize("settings", [LONG, SHORT])
def test_the_clip_of_a_long_result_is_a_clip(result: Result, settings: Settings) -> None:
    again = segment_clip(result.clip, long_scene.engines(), settings)
    whole = segment_clip(long_scene.frames(COUNT), long_scene.engines(), settings)
    np.testing.assert_array_equal(again.labels, whole.labels)
    assert isinstance(again.clip.frames, np.ndarray) == (settings is SHORT), "read once"


@pytest.mark.parametrize("stage", [depth.estimate, dino.describe])
def test_stages_take_the_frames_of_a_long_result(result: Result, stage: Any) -> None:
    engines = long_scene.engines()
    wanted = stage(engines, long_scene.frames(COUNT))
    np.testing.assert_array_equal(stage(engines, result.clip.frames), wanted)


def test_a_long_result_can_be_pickled(result: Result) -> None:
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.clip.frames, long_scene.frames(COUNT))
    np.testing.assert_array_equal(again.plot(3), result.plot(3))


def test_streams_can_be_pickled(tmp_path: Path) -> None:
    video = media.write_video(tmp_path / "a.mkv", media.quadrants(12), "ffv1", "bgr0")
    for source in (video, media.quadrants(12)):
        again = pickle.loads(pickle.dumps(open_clip(source)))
        np.testing.assert_array_equal(again.read().frames, media.quadrants(12))
