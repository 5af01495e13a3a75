"""samotion-run: every bad input gets one line and its exit code, good ones get results, in any
mixture.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import samotion
from click.testing import Result as Outcome
from helpers import media, zero_engines
from helpers.half_segmenter import half_segmenter
from helpers.paths import ROOT
from samotion import manifest, pipeline
from samotion.commands import options
from samotion.commands import run as cli
from samotion.contract import SIGNATURES, Tensor
from samotion.manifest import Entry
from samotion.pipeline import Result
from samotion.presets import NANO

Run = Callable[..., Outcome]


def only_line(outcome: Outcome) -> str:
    """The one line on stderr beside those that say that a run begins."""
    lines = [
        x for x in outcome.stderr.splitlines() if not x.startswith(("samotion 0.", "engines "))
    ]
    assert len(lines) == 1 and outcome.stdout == "", outcome.output
    return lines[0]


def test_prints_the_overlays_path_last(run: Run, clip: Path, engines: Path) -> None:
    outcome = run(clip)
    assert (outcome.exit_code, outcome.stdout) == (0, "out/clip/overlay.mp4\n")
    assert Path("out/clip/overlay.mp4").is_file() and Path("out/clip/masks/00003.png").is_file()
    lines = outcome.stderr.splitlines()
    assert [re.sub(r" +[0-9.]+ s$", "", line) for line in lines] == [
        f"samotion {samotion.__version__}: opening the engines in {str(engines)!r} (nano)",
        "engines",
        "tracks",
        "output",
        "1 moving object in 4 frames, confidence 0.88",
        "report: out/clip/report.html",
    ]
    record = json.loads(Path("out/clip/run.json").read_text())
    assert record["arguments"]["clips"] == [str(clip)] and record["preset"] == "nano"
    assert record["engines"].keys() == SIGNATURES.keys()
    assert len(record["engines"]["depth"]["sha256"]) == 64
    numbers = record["settings"]["max_tracks"], record["settings"]["step"]
    assert numbers == (NANO.max_tracks, NANO.query_step_frames), "those of the engines' preset"


def test_options_reach_the_run(run: Run, clip: Path) -> None:
    options = (
        "--step 3 --max-frames 2 --max-tracks 9 --max-objects 4 --seed 5 --save masks -q -o results"
        " --min-confidence 0.9"
    )
    outcome = run(*options.split(), clip)
    assert (outcome.exit_code, outcome.stdout) == (0, "results/clip\n")
    assert outcome.stderr == "of 4 frames every 2nd is used; --max-frames 4 uses all of them\n"
    record = json.loads(Path("results/clip/run.json").read_text())
    expected = {"step": 3, "max_frames": 2, "max_tracks": 9, "max_objects": 4, "seed": 5}
    assert expected.items() <= record["settings"].items()
    assert record["settings"]["min_confidence"] == 0.9
    assert sorted(os.listdir("results/clip")) == ["masks", "objects.json", "run.json"]


@pytest.mark.parametrize(
    ("typed", "time_s"), [("83.5", 83.5), ("7.", 7), ("1:23.5", 83.5), ("2:00:03", 7203)]
)
def test_times_are_seconds_or_have_colons(typed: str, time_s: float) -> None:
    assert options.seconds(typed) == time_s


def test_a_part_of_a_clip(run: Run, clip: Path) -> None:
    outcome = run("-q", "--start", "0:00.1", "--end", "0.3", clip)
    assert outcome.exit_code == 0, outcome.stderr
    record = json.loads(Path("out/clip/run.json").read_text())
    assert [frame["frame"] for frame in record["frames"]] == [1, 2]
    assert (record["settings"]["start_s"], record["settings"]["end_s"]) == (0.1, 0.3)
    assert "made with end_s 0.3, not None" in run("-q", "--start", "0.1", clip).stderr
    outcome = run("-q", "--start", "0.35", "-o", "other", clip)
    assert outcome.exit_code == 3 and "0 frames" in only_line(outcome)


def test_json_prints_one_object_per_clip(run: Run, clip: Path) -> None:
    outcome = run("--json", clip, "missing.mp4")
    done, failed = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert (done["status"], done["frames"]) == ("done", 4)
    assert done["overlay"] == "out/clip/overlay.mp4" and done["report"] == "out/clip/report.html"
    assert done["objects"] == [{"id": 1, "score": 0.75, "confidence": 0.875}]
    assert (failed["status"], failed["exit_code"]) == ("failed", 3)
    assert "no such file" in failed["error"]
    assert outcome.exit_code == 8


def test_nothing_moves(run: Run, tmp_path: Path) -> None:
    still = media.write_video(tmp_path / "still.mp4", media.quadrants(3) * 0)
    outcome = run(still)
    assert outcome.exit_code == 0
    assert "nothing moves in this clip: all masks are empty" in outcome.stderr.splitlines()
    assert len(os.listdir("out/still/masks")) == 3


def test_bad_inputs(run: Run, tmp_path: Path) -> None:
    for case, (path, words) in media.bad_inputs(tmp_path).items():
        outcome = run(path)
        assert outcome.exit_code == 3 and words in only_line(outcome), case
        assert not Path("out").exists(), case


@pytest.mark.parametrize("given", ["missing.mp4", "empty.mp4", "https://host/clip.mp4"])
def test_a_path_that_leads_nowhere_is_told_before_engines_are_opened(
    run: Run, tmp_path: Path, given: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    outcome = run("--json", "-q", given, engine_dir=tmp_path / "no engines")
    assert outcome.exit_code == 3
    assert given in json.loads(outcome.stdout)["error"] and given in outcome.stderr


def test_other_clips_go_on_after_a_failure(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    frames = media.write_images(tmp_path / "more frames", media.quadrants(2))
    outcome = run("-q", clip, "empty.mp4", frames)
    assert outcome.exit_code == 8
    assert outcome.stdout.splitlines() == ["out/clip/overlay.mp4", "out/more frames/overlay.mp4"]
    assert outcome.stderr.splitlines() == [
        "empty.mp4: error: 'empty.mp4' is empty (0 bytes); expected a video file or a folder of frames"
    ]


def test_an_error_within_does_not_stop_the_others(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("a")

    def fail_once(path: str, *rest: Any) -> Result:
        if path == "a":
            raise ZeroDivisionError("oh")
        return half_segmenter(path, *rest)

    monkeypatch.setattr(pipeline, "segment_clip", fail_once)
    outcome = run("-q", "a", clip)
    assert outcome.exit_code == 8 and outcome.stdout == "out/clip/overlay.mp4\n"
    assert "a: internal error: ZeroDivisionError: oh" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert run("a").exit_code == 1
    assert "Traceback" in run("-v", "a", "a").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setattr(pipeline, "segment_clip", lambda *_: signal.raise_signal(number))
    outcome = run(clip, clip)
    assert outcome.exit_code == code and not Path("out").exists()
    assert [x.split()[0] for x in outcome.stderr.splitlines()] == [
        *("samotion", "engines", "clip", "interrupted" if code == 130 else "terminated")
    ]


def test_clips_of_one_name_get_folders_of_their_own(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    again = shutil.copy(clip, tmp_path / "b")
    outcome = run("-q", clip, again)
    assert outcome.stdout.splitlines() == ["out/clip/overlay.mp4", "out/clip-2/overlay.mp4"]
    assert cli.unique_names(["a/x.mp4", "x.mov", "x-2.mp4", "x"]) == ["x", "x-2", "x-2-2", "x-3"]


def test_frames_are_never_written_over(run: Run, tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "walk", media.quadrants(2))
    outcome = run("-o", tmp_path, "--layout", "davis", "--overwrite", frames)
    assert outcome.exit_code == 7 and len(os.listdir(frames)) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--step", "0"], "'--step'"),
        (["--max-frames", "1"], "'--max-frames'"),
        (["--start", "1:2:3:4"], "'1:2:3:4' is no time; expected 83.5, 1:23.5"),
        (["--end", "-1"], "'--end'"),
        (["--start", "5", "--end", "5"], "end_s is 5; expected more than start_s, 5"),
        (["--max-objects", "256"], "'--max-objects'"),
        (["--max-objects", "0"], "'--max-objects'"),
        (["--max-tracks", "0"], "'--max-tracks'"),
        (["--min-confidence", "1.5"], "'--min-confidence'"),
        (["--min-confidence", "-0.5"], "'--min-confidence'"),
        (["--seed", "-1"], "'--seed'"),
        (["--seed", "one"], "'--seed'"),
        (["--refine-px", "300"], "300 is not one of 256, 512"),
        (["--save", "masks,mask"], "'mask' is not one of masks, overlay"),
        (["--save", ""], "an empty list; expected some of masks, overlay"),
        (["--layout", "kitti"], "'kitti' is not one of clip, davis"),
        (["--device", "toaster"], "'toaster' is not one of auto, cpu"),
        (["--frobnicate"], "--frobnicate"),
        (["--layout", "davis", "--save", "overlay"], "masks only"),
        (["--layout", "davis", "--overlay", "masks"], "--overlay needs an overlay"),
        (["--save", "masks", "--overlay", "masks"], "--overlay needs an overlay"),
    ],
)
def test_usage_errors(run: Run, clip: Path, options: list[str], words: str) -> None:
    outcome = run(*options, clip)
    assert outcome.exit_code == 2 and words in only_line(outcome)


def test_options_are_checked_before_engines_are_opened(run: Run, clip: Path) -> None:
    outcome = run("--device", "toaster", clip, engine_dir="nowhere")
    assert outcome.exit_code == 2 and outcome.stderr.endswith("--help\n")
    outcome = run(engine_dir="nowhere")
    assert outcome.exit_code == 2 and "Missing argument 'CLIP'; see: " in outcome.stderr


def test_verbose_tells_of_engines_sizes_and_times(run: Run, clip: Path) -> None:
    said = run("-v", clip).stderr
    assert "preset nano, on cpu; made with" in said
    assert "depth (fp32): frames BxHxWx3 -> disparity BxHxW" in said
    assert "4 frames of 64x48" in said and "ms: tracks 1" in said


def test_several_clips_are_counted(run: Run, clip: Path) -> None:
    lines = run(clip, "missing.mp4", clip).stderr.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("clip ")] == [
        *(f"clip 1 of 3: {clip}", "clip 2 of 3: missing.mp4", f"clip 3 of 3: {clip}")
    ]


def test_missing_engine_folder(run: Run, clip: Path) -> None:
    outcome = run(clip, engine_dir="nowhere")
    assert outcome.exit_code == 4 and "samotion-export all" in only_line(outcome)


@pytest.fixture
def own_engines(engines: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(engines, tmp_path / "own"))


def test_engines_are_checked_before_the_clip_is_read(run: Run, own_engines: Path) -> None:
    (own_engines / "sam2_image.onnx").unlink()
    Path("no_video.mp4").write_text("text")
    outcome = run("no_video.mp4", engine_dir=own_engines)
    assert outcome.exit_code == 4 and "sam2_image.onnx is missing" in only_line(outcome)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([Tensor("images", "uint8", ("B", "H", "W", 3))], None, "expected 'frames'"),
        ([Tensor("frames", "float32", ("B", "H", "W", 3))], None, "is float32, expected uint8"),
        ([Tensor("frames", "uint8", ("B", 3, "H", "W"))], None, "has shape"),
        (None, [Tensor("depth", "float32", ("B", "H", "W"))], "expected 'disparity'"),
        (None, [Tensor("disparity", "float32", ("B", "H", "W", 1))], "has shape"),
    ],
)
def test_onnx_with_other_names_or_shapes(
    run: Run,
    clip: Path,
    own_engines: Path,
    inputs: list[Tensor] | None,
    outputs: list[Tensor] | None,
    words: str,
) -> None:
    signature = SIGNATURES["depth"]
    model = zero_engines.zero_graph(inputs or signature.inputs, outputs or signature.outputs)
    put_engine(own_engines, zero_engines.write_engine(own_engines, "depth", model))
    outcome = run(clip, engine_dir=own_engines)
    line = only_line(outcome)
    assert outcome.exit_code == 4 and "depth.onnx" in line
    assert words.replace("'", "") in line.replace("'", "")


def test_engine_that_is_no_onnx(run: Run, clip: Path, own_engines: Path) -> None:
    put_engine(own_engines, zero_engines.write_engine(own_engines, "depth", b"not a graph"))
    outcome = run(clip, engine_dir=own_engines)
    assert outcome.exit_code == 4 and "cannot load depth.onnx" in only_line(outcome)


def put_engine(folder: Path, entry: Entry) -> None:
    """Set the entry of `depth` in a folder's manifest."""
    before = manifest.read(folder)
    manifest.write(folder, replace(before, engines={**before.engines, "depth": entry}))


