"""A report for every clip, an index over several, and the command that makes a result again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from click.testing import Result as Outcome
from helpers import media
from samotion.backends.engines import EngineFolder
from samotion.commands.again import NO_OPTIONS, command_line
from samotion.commands.clip_job import ClipJob
from samotion.commands.listing import Item
from samotion.commands.run import Job, app
from samotion.results.folder import locate
from samotion.settings import Settings

Run = Callable[..., Outcome]


@pytest.fixture
def pair(clip: Path, tmp_path: Path) -> tuple[Path, Path]:
    return clip, media.write_images(tmp_path / "walk", media.quadrants(3))


def test_several_clips_get_an_index(run: Run, pair: tuple[Path, Path]) -> None:
    outcome = run(*pair)
    assert outcome.stderr.splitlines()[-1] == "all reports: out/index.html"
    page = Path("out/index.html").read_text()
    assert 'href="clip/report.html"' in page and 'href="walk/report.html"' in page
    assert Path("out/clip/report.html").is_file() and Path("out/walk/report.html").is_file()


def test_an_index_is_written_again_where_it_changes(run: Run, pair: tuple[Path, Path]) -> None:
    run("-q", *pair)
    before = Path("out/index.html").stat().st_mtime_ns
    run("-q", *pair)
    assert Path("out/index.html").stat().st_mtime_ns == before
    run("-q", "--overwrite", "--max-frames", "2", *pair)
    assert "2 frames" in Path("out/index.html").read_text()


@pytest.mark.parametrize("options", [["--save", "masks"], ["--layout", "davis"]])
def test_no_index_without_reports(run: Run, pair: tuple[Path, Path], options: list[str]) -> None:
    assert run("-q", *options, *pair).exit_code == 0
    assert not Path("out/index.html").exists()


def test_one_clip_gets_none(run: Run, clip: Path) -> None:
    run("-q", clip)
    assert Path("out/clip/report.html").is_file() and not Path("out/index.html").exists()


def test_the_command_is_kept_and_makes_the_same_again(run: Run, clip: Path, engines: Path) -> None:
    options = ["--max-frames", "2", "--seed", "5", "--start", "0:00.1", "--end", "0.4"]
    run("-q", *options, "--save", "masks,report", clip)
    before = json.loads(Path("out/clip/run.json").read_text())
    words = shlex.split(before["command"])
    assert words[:3] == ["samotion-run", "--engine-dir", str(engines)]
    assert run("-q", *words[3:]).exit_code == 0
    after = json.loads(Path("out/clip/run.json").read_text())
    for name in ("command", "settings", "files", "request"):
        assert after[name] == before[name], name


def test_a_batch_tells_the_command_that_makes_a_clips_result_again(
    run: Run, clip: Path, engines: Path, opened: EngineFolder, tmp_path: Path
) -> None:
    settings = Settings(max_tracks=9, seed=5)
    job = ClipJob("all", str(engines), settings=settings, save=("masks", "report"))
    assert job.do(Item(str(clip), "a/clip"), opened).error == ""
    before = json.loads(Path("all/a/clip/run.json").read_text())
    assert before["command"] == (
        f"samotion-run --engine-dir {engines} -o all/a --save masks,report --max-tracks 9"
        f" --seed 5 --overwrite {clip}"
    )
    assert "samotion-run --engine-dir" in Path("all/a/clip/report.html").read_text()
    assert run("-q", *shlex.split(before["command"])[3:]).exit_code == 0
    after = json.loads(Path("all/a/clip/run.json").read_text())
    for name in ("command", "settings", "files", "request"):
        assert after[name] == before[name], name


def test_only_what_was_asked_for_is_in_the_command() -> None:
    settings = Settings(max_tracks=9)
    job = Job(
        [], None, "my out", "cpu", settings, None, None, "clip", False, False, True, True, True
    )
    assert command_line(job, "-a b.mp4", locate("my out", "-a b")) == (
        "samotion-run -o 'my out' --device cpu --max-tracks 9 --overwrite './-a b.mp4'"
    )


def test_the_command_of_a_clip_leaves_one_of_the_same_name_alone() -> None:
    command = command_line(ClipJob("out"), "two/a.mp4", locate("out", "two_a.mp4"))
    assert command == "samotion-run -o out/two_a.mp4-again --overwrite two/a.mp4"


def test_short_times_are_written_as_they_are_typed() -> None:
    command = command_line(
        ClipJob("out", settings=Settings(start_s=1e-05)), "a", locate("out", "a")
    )
    assert command == "samotion-run --start 0.00001 --overwrite a"


def test_every_setting_has_an_option_or_is_known_to_have_none() -> None:
    options = {one.name for one in typer.main.get_command(app).params}
    without = {one.name for one in fields(Settings)} - options
    assert without == NO_OPTIONS, "again.NO_OPTIONS"


def test_no_command_for_settings_that_have_no_option() -> None:
    job = ClipJob("out", settings=Settings(long_side_px=320))
    assert command_line(job, "a.mp4", locate("out", "a")) is None
