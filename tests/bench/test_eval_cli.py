"""samotion-eval from the outside: arguments in, tables, files and exit codes out."""

from __future__ import annotations

import csv
import io
import json
import re
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console
from samotion import pipeline
from samotion.clips import video
from samotion.errors import InputError, OutputError
from samotion.png import encode_indexed
from samotion.presets import NANO
from samotion.settings import Settings, resolve
from samotion_bench import evaluation, runs, synthetic
from samotion_bench.datasets import find_clips
from samotion_bench.evaluate import app
from samotion_bench.report import MEASURES
from typer.testing import CliRunner

HW = (24, 40)
FRAMES = 6


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write_masks(folder, maps):
    folder.mkdir(parents=True)
    for i, labels in enumerate(maps):
        (folder / f"{i:05d}.png").write_bytes(encode_indexed(labels))


def square(x, label=1):
    labels = np.zeros(HW, np.uint8)
    labels[6:16, x : x + 10] = label
    return labels


@pytest.fixture
def data(tmp_path):
    """Two sequences: `walk` found exactly but for its first frame, `pair` with two objects and
    one found.
    """
    write_masks(tmp_path / "truth/walk", [square(i) for i in range(FRAMES)])
    write_masks(
        tmp_path / "found/walk", [square(30), *(square(i, label=2) for i in range(1, FRAMES))]
    )
    write_masks(
        tmp_path / "truth/pair", [np.maximum(square(2), square(22, 2)) for _ in range(FRAMES)]
    )
    write_masks(tmp_path / "found/pair", [square(22, 1) for _ in range(FRAMES)])
    return tmp_path


def report(data, *arguments):
    given = ("--annotations", data / "truth", "--results", data / "found")
    result = run(*given, "--json", data / "r.json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads((data / "r.json").read_text())


def test_movers_are_measured_on_all_frames(data):
    found = report(data, "--task", "mos")
    assert found["sequences"]["walk"]["J_mean"] == pytest.approx(5 / 6)
    # quarters: frames 0, 1 and 4, 5
    assert found["sequences"]["walk"]["J_decay"] == pytest.approx(-0.5)
    assert found["sequences"]["pair"]["J_mean"] == pytest.approx(0.5)
    assert found["overall"]["J_mean"] == pytest.approx((5 / 6 + 0.5) / 2)
    assert all(
        set(MEASURES) <= set(part) for part in (found["overall"], *found["sequences"].values())
    )
    assert [p["j_mean"] for p in found["published"] if p["method"] == "SAMotion"] == [0.89]


def test_objects_are_measured_on_all_frames(data):
    found = report(data, "--task", "fine")
    assert found["sequences"]["walk"]["J_mean"] == pytest.approx(5 / 6)
    assert found["sequences"]["walk"]["frames"] == FRAMES
    assert [found["sequences"]["pair"]["objects"][k]["J_mean"] for k in "12"] == [0, 1]
    assert found["overall"]["J_mean"] == pytest.approx((5 / 6 + 0 + 1) / 3), (
        "the mean is over objects"
    )
    assert report(data, "--task", "fine", "--inner-frames")["sequences"]["walk"]["J_mean"] == 1
    assert report(data, "--task", "mos", "--inner-frames")["sequences"]["walk"]["J_mean"] == 1


def test_the_protocol_stands_beside_every_score(data):
    found = report(data, "--task", "fine")
    name = "DAVIS 2017 unsupervised, void left out, all annotated frames"
    assert {
        part["protocol"] for part in (found, found["overall"], *found["sequences"].values())
    } == {name}
    shown = run(
        "--annotations", data / "truth", "--results", data / "found", "--inner-frames"
    ).stdout
    assert "void counts as moving, without first and last frame" in " ".join(shown.split())


def test_void_moves_in_mos_and_is_left_out_in_fine(tmp_path):
    truth = [np.maximum(square(2), square(22, 255)) for _ in range(FRAMES)]
    write_masks(tmp_path / "truth/a", truth)
    write_masks(tmp_path / "found/a", [square(2) for _ in range(FRAMES)])
    assert report(tmp_path)["overall"]["J_mean"] == pytest.approx(0.5)
    assert report(tmp_path, "--task", "fine")["overall"]["J_mean"] == 1


def test_objects_that_no_frame_shows_are_named(tmp_path):
    truth = [np.maximum(square(2), square(22, 4)) for _ in range(FRAMES)]
    write_masks(tmp_path / "truth/a", truth)
    given = ("--annotations", tmp_path / "truth", "--results", tmp_path / "truth", "--quiet")
    result = run(*given, "--task", "fine", "--worst", tmp_path / "worst")
    assert result.exit_code == 0
    assert result.stderr.count("a: no frame that counts shows 2, 3, but") == 1
    assert run(*given).stderr == ""


def test_tables_and_lists(data):
    (data / "list.txt").write_text("pair\n")
    report(data, "--task", "fine", "--sequences", data / "list.txt", "--csv", data / "r.csv")
    rows = list(csv.DictReader((data / "r.csv").read_text().splitlines()))
    assert [row["Sequence"] for row in rows] == ["pair_1", "pair_2", "Global"]
    assert float(rows[-1]["J-Mean"]) == 0.5 and list(rows[0])[:3] == [
        "Sequence",
        "J-Mean",
        "F-Mean",
    ]
    result = run("--annotations", data / "truth", "--results", data / "found")
    assert "walk" in result.stdout and "0.833" in result.stdout and "0.890" in result.stdout


def test_the_worst_come_first(data):
    report(data, "--worst", data / "worst", "--worst-count", 1)
    (picture,) = (data / "worst").iterdir()
    assert picture.name == "01_pair.png"
    assert cv2.imread(str(picture)).shape[1] == 3 * 480


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--results", "found"], 2, "--annotations"),
        (["--annotations", "truth"], 2, "--results"),
        (["--synthetic", "1", "--engine-dir", "nowhere"], 4, "no engine folder"),
        (["--annotations", "nowhere", "--results", "found"], 3, "nowhere"),
        (["--annotations", "truth", "--results", "nowhere"], 3, "no masks of pair"),
        (["--annotations", "truth", "--results", "found", "--task", "coarse"], 2, "coarse"),
        (["--annotations", "truth", "--engine-dir", "nowhere"], 4, "no engine folder"),
    ],
)
def test_mistakes_get_one_line_and_their_code(data, monkeypatch, arguments, code, says):
    monkeypatch.chdir(data)
    result = run(*arguments)
    assert result.exit_code == code and says in result.stderr
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.stderr


