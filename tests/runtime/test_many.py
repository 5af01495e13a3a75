"""Results of several clips come one by one; a clip that fails costs itself alone."""

from __future__ import annotations

import os
import traceback
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import samotion
from helpers import media
from helpers.half_segmenter import half_segmenter
from samotion import pipeline
from samotion.checks.stages import silent
from samotion.clips import video
from samotion.errors import InputError, UsageError
from samotion.presets import NANO
from samotion.settings import Settings

CLIP = video.read_clip(np.zeros((4, 32, 32, 3), np.uint8))


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two good ones, and a missing one between them."""
    good = [media.write_video(tmp_path / f"{n}.mp4", media.quadrants(4)) for n in "ab"]
    return [good[0], tmp_path / "missing.mp4", good[1]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that are segmented, without nets."""
    names: list[str] = []
    engines: Any = SimpleNamespace(preset=NANO)

    def segment(clip: Any, *_: Any) -> Any:
        names.append(Path(clip).name)
        return half_segmenter(clip, engines, Settings(), silent)

    monkeypatch.setattr(pipeline, "segment_clip", segment)
    return names


def test_results_come_as_they_are_done(clips: list[Path], done: list[str]) -> None:
    failures: dict[str, Exception] = {}
    results = samotion.segment_clips(clips, None, failures=failures)  # type: ignore[arg-type]
    assert done == []
    assert next(results).clip.path == str(clips[0]) and done == ["a.mp4"]
    assert [result.clip.name for result in results] == ["b"]
    assert list(failures) == [str(clips[1])] and isinstance(failures[str(clips[1])], InputError)


def test_a_failure_without_a_table_is_a_warning(clips: list[Path], done: list[str]) -> None:
    with pytest.warns(RuntimeWarning, match=r"missing\.mp4: no such file") as warned:
        results = list(samotion.segment_clips(clips, None))  # type: ignore[arg-type]
    assert len(results) == 2 and len(done) == 3
    assert [one.filename for one in warned] == [__file__]


def test_failures_keep_nothing_of_their_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []

    def deep(frames: np.ndarray) -> None:
        held.append(weakref.ref(frames))
        raise ValueError(frames.shape)

    def segment(*_: Any) -> Any:
        try:
            deep(np.zeros((4, 32, 32, 3), np.uint8))
        except ValueError as error:
            frames = np.zeros((4, 32, 32, 3), np.uint8)
            held.append(weakref.ref(frames))
            raise InputError("no clip") from error

    monkeypatch.setattr(pipeline, "segment_clip", segment)
    failures: dict[str, Exception] = {}
    assert list(samotion.segment_clips(["a.mp4"], None, failures=failures)) == []  # type: ignore[arg-type]
    assert len(held) == 2 and all(one() is None for one in held)
    told = "".join(traceback.format_exception(failures["a.mp4"]))
    assert "in deep" in told and "in segment" in told and "no clip" in told


def test_a_result_that_is_dropped_is_gone_before_the_next_clip(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []

    def segment(*_: Any) -> Any:
        assert all(one() is None for one in held)
        labels = np.zeros((4, 32, 32), np.uint8)
        held.append(weakref.ref(labels))
        return SimpleNamespace(labels=labels)

    monkeypatch.setattr(pipeline, "segment_clip", segment)
    results = samotion.segment_clips(clips, None)  # type: ignore[arg-type]
    assert [len(next(results).labels) for _ in clips] == [4, 4, 4]


def test_what_is_no_path_costs_itself_alone(clips: list[Path]) -> None:
    engines: Any = SimpleNamespace(preset=NANO)
    failures: dict[str, Exception] = {}
    given: Any = [os.fsencode(clips[1]), None]
    assert list(samotion.segment_clips(given, engines, failures=failures)) == []
    assert list(failures) == [str(clips[1]), "clip 1"]
    assert "the clip is None" in str(failures["clip 1"])


def test_each_clip_has_the_settings_that_are_given(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: Any = SimpleNamespace(preset=NANO)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "segment_clip", lambda *given: given)
        settings = Settings(seed=3)
        results: Any = list(samotion.segment_clips(clips, engines, settings))
    assert results == [(clip, engines, settings) for clip in clips]


def test_other_settings_are_refused_at_once(clips: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"settings is \{\}"):
        samotion.segment_clips(clips, None, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("clips", [np.array("a.mp4"), 3, None])
def test_one_clip_is_no_list_of_clips(clips: Any) -> None:
    with pytest.raises(UsageError, match="expected a list of paths"):
        samotion.segment_clips(clips, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("clip", [CLIP, CLIP.frames])
def test_one_clip_is_called_so(clip: Any) -> None:
    with pytest.raises(UsageError, match="clips is one clip; expected a list of paths"):
        samotion.segment_clips(clip, None)  # type: ignore[arg-type]


def test_an_array_of_paths_is_a_list(clips: list[Path], done: list[str]) -> None:
    given: Any = np.array([str(clips[0]), str(clips[2])])
    assert len(list(samotion.segment_clips(given, None))) == 2  # type: ignore[arg-type]


def test_failures_go_into_a_table_alone(clips: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"failures is \[\] \(list\); expected a dict"):
        samotion.segment_clips(clips, None, failures=[])  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["a.mp4", b"a.mp4", Path("a.mp4")])
def test_one_path_is_no_list_of_clips(path: Any) -> None:
    with pytest.raises(UsageError, match=r"the one path .*a\.mp4'\)?; expected a list"):
        samotion.segment_clips(path, None)  # type: ignore[arg-type]
