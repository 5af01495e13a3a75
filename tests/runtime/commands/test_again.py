"""The same command goes on where it stopped, and one clip's bad name or state costs that clip
alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as Outcome
from helpers import media
from helpers.half_segmenter import half_segmenter
from samotion import pipeline
from samotion.commands import run as cli
from samotion.pipeline import Result
from samotion.presets import NANO
from samotion.results import film, overlay

Run = Callable[..., Outcome]


@pytest.fixture
def pair(clip: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A video and a folder of frames whose names are not their numbers."""
    frames = media.write_images(
        tmp_path / "walk", media.quadrants(3), ["00005.jpg", "00010.jpg", "00015.jpg"]
    )
    return clip, frames


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that are segmented from now on."""
    seen: list[str] = []

    def segment(clip: str, *rest: Any) -> Result:
        seen.append(Path(clip).name)
        return half_segmenter(clip, *rest)

    monkeypatch.setattr(pipeline, "segment_clip", segment)
    return seen


def hidden(folder: str = "out") -> list[Path]:
    return list(Path(folder).rglob(".*"))


def record(clip: str = "clip") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("out", clip, "run.json").read_text())
    return found


def test_masks_are_mapped_to_source_frames(run: Run, pair: tuple[Path, Path]) -> None:
    assert run("-q", "--max-frames", "2", *pair).exit_code == 0
    assert sorted(os.listdir("out/walk/masks")) == ["00005.png", "00015.png"]
    assert record("walk")["frames"] == [
        {"mask": "masks/00005.png", "frame": 0, "name": "00005.jpg", "time_s": 0.0},
        {"mask": "masks/00015.png", "frame": 2, "name": "00015.jpg", "time_s": 0.083333},
    ]
    unnamed = {"mask": "masks/00002.png", "frame": 2, "name": None, "time_s": 0.2}
    assert record()["frames"][1] == unnamed


def test_masks_in_layout_davis_carry_the_frames_names(run: Run, pair: tuple[Path, Path]) -> None:
    outcome = run("-q", "--layout", "davis", *pair)
    assert (outcome.exit_code, outcome.stdout) == (0, "out/clip\nout/walk\n")
    assert sorted(os.listdir("out")) == ["clip", "run.json", "walk"]
    assert sorted(os.listdir("out/walk")) == ["00005.png", "00010.png", "00015.png"]
    clips = json.loads(Path("out/run.json").read_text())["clips"]
    masks = [frame["mask"] for frame in clips["walk"]["frames"]]
    assert masks == ["walk/00005.png", "walk/00010.png", "walk/00015.png"]


@pytest.mark.parametrize("layout", ["clip", "davis"])
def test_clips_that_are_done_are_skipped(
    run: Run, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    first = run("-q", "--layout", layout, *pair)
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    seen = calls(monkeypatch)
    again = run("-q", "--layout", layout, *pair)
    assert (again.exit_code, again.stdout, seen) == (0, first.stdout, [])
    assert [line.split(": ")[1] for line in again.stderr.splitlines()] == [
        "skipped, it is done already; --overwrite makes it anew"
    ] * 2
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before
    assert run("-q", "--layout", layout, "--overwrite", *pair).exit_code == 0
    assert seen == ["clip.mp4", "walk"]


def test_one_clip_is_skipped_where_that_is_asked_for(run: Run, clip: Path) -> None:
    run("-q", clip)
    outcome = run("-q", clip)
    assert outcome.exit_code == 7 and "use --overwrite" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    outcome = run("-q", "--skip-done", clip)
    assert (outcome.exit_code, outcome.stdout) == (0, "out/clip/overlay.mp4\n")
    assert "skipped" in outcome.stderr
    assert run("--skip-done", "--overwrite", clip).exit_code == 2


def test_json_tells_of_skipped_clips(run: Run, pair: tuple[Path, Path]) -> None:
    done = [json.loads(line) for line in run("-q", "--json", *pair).stdout.splitlines()]
    skipped = [json.loads(line) for line in run("-q", "--json", *pair).stdout.splitlines()]
    assert [each["status"] for each in (*done, *skipped)] == ["done", "done", "skipped", "skipped"]
    assert [each | {"status": "done"} for each in skipped] == done


def change_clip(clip: Path) -> None:
    media.write_video(clip, media.quadrants(5))


def lose_a_mask(clip: Path) -> None:
    Path("out/clip/masks/00001.png").unlink()


def save_without_request(clip: Path) -> None:
    told = record()
    del told["request"]
    Path("out/clip/run.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (change_clip, [], "earlier result of this clip before it was changed; use --overwrite"),
        (lose_a_mask, [], "earlier result without 'masks/00001.png'"),
        (save_without_request, [], "earlier result that does not tell how it was asked for"),
        (
            None,
            ["--max-tracks", "9"],
            f"earlier result made with max_tracks {NANO.max_tracks}, not 9; use --overwrite",
        ),
        (None, ["--save", "coco"], "earlier result without 'coco'"),
    ],
)
def test_result_that_is_not_the_same_is_named(
    run: Run,
    clip: Path,
    tmp_path: Path,
    change: Callable[[Path], None] | None,
    options: list[str],
    words: str,
) -> None:
    other = shutil.copy(clip, tmp_path / "other.mp4")
    assert run("-q", "--save", "masks", clip, other).exit_code == 0
    if change:
        change(clip)
    outcome = run("-q", *(options if "--save" in options else ["--save", "masks", *options]), clip)
    assert outcome.exit_code == 7 and words in outcome.stderr
    if change:
        outcome = run("-q", "--save", "masks", clip, other)
        assert outcome.exit_code == 8 and words in outcome.stderr
        assert "other.mp4: skipped" in outcome.stderr


def test_less_than_what_was_saved_is_done_as_well(run: Run, clip: Path) -> None:
    run("-q", clip)
    assert run("-q", "--skip-done", "--save", "masks", clip).exit_code == 0


def test_frame_that_changes_in_a_folder_is_seen(run: Run, pair: tuple[Path, Path]) -> None:
    run("-q", *pair)
    os.utime(pair[1] / "00010.jpg", ns=(0, 0))
    outcome = run("-q", *pair)
    assert outcome.exit_code == 8
    assert "walk: error: " in outcome.stderr and "before it was changed" in outcome.stderr


def test_engines_that_differ_are_named(run: Run, clip: Path) -> None:
    run("-q", clip)
    told = record()
    told["request"]["engines"]["sha256"]["depth"] = "0" * 64
    Path("out/clip/run.json").write_text(json.dumps(told))
    assert "made by other engines" in run("-q", "--skip-done", clip).stderr
    told["request"]["engines"]["preset"] = "fast"
    Path("out/clip/run.json").write_text(json.dumps(told))
    assert "made by engines of preset fast, not nano" in run("-q", "--skip-done", clip).stderr


def test_clip_of_another_folder_is_not_taken_for_done(run: Run, clip: Path, tmp_path: Path) -> None:
    run("-q", clip)
    (tmp_path / "b").mkdir()
    other = shutil.copy(clip, tmp_path / "b")
    outcome = run("-q", "--skip-done", other)
    assert outcome.exit_code == 7
    assert f"of another clip, {os.path.realpath(clip)!r}" in outcome.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_batch_goes_on(
    run: Run, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            overlay,
            "draw",
            lambda frame, *_: (len(done) and signal.raise_signal(number)) or frame,
        )
        done: list[int] = []
        assert run("-q", pair[0]).exit_code == 0
        done.append(1)
        assert run("-q", *pair).exit_code in (130, 143)
    assert record("walk")["status"] == "writing" and not hidden()
    seen = calls(monkeypatch)
    outcome = run("-q", *pair)
    assert outcome.exit_code == 0 and seen == ["walk"] and "clip.mp4: skipped" in outcome.stderr
    assert record("walk")["status"] == "done" and not hidden()


def test_lock_of_a_dead_run_goes_with_the_next(run: Run, pair: tuple[Path, Path]) -> None:
    run("-q", *pair)
    for folder in ("out/clip", "out/walk"):
        Path(folder, ".samotion.lock").touch()
        Path(folder, ".samotion-abcd_123.tmp").touch()
    assert run("-q", *pair).exit_code == 0 and not hidden()


@pytest.mark.parametrize("layout", ["clip", "davis"])
def test_names_of_every_kind_stay_below_the_output_folder(
    run: Run, clip: Path, tmp_path: Path, layout: str
) -> None:
    (tmp_path / "in").mkdir()
    names = ["...mp4", "..mp4", ".mp4", "-.mp4", "two\nlines.mp4", "x" * 251 + ".mp4", "CON.mp4"]
    names += ["dots...mp4", " .mp4", "run.json.mp4", ".samotion.lock.mp4", "Clip.mp4", "clip.mp4"]
    clips = [str(shutil.copy(clip, tmp_path / "in" / name)) for name in names]
    outcome = run("-q", "-o", "user/out", "--save", "masks", "--layout", layout, *clips)
    assert outcome.exit_code == 0, outcome.stderr
    assert os.listdir("user") == ["out"]
    own = {"run.json"} if layout == "davis" else set()
    found = {path.name for path in Path("user/out").iterdir()}
    assert len(found) == len(names) + len(own) == len({name.casefold() for name in found})
    assert run("-q", "-o", "user/out", "--save", "masks", "--layout", layout, *clips).exit_code == 0


def test_what_is_no_clip_costs_itself_alone(run: Run, clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    os.symlink("circle.mp4", tmp_path / "circle.mp4")
    bad = [
        tmp_path / "fifo.mp4",
        tmp_path / "circle.mp4",
        "/dev/null",
        tmp_path / ("n" * 300),
        "no\nsuch.mp4",
    ]
    outcome = run("-q", "--json", *bad, clip)
    told = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert outcome.exit_code == 8
    assert [(each["status"], each.get("exit_code")) for each in told] == [("failed", 3)] * 5 + [
        ("done", None)
    ]
    assert len(outcome.stderr.splitlines()) == 5 and os.listdir("out") == ["clip"]


def test_link_inside_the_output_folder_is_not_followed(
    run: Run, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path("out").mkdir()
    Path("out/clip").symlink_to(tmp_path / "elsewhere")
    outcome = run("-q", "--overwrite", *pair)
    assert outcome.exit_code == 8 and "is a link" in outcome.stderr
    assert not os.listdir(tmp_path / "elsewhere") and record("walk")["status"] == "done"


def test_overlay_that_fails_is_a_warning_everywhere(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("no such codec")

    monkeypatch.setattr(film, "_encode", refuse)
    outcome = run("-q", "--json", clip)
    told = json.loads(outcome.stdout)
    warning = "the overlay cannot be written (ValueError: no such codec); all else is there"
    assert outcome.exit_code == 0 and outcome.stderr == warning + "\n"
    assert told["overlay"] is None and told["warnings"] == record()["warnings"] == [warning]
    assert run("-q", "--skip-done", clip).stdout == "out/clip\n"


def test_unique_names_may_be_long() -> None:
    names = cli.unique_names([f"{folder}/{'x' * 251}.mp4" for folder in "abc"])
    assert len(set(names)) == 3 and max(map(len, names)) <= 255
