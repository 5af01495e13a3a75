"""The tracker's features of frames that are still being read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion.backends.squares import LANCZOS, resample
from samotion.clips.collect import Collected, Frame, Scaled
from samotion.tracks import features
from samotion.tracks.features import (
    FEATURE_FRAMES,
    ResizedFrames,
    features_of,
    features_while_read,
    resizing,
)
from samotion.tracks.queries import resize_for_tracking

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

    def means(frames: np.ndarray) -> dict[str, Any]:
        sizes.append(len(frames))
        return {"lowres": frames.mean(axis=(2, 3), dtype=np.float32)}

    engines: Any = FakeEngines(tracks_features=means)
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
    steps: list[tuple[int, int]] = []
    parts = clip.parts(FEATURE_FRAMES)
    assert features_while_read(engines, parts, COUNT - 1, lambda *step: steps.append(step)) == {}
    assert steps[-1] == (COUNT, COUNT)
    np.testing.assert_array_equal(clip.frames, frames)


def gpu(*engines_there: str) -> tuple[Any, list[tuple[int, ...]]]:
    """Engines on a GPU, and the shapes of the taps that its squares were made with."""
    calls: list[tuple[int, ...]] = []

    def resize(frames: np.ndarray, index: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
        calls.append(index.shape)
        side = index.shape[1]
        return {"resized": np.stack([resample(one, side, LANCZOS) for one in frames])}

    engines: Any = FakeEngines(sam2_resize=resize)
    engines.device = "tensorrt"
    entry = SimpleNamespace(inputs={"index": [2, "N", "K"]})
    engines.manifest = SimpleNamespace(engines=dict.fromkeys(engines_there, entry))
    return engines, calls


def test_a_gpu_makes_the_trackers_squares_itself(frames: np.ndarray) -> None:
    engines, calls = gpu("sam2_resize")
    rows = ResizedFrames(frames, 64, resizing(engines))[2:5]
    wanted = np.stack([resample(frame, 64, LANCZOS) for frame in frames[2:5]])
    np.testing.assert_array_equal(rows, wanted)
    assert [shape[:2] for shape in calls] == [(2, 64)]


def test_the_host_does_it_without_the_engine_for_giants_and_for_squares_of_one_size(
    frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, calls = gpu()
    np.testing.assert_array_equal(resizing(without)(frames), resize_for_tracking(frames))
    older, calls = gpu("sam2_resize")
    older.manifest.engines["sam2_resize"].inputs["index"] = [2, 1024, "K"]
    np.testing.assert_array_equal(resizing(older)(frames), resize_for_tracking(frames))
    assert not calls
    engines, calls = gpu("sam2_resize")
    monkeypatch.setattr(features, "LARGEST_TRACKED_PX", 59)
    np.testing.assert_array_equal(resizing(engines)(frames), resize_for_tracking(frames))
    np.testing.assert_array_equal(resizing(engines)(frames[:, :, :40], 40), frames[:, :, :40])
    assert not calls