def in_a_process(
    tmp_path: Path, *arguments: Any, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run samotion-run as a process of its own, with the half segmenter."""
    script = (
        "import samotion.pipeline; from helpers.half_segmenter import half_segmenter;"
        "samotion.pipeline.segment_clip = half_segmenter;"
        "from samotion.commands.run import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, "-q", "-o", tmp_path / "out", *arguments],
        capture_output=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
            "PYTHONIOENCODING": "utf-8:strict",
        },
        **options,
    )


def test_path_that_is_no_utf8(engines: Path, clip: Path, tmp_path: Path) -> None:
    path = bytes(clip.parent) + b"/caf\xe9.mp4"
    os.rename(clip, path)
    done = in_a_process(tmp_path, "--engine-dir", engines, path)
    assert done.stdout == bytes(tmp_path) + b"/out/caf\xe9/overlay.mp4\n", done.stderr


def test_disk_that_runs_full(engines: Path, clip: Path, tmp_path: Path) -> None:
    """A real limit on file size stands in for a full disk: the kernel refuses the write in the
    same place.
    """
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))  # noqa: E731
    done = in_a_process(tmp_path, "--engine-dir", engines, clip, preexec_fn=limit)
    assert done.returncode == 7, done.stderr
    assert b"cannot write results to" in done.stderr and done.stderr.count(b"\n") == 1
    assert not list((tmp_path / "out").rglob(".*.mp4")) and done.stdout == b""
