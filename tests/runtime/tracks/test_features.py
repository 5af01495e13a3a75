"""The tracker's features of frames that are still being read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion.clips.collect import Collected, Frame, Scaled
from samotion.tracks.features import FEATURE_FRAMES, features_of, features_while_read
from samotion.tracks.queries import ResizedFrames

COUNT = 2 * FEATURE_FRAMES + 3


def collected(frames: np.ndarray, count: int) -> Collected:
    pictures = (Frame(t, t / 24, frame) for t, frame in enumerate(frames))
    return Collected(Scaled(pictures, None, "clip"), count, "clip")


@pytest.fixture
def frames(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (COUNT, 40, 60, 3), np.uint8)


@pytest.mark.parametrize("count", [COUNT, COUNT + 5, COUNT - 5, 2])
def test_frames_come_in_parts_and_all_are_held(frames: np.ndarray, count: int) -> None:
    clip = collected(frames, count)
    parts = [part.copy() for part in clip.parts(FEATURE_FRAMES)]
    assert [len(part) for part in parts] == [FEATURE_FRAMES, FEATURE_FRAMES, 3]
    np.testing.assert_array_equal(np.concatenate(parts), frames)
    np.testing.assert_array_equal(clip.frames, frames)


@pytest.mark.parametrize("count", [COUNT, COUNT + 5])
def test_features_while_frames_are_read_are_those_of_the_clip(
    frames: np.ndarray, count: int
) -> None:
    sizes: list[int] = []

    def features(frames: np.ndarray) -> dict[str, Any]:
        sizes.append(len(frames))
        return {"lowres": frames.mean(axis=(2, 3), dtype=np.float32)}

    engines: Any = FakeEngines(tracks_features=features)
    steps: list[tuple[int, int]] = []
    clip = collected(frames, count)
    parts = clip.parts(FEATURE_FRAMES)
    got = features_while_read(engines, parts, count, lambda *step: steps.append(step))
    whole = slice(0, COUNT)
    wanted = features_of(engines, "tracks_features", ResizedFrames(frames), whole, FEATURE_FRAMES)
    np.testing.assert_array_equal(got["lowres"], wanted["lowres"])
    assert sizes[:3] == sizes[3:] == [FEATURE_FRAMES, FEATURE_FRAMES, 3]
    assert steps == [(FEATURE_FRAMES, count), (2 * FEATURE_FRAMES, count), (COUNT, count)]


def test_a_clip_longer_than_its_header_says_is_read_to_its_end(frames: np.ndarray) -> None:
    """Its features are left to the tracker."""
    engines: Any = FakeEngines(tracks_features=lambda frames: {"lowres": frames})
    clip = collected(frames, COUNT - 1)
    assert features_while_read(engines, clip.parts(FEATURE_FRAMES), COUNT - 1) == {}
    np.testing.assert_array_equal(clip.frames, frames)