def test_too_few_frames_say_so(tmp_path):
    write_masks(tmp_path / "truth/a", [square(1), square(2)])
    result = run(
        "--annotations", tmp_path / "truth", "--results", tmp_path / "truth", "--inner-frames"
    )
    assert result.exit_code == 3 and "--all-frames" in result.stderr


def engines(sha="a" * 64):
    return SimpleNamespace(
        preset=NANO, manifest=SimpleNamespace(engines={"depth": SimpleNamespace(sha256=sha)})
    )


@pytest.fixture
def ran(data, monkeypatch):
    """The clips that are segmented, without nets; those in `breaks` break off once."""
    for name in ("walk", "pair"):
        (data / "frames" / name).mkdir(parents=True)
        for i in range(FRAMES):
            cv2.imwrite(str(data / "frames" / name / f"{i:05d}.jpg"), np.zeros((*HW, 3), np.uint8))
    ran = SimpleNamespace(names=[], breaks=set())

    def segment(folder, opened, settings, progress):
        ran.names.append(folder.name)
        if folder.name in ran.breaks:
            ran.breaks.remove(folder.name)
            raise InputError("broke off")
        clip = video.read_clip(folder, max_frames=settings.max_frames)
        labels = np.stack([square(2 * i) for i in range(len(clip.frames))])
        tracks: Any = None
        return pipeline.Result(labels, [], tracks, np.zeros(0), {}, clip, resolve(settings, NANO))

    monkeypatch.setattr(runs, "segment_clip", segment)
    return ran


def segment_all(data, opened, settings):
    clips = find_clips(data / "truth", data / "frames")
    runs.segment_all(clips, opened, data / "made", settings, Console(quiet=True))


