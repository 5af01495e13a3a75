"""The overlay comes out for any times, and costs no result where it does not."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.made_result import CLIP_FILES, files_below, make_result
from samotion.errors import OutputError
from samotion.results import overlay
from samotion.results import write as output

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("times_s", "shown_s"),
    [
        ([0, 0.04, 0.08], [0, 0.04, 0.08]),
        ([7, 7.04, 50], [0, 0.04, 43]),
        ([0, DAY_S, 2 * DAY_S], [0, 60, 120]),
        ([0, 0.04, 40 * DAY_S, 40 * DAY_S + 0.04], [0, 0.04, 60.04, 60.08]),
        ([1, 1, 1, 2], [0, 0, 0, 1]),
        ([0, 5e-6, 0.1], [0, 0, 0.1]),
        ([0, -3, np.nan, np.inf, np.inf], [0, 0, 0, 0, 0]),
        (np.arange(2000) * 1001 / 24000, np.arange(2000) * 1001 / 24000),
    ],
)
def test_ticks_keep_the_times_and_increase(times_s: Any, shown_s: Any) -> None:
    ticks = overlay.show_ticks(np.array(times_s))
    assert (np.diff(ticks) > 0).all()
    np.testing.assert_allclose(
        ticks * float(overlay.TIME_BASE), shown_s, atol=60.1 if np.inf in times_s else 5e-5
    )


@pytest.mark.parametrize(
    "times_s", [np.arange(4) * DAY_S, np.zeros(4), np.array([0, 5e-6, 0.1, 0.1 + 5e-6])]
)
def test_every_frame_is_there_at_its_tick(tmp_path: Path, times_s: Any) -> None:
    result = make_result()
    overlay.write_overlay(tmp_path / "o.mp4", result.clip.frames, result.labels, times_s)
    with av.open(str(tmp_path / "o.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    expected = overlay.show_ticks(times_s) * float(overlay.TIME_BASE)
    np.testing.assert_allclose(times, expected, atol=float(overlay.TIME_BASE) / 2)


@pytest.mark.parametrize(
    "error",
    [ValueError("no codec\ncalled libx264"), av.error.ArgumentError(22, "Invalid"), MemoryError()],
)
def test_overlay_that_fails_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    output.write(make_result(), tmp_path)
    monkeypatch.setattr(overlay, "_encode", fail)
    result = make_result()
    result.save(tmp_path, overwrite=True)
    assert files_below(tmp_path) == CLIP_FILES - {"walk/overlay.mp4"}
    record = json.loads((tmp_path / "walk" / "run.json").read_text())
    assert record["status"] == "done" and "overlay.mp4" not in record["files"]
    assert record["warnings"] == result.warnings == ["a warning", result.warnings[1]]
    assert "the overlay cannot be written" in result.warnings[1] and "\n" not in result.warnings[1]


def test_full_disk_under_the_overlay_is_an_error_that_leaves_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(overlay, "draw", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        output.write(make_result(), tmp_path, ("masks", "overlay", "tracks"))
    assert files_below(tmp_path) == CLIP_FILES - {"walk/overlay.mp4", "walk/report.html"}
    assert json.loads((tmp_path / "walk" / "run.json").read_text())["status"] == "writing"


def test_long_pauses_are_told(tmp_path: Path) -> None:
    assert overlay.long_pauses(np.array([0, 60, 121, 122, 500])) == 2
    result = make_result()
    clip = replace(result.clip, timestamps_s=np.arange(4) * DAY_S)
    output.write(replace(result, clip=clip), tmp_path)
    told = json.loads((tmp_path / "walk" / "run.json").read_text())["warnings"]
    assert told[1:] == [
        "pauses of more than 60 s between frames are cut to that in the overlay (3)"
    ]