def test_clips_that_are_done_are_not_run_again(data, ran):
    ran.breaks.add("walk")
    with pytest.raises(InputError):
        segment_all(data, engines(), Settings())
    segment_all(data, engines(), Settings())
    assert ran.names == ["pair", "walk", "walk"]
    segment_all(data, engines(), Settings())
    assert len(ran.names) == 3
    segment_all(data, engines("b" * 64), Settings())
    segment_all(data, engines("b" * 64), Settings(seed=1))
    assert len(ran.names) == 7, "other engines and another seed give other masks"
    result = run("--annotations", data / "truth", "--results", data / "made")
    assert result.exit_code == 0, result.output


def test_each_clip_comes_with_the_time_left_after_the_first_one_made(data, ran):
    said = io.StringIO()
    clips = find_clips(data / "truth", data / "frames")
    runs.segment_all(clips, engines(), data / "made", Settings(), Console(file=said, width=200))
    lines = said.getvalue().splitlines()
    assert re.fullmatch(r"\[1/2\] pair: segmenting \d+ frames", lines[0])
    assert re.fullmatch(r"\[2/2\] walk: segmenting \d+ frames, about \d+ s left", lines[2])


def test_clips_are_run_again_where_a_mask_is_gone_or_a_frame_is_another(data, ran):
    segment_all(data, engines(), Settings())
    (data / "made/walk/masks/00001.png").unlink()
    segment_all(data, engines(), Settings())
    assert ran.names[2:] == ["walk"]
    cv2.imwrite(str(data / "frames/pair/00002.jpg"), np.full((*HW, 3), 9, np.uint8))
    segment_all(data, engines(), Settings())
    assert ran.names[3:] == ["pair"]


def test_what_another_command_made_stays(data, ran):
    segment_all(data, engines(), Settings())
    record = data / "made/walk/run.json"
    table = json.loads(record.read_text())
    del table["evaluated"]
    record.write_text(json.dumps(table))  # as of samotion-run
    segment_all(data, engines(), Settings())
    assert len(ran.names) == 2
    with pytest.raises(OutputError, match="made with seed 0, not 1; choose another --results"):
        segment_all(data, engines(), Settings(seed=1))
    assert ran.names[2:] == ["pair"] and json.loads(record.read_text()) == table


def test_another_first_seed_makes_other_scenes(tmp_path, monkeypatch):
    def measure(engines, example, seed):
        none = np.zeros(0, np.float32)
        return synthetic.Measured(
            example.seed, example.kind.name, {}, None, [], none, none > 0, False
        )

    monkeypatch.setattr(synthetic, "measure", measure)
    for first, place in ((synthetic.FIRST_SEED, "usual"), (13_000_000, "other")):
        more = () if place == "usual" else ("--synthetic-first", first)
        file = tmp_path / f"{place}.json"
        result = run("--synthetic", 1, "--synthetic-frames", 2, *more, "--json", file)
        assert result.exit_code == 0, result.stderr
        report = json.loads(file.read_text())
        assert report["synthetic"]["first_seed"] == first
        assert first <= report["per_clip"][0]["seed"] < first + 20


@pytest.mark.parametrize("option", ["--annotations", "--results", "--csv", "--worst"])
def test_options_without_use_beside_synthetic_are_refused(data, option):
    result = run("--synthetic", 1, option, data / "truth")
    assert result.exit_code == 2 and f"{option} does not go with --synthetic" in result.stderr


@pytest.mark.parametrize("option", [("--task", "mos"), ("--inner-frames",), ("--all-frames",)])
def test_protocols_beside_synthetic_are_refused(option):
    result = run("--synthetic", 1, *option)
    assert result.exit_code == 2 and f"{option[0]} does not go with --synthetic" in result.stderr


def test_pictures_that_cannot_be_written_are_told_before_the_work(data, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: pytest.fail("it began"))
    (data / "file").touch()
    for place in (data / "file", data / "file" / "inside"):
        result = run("--annotations", data / "truth", "--results", data / "found", "--worst", place)
        assert result.exit_code == 7 and f"cannot write {str(place)!r}" in result.stderr


def test_files_that_cannot_be_written_are_told_in_one_line(data):
    result = run("--annotations", data / "truth", "--results", data / "found", "--json", data)
    assert result.exit_code == 7 and f"cannot write {str(data)!r}" in result.stderr


def test_a_clip_without_frames_cannot_be_run(data):
    with pytest.raises(InputError, match="--images"):
        runs.segment_all(
            find_clips(data / "truth", None),
            engines(),
            data / "made",
            Settings(),
            Console(quiet=True),
        )
