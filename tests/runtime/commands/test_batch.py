"""samotion-batch: an archive's clips, done once each, whatever happens in between."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from io import BytesIO, TextIOWrapper
from pathlib import Path
from threading import Timer
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.batch_jobs import NamedJob
from samotion.commands import batch, workers
from samotion.commands.clip_job import ClipJob
from samotion.commands.ledger import (
    FAILED,
    Ledger,
    Outcome,
    changed_ns,
    known_folders,
    summarise,
)
from samotion.commands.listing import Item, find_items, from_list, shard_of
from samotion.errors import InputError, OutputError, UsageError
from samotion.settings import Settings
from typer.testing import CliRunner


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def moving_square(folder: Path, count: int) -> Path:
    """A folder of frames in which a square goes over a smooth ground."""
    folder.mkdir(parents=True)
    ground = np.random.default_rng(0).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    for t in range(count):
        frame = cv2.resize(ground, (96, 64))
        frame[20:44, 10 + 8 * t : 34 + 8 * t] = 250, 40, 40
        cv2.imwrite(str(folder / f"{t:03d}.png"), frame)
    return folder


# what an archive holds


def test_a_folder_gives_its_videos_and_folders_of_frames_in_its_own_tree(tmp_path: Path) -> None:
    for name in ("b.mp4", "x/a.mov", "x/a.mp4", "x/notes.txt", "y/0.png", "y/1.png", ".hidden.mp4"):
        touch(tmp_path / name)
    touch(tmp_path / "done" / "run.json")
    touch(tmp_path / "done" / "overlay.mp4")
    found = {
        Path(i.clip).relative_to(tmp_path).as_posix(): i.folder for i in find_items(str(tmp_path))
    }
    assert found == {"b.mp4": "b", "x/a.mov": "x/a.mov", "x/a.mp4": "x/a.mp4", "y": "y"}


def test_a_list_gives_each_of_its_clips_once() -> None:
    lines = ["# mine\n", "\n", "one/a.mp4\n", "two/a.mp4\n", "one/a.mp4\n", "c.mov\n"]
    assert from_list(lines) == [
        Item("one/a.mp4", "one_a.mp4"),
        Item("two/a.mp4", "two_a.mp4"),
        Item("c.mov", "c"),
    ]
    assert from_list(["a.mp4", "./a.mp4"]) == [Item("a.mp4", "a")]


def test_clips_that_would_share_a_folder_are_numbered(tmp_path: Path) -> None:
    folders = [item.folder for item in from_list(["a/b/x.mp4", "a_b/x.mp4", "x.mp4"])]
    assert folders == ["a_b_x.mp4", "a_b_x.mp4-2", "x.mp4"]
    for name in ("take.MP4", "take.mp4", "other.mp4"):
        touch(tmp_path / "a" / name)
    found = [item.folder for item in find_items(str(tmp_path))]
    assert found == ["a/other", "a/take.MP4", "a/take.mp4-2"]


def test_no_clip_gets_the_folder_of_anothers_files(tmp_path: Path) -> None:
    """`scene/images` holds frames in many archives, and in a result the frames of `scene`."""
    for name in ("scene.mp4", "scene/images/0.png", "scene/images/1.png", "scene/take.mp4"):
        touch(tmp_path / name)
    found = [item.folder for item in find_items(str(tmp_path))]
    assert found == ["scene/images-2", "scene/take", "scene"]
    (tmp_path / "scene.mp4").unlink()
    assert [i.folder for i in find_items(str(tmp_path))] == ["scene/images", "scene/take"]


def test_a_folder_of_frames_has_changed_where_one_of_them_has(tmp_path: Path) -> None:
    """Repaired in place, which leaves the folder's own time."""
    frames = [touch(tmp_path / "walk" / f"{k}.png") for k in range(2)]
    for path in (*frames, frames[0].parent):
        os.utime(path, ns=(5, 5))
    ledger = Ledger(tmp_path)
    clip = str(tmp_path / "walk")
    ledger.add(Outcome(clip, "walk", FAILED, changed=changed_ns(clip)))
    assert changed_ns(clip) == 5 and ledger.failure_before(clip)
    os.utime(frames[1], ns=(7, 7))
    assert changed_ns(clip) == 7 and not ledger.failure_before(clip)
    assert changed_ns(str(tmp_path / "none")) == changed_ns("a\0b") == 0


def test_a_list_from_windows_loses_nothing() -> None:
    assert from_list(["\ufeffa.mp4\r\n", "b.mp4\r\n"]) == [Item("a.mp4", "a"), Item("b.mp4", "b")]


def test_a_poster_beside_a_video_is_no_clip(tmp_path: Path) -> None:
    clip = touch(tmp_path / "film" / "film.mp4")
    touch(tmp_path / "film" / "poster.jpg")
    assert find_items(str(tmp_path)) == [Item(str(clip), "film/film")]


def test_failed_clips_are_listed_where_a_list_can_hold_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    names = ["plain.mp4", "two\nlines.mp4", "#sign.mp4", " blank.mp4"]
    ledger.close([Outcome(name, name, FAILED, error="error: no") for name in names])
    assert from_list(ledger.failed_path.read_text().splitlines()) == [Item("plain.mp4", "plain")]
    assert ledger.failed_path.read_text().count("cannot stand in a list") == 3


def test_a_clip_keeps_the_folder_that_a_ledger_tells(tmp_path: Path) -> None:
    """Whatever comes since: a namesake, a list instead of the folder; unless another has it now."""
    out = tmp_path / "out"
    out.mkdir()
    first = str(touch(tmp_path / "in" / "x" / "a.mp4"))
    Ledger(out, "1/2").add(Outcome(first, "x/a", "done"))
    later = str(touch(tmp_path / "in" / "x" / "a.mov"))
    assert find_items(str(tmp_path / "in"), known_folders(out)) == [
        Item(later, "x/a.mov"),
        Item(first, "x/a"),
    ]
    assert from_list([first], known=known_folders(out)) == [Item(first, "x/a")]
    ledger = Ledger(out)
    ledger.add(Outcome("elsewhere/a.mp4", "x/a", FAILED))
    ledger.add(Outcome("outside.mp4", "../outside", "done"))
    assert known_folders(out) == {first: "x/a"}
    ledger.add(Outcome(later, "a", "done"))
    ledger.add(Outcome("c.mp4", None, "done"))  # type: ignore[arg-type]
    listed = from_list([os.path.relpath(later), "a.mp4", "y/b.mp4"], known=known_folders(out))
    assert [item.folder for item in listed] == ["a", "a.mp4", "b"]


def test_a_ledger_knows_its_clips_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named relative to another folder they are the same clips; on another machine, where their
    whole paths lead nowhere, relative ones still do.
    """
    out, clip = tmp_path / "out", touch(tmp_path / "clips" / "a.mp4")
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    name = os.path.relpath(clip)
    error = f"error: cannot read {name!r}: it is empty"
    failed = Outcome(name, "a", FAILED, exit_code=3, error=error, changed=changed_ns(name))
    Ledger(out).add(failed)
    assert list(Ledger(out).outcomes.values()) == [failed]
    monkeypatch.chdir(out)
    ledger = Ledger(out)
    assert known_folders(out) == {str(clip): "a"}
    before = ledger.failure_before("../clips/a.mp4")
    assert before and before.clip == "../clips/a.mp4" and repr(str(clip)) in before.error
    ledger.add(Outcome("../clips/a.mp4", "a", "done"))
    assert ledger.close([])["clips"] == 0
    assert json.loads(ledger.summary_path.read_text())["clips"] == 1
    assert json.loads(ledger.summary_path.read_text())["failed"] == 0
    shutil.copytree(tmp_path, elsewhere := tmp_path.with_name("elsewhere"))
    shutil.rmtree(tmp_path / "clips")
    monkeypatch.chdir(elsewhere / "out")
    assert known_folders(elsewhere / "out") == {str(elsewhere / "clips" / "a.mp4"): "a"}


def test_a_namesake_in_a_later_list_leaves_a_known_clip_its_folder(tmp_path: Path) -> None:
    """But a clip that is not there any more may have moved."""
    first, second = (touch(tmp_path / name / "a.mp4") for name in "xy")
    known = {str(first): "a"}
    assert from_list([str(second)], known=known)[0].folder == "a-2"
    first.unlink()
    assert from_list([str(second)], known=known)[0].folder == "a"


def test_results_of_others_hide_no_clips(tmp_path: Path) -> None:
    """Some other program's run.json says nothing; one that a crash left empty is ours."""
    clips = [str(touch(tmp_path / name / "b.mp4")) for name in ("day1", "day2")]
    (tmp_path / "day2" / "run.json").write_text('{"my": "run"}')
    touch(tmp_path / "ours" / "overlay.mp4")
    touch(tmp_path / "ours" / "run.json")
    assert [item.clip for item in find_items(str(tmp_path))] == clips
    (tmp_path / "day1" / "run.json").write_text('{"tool": "samotion"}')
    assert [item.clip for item in find_items(str(tmp_path))] == clips[1:]


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a clip that fails, and where it is all there is at once."""
    clip = touch(tmp_path / "open" / "a.mp4")
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def refusing(folder: Any) -> Any:
        if Path(folder) == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    items = find_items(str(tmp_path))
    assert items == [Item(str(closed), "closed"), Item(str(clip), "open/a")]
    with pytest.raises(InputError, match="closed': Permission denied"):
        find_items(str(closed))


def test_a_list_from_a_pipe_is_read_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are not UTF-8 included."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"caf\xe9.mp4\na.mp4\n"), "utf-8"))
    clips = [item.clip for item in find_items("-")]
    assert [os.fsencode(clip) for clip in clips] == [b"caf\xe9.mp4", b"a.mp4"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        find_items("-")


def test_what_holds_no_clips_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no clips"):
        find_items(str(tmp_path))
    with pytest.raises(InputError, match="a path a line"):
        find_items(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="name too long"):
        find_items("a" * 300)
    (tmp_path / "list").write_bytes(b"\0\1")
    with pytest.raises(InputError, match="no list of clips"):
        find_items(str(tmp_path / "list"))
    (tmp_path / "list").write_text("# none\n\n")
    with pytest.raises(InputError, match="names no clips"):
        find_items(str(tmp_path / "list"))


def test_shards_share_everything_out_once() -> None:
    items = [Item(str(k), str(k)) for k in range(11)]
    shards = [shard_of(items, f"{k}/4") for k in range(1, 5)]
    assert sorted(item for shard in shards for item in shard) == sorted(items)
    assert max(map(len, shards)) - min(map(len, shards)) == 1
    for wrong in ("0/4", "5/4", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="i/n"):
            shard_of(items, wrong)


# processes


def outcomes(tmp_path: Path, names: list[str], places: list[str | None]) -> dict[str, Outcome]:
    job = NamedJob(str(tmp_path))
    items = [Item(f"{name}.mp4", name) for name in names]
    some = list(workers.run(job, items, places))
    assert len(some) == len(names)
    return {outcome.folder: outcome for outcome in some}


def begun(tmp_path: Path, name: str) -> int:
    return int((tmp_path / f"{name}.begun").read_text())


def test_a_process_that_dies_takes_only_its_own_clip_with_it(tmp_path: Path) -> None:
    done = outcomes(tmp_path, ["a", "dies", "b", "dies_once", "c", "bad"], [None, None])
    failed = {name for name, outcome in done.items() if outcome.status == FAILED}
    assert failed == {"dies", "bad"}
    assert "SIGKILL, 2 times" in done["dies"].error and done["dies"].exit_code == 1
    times = [begun(tmp_path, name) for name in ("a", "b", "c", "dies_once", "dies")]
    assert times == [1, 1, 1, 2, 2]


def test_a_fault_of_the_gpu_ends_its_process_alone(tmp_path: Path) -> None:
    done = outcomes(tmp_path, ["a", "faulty_once", "b", "faulty", "c", "d", "bad"], [None])
    failed = {name: outcome.error for name, outcome in done.items() if outcome.status == FAILED}
    assert failed == {"faulty": "error: bad", "bad": "error: bad"}
    assert [begun(tmp_path, name) for name in ("faulty_once", "faulty", "bad", "d")] == [2, 2, 1, 1]


def test_processes_that_wait_for_more_to_do_end_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal would come while they leave, and be told as a stack trace now and then."""
    codes = []
    wait = workers._Worker.wait

    def told(worker: Any, until_s: float) -> None:
        wait(worker, until_s)
        codes.append(worker.process.exitcode)

    monkeypatch.setattr(workers._Worker, "wait", told)
    outcomes(tmp_path, ["a", "b", "bad"], [None])
    assert codes == [0]


def test_a_process_that_dies_while_it_waits_for_more_to_do_is_replaced(tmp_path: Path) -> None:
    """It had no clip, and its engines were open."""
    names = ["waits", "a"]
    told = {}
    items = [Item(f"{name}.mp4", name) for name in names]
    for outcome in workers.run(NamedJob(str(tmp_path)), items, [None, None]):
        told[outcome.folder] = outcome.status
        if outcome.folder == "a":
            os.kill(int(outcome.worker.split()[0].split(":")[1]), signal.SIGKILL)
            Timer(1.0, (tmp_path / "told").touch).start()
    assert told == dict.fromkeys(names, "done")


def test_a_process_ignores_an_interrupt_from_its_first_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would tell a stack trace of what it was at."""
    how: list[Any] = []
    start = workers._SPAWN.Process.start

    def spy(process: Any) -> None:
        how.append(signal.getsignal(signal.SIGINT))
        start(process)

    monkeypatch.setattr(workers._SPAWN.Process, "start", spy)
    before = signal.getsignal(signal.SIGINT)
    outcomes(tmp_path, ["a"], [None])
    assert how == [signal.SIG_IGN] and signal.getsignal(signal.SIGINT) == before


def test_every_gpu_has_its_process(tmp_path: Path) -> None:
    done = outcomes(tmp_path, [f"c{k}" for k in range(6)], ["0", "3"])
    seen = {outcome.worker.split()[1] for outcome in done.values()}
    assert seen <= {"0", "3"} and len({outcome.worker for outcome in done.values()}) <= 2


def test_gpus_are_counted_among_those_that_a_scheduler_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workers.VISIBLE, "2, MIG-b")
    done = outcomes(tmp_path, [f"c{k}" for k in range(4)], ["1", "0"])
    assert {outcome.worker.split()[1] for outcome in done.values()} <= {"2", "MIG-b"}
    done = outcomes(tmp_path, ["named"], ["MIG-c"])
    assert done["named"].worker.split()[1] == "MIG-c"
    job = NamedJob(str(tmp_path))
    with pytest.raises(workers.WorkerError, match=r"--gpus 2: .*=2, MIG-b shows 2 of them"):
        list(workers.run(job, [Item("a.mp4", "a")], ["2"]))


def test_a_gpu_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    job = NamedJob(str(tmp_path), device="cpu")
    with pytest.raises(workers.WorkerError, match="--gpus 3: the engines would run on the CPU"):
        list(workers.run(job, [Item("a.mp4", "a")], ["3"]))


def test_processes_share_the_cores_that_they_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samotion.backends.threads.core_count", lambda: 5)
    assert [batch._threads(count) for count in (1, 2, 5, 8)] == [None, 2, 1, 1]


def test_engines_that_are_missing_end_the_batch(tmp_path: Path) -> None:
    job = NamedJob(str(tmp_path), "missing")
    with pytest.raises(workers.WorkerError, match="no engines in 'missing'") as caught:
        list(workers.run(job, [Item("a.mp4", "a")], [None]))
    assert caught.value.exit_code == 4


# the ledger


def test_a_half_line_costs_one_clip_and_no_later_one(tmp_path: Path) -> None:
    first = Outcome("a.mp4", "a", "done", 1.0, 5, 2)
    ledger = Ledger(tmp_path)
    ledger.add(first)
    with ledger.path.open("ab") as file:
        file.write(b'{"clip": "b.mp4", "fol')  # killed here
    again = Ledger(tmp_path)
    assert again.outcomes == {os.path.abspath("a.mp4"): first}
    again.add(Outcome("c.mp4", "c", "done"))
    assert [one.clip for one in Ledger(tmp_path).outcomes.values()] == ["a.mp4", "c.mp4"]


def test_a_run_of_a_few_clips_leaves_what_is_told_of_the_others(tmp_path: Path) -> None:
    """A clip counts once, by whatever path it is named, as its last line says."""
    ledger = Ledger(tmp_path)
    for name in ("a", "b", "c"):
        ledger.add(Outcome(f"{name}.mp4", name, FAILED, error="error: no"))
    again = Ledger(tmp_path)
    done = Outcome(os.path.abspath("b.mp4"), "b", "done", frames=5)
    again.add(done)
    assert again.close([done])["clips"] == 1
    assert from_list(again.failed_path.read_text().splitlines()) == [
        Item("a.mp4", "a"),
        Item("c.mp4", "c"),
    ]
    summary = json.loads(again.summary_path.read_text())
    assert (summary["clips"], summary["done"], summary["failed"]) == (3, 1, 2)
    assert all(f">{name}<" in again.page_path.read_text() for name in "abc")
    worse = Outcome("b.mp4", "b", FAILED, error="error: no")  # the first path again, and later
    again.add(worse)
    Ledger(tmp_path).close([])
    assert "b.mp4" in again.failed_path.read_text()


@pytest.mark.parametrize("shard", [["--shard", "1/8"], ["--shard=1/8"]])
def test_a_list_of_what_failed_is_no_shard(shard: list[str]) -> None:
    for arguments in (["in", *shard, "--overwrite"], [*shard, "--overwrite", "in"]):
        again = batch._again(arguments, "in", "failed.txt")
        assert "--shard" not in again and "1/8" not in again and "failed.txt" in again
    assert "--shard" in batch._again(["in", *shard], "in", "failed.txt")  # the same clips


def test_reasons_are_counted_without_the_clips_names() -> None:
    some = [
        Outcome(f"{k}.mp4", f"x/{k}", FAILED, exit_code=3, error=f"error: '{k}.mp4' is empty")
        for k in range(3)
    ]
    some += [
        Outcome(f"{k}.mp4", f"x/{k}", FAILED, exit_code=7, error=f"error: '/out/x/{k}' holds 'a'")
        for k in range(2)
    ]
    reasons = summarise(some)["reasons"]
    assert reasons == {"the clip is empty": 3, "the result holds 'a'": 2}


def test_one_batch_at_a_time_keeps_a_ledger(tmp_path: Path) -> None:
    clip = touch(tmp_path / "in" / "a.mp4")
    with Ledger.opened(tmp_path):
        code, _, stderr = command(str(clip.parent), "-o", str(tmp_path))
        assert code == 7 and "ledger.jsonl' is in use by another samotion-batch" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", ["ledger.jsonl", "failed.txt", "summary.json"])
@pytest.mark.parametrize("linked", [False, True])
def test_files_that_are_not_a_batchs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, linked: bool
) -> None:
    clip, out = touch(tmp_path / "in" / "a.mp4"), tmp_path / "out"
    mine = touch((tmp_path / "mine") if linked else out / name)
    mine.write_text('{"mine": 1}\n')
    if linked:
        out.mkdir()
        (out / name).symlink_to(mine)
    monkeypatch.setattr("samotion.commands.clip_job.ClipJob", NamedJob)
    code, _, stderr = command(str(clip.parent), "-o", str(out))
    assert code == 7 and name in stderr
    assert ("is a link" if linked else "did not write; choose another") in stderr
    assert mine.read_text() == '{"mine": 1}\n' and len(list(out.iterdir())) == 1
    mine.write_text("mine\n")  # no JSON
    assert command(str(clip.parent), "-o", str(out))[0] == 7 and mine.read_text() == "mine\n"


def test_what_a_batch_left_is_its_own(tmp_path: Path) -> None:
    """A first line that was cut; the summary of a shard without clips; a list of what failed, of a
    batch that was killed before its summary.
    """
    (tmp_path / "ledger.jsonl").write_text('{"clip": "a.mp4", "fo')
    Ledger(tmp_path).close([])
    with Ledger.opened(tmp_path) as ledger:
        ledger.add(Outcome("a.mp4", "a", FAILED, error="error: no"))
        ledger.close([])
    assert (tmp_path / "failed.txt").read_text() == "# error: no\na.mp4\n"
    (tmp_path / "ledger.jsonl").rename(tmp_path / "kept")  # to begin anew
    with Ledger.opened(tmp_path):
        pass
    (tmp_path / "kept").rename(tmp_path / "ledger.jsonl")
    (tmp_path / "summary.json").unlink()
    with Ledger.opened(tmp_path) as ledger:
        assert [one.clip for one in ledger.outcomes.values()] == ["a.mp4"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": []},
        {"status": "lost"},
        {"frames": "5"},
        {"objects": None},
        {"seconds": "1"},
        {"seconds": float("nan")},
        {"frames": 1 << 63},
        {"folder": "../elsewhere"},
        {"folder": "/elsewhere"},
        {"clip": "\ud800"},
    ],
)
def test_a_line_of_a_wrong_type_is_passed_over(tmp_path: Path, wrong: dict[str, Any]) -> None:
    line = json.dumps(asdict(Outcome("a.mp4", "a", "done")) | wrong)
    (tmp_path / "ledger.jsonl").write_text(line + "\n")
    ledger = Ledger(tmp_path)
    assert ledger.outcomes == known_folders(tmp_path) == {}
    assert ledger.close([])["clips"] == 0


def test_an_error_that_utf8_cannot_hold_is_listed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close([Outcome("a.mp4", "a", FAILED, error="error: \ud800")])
    assert ledger.failed_path.read_text() == "# error: \\ud800\na.mp4\n"


def test_a_pipe_called_ledger_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger.jsonl")
    with pytest.raises(OutputError, match=r"ledger\.jsonl' is not a regular file"):
        known_folders(tmp_path)


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_no_result_goes_through_a_link_in_the_tree(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(tmp_path / "elsewhere")
    engines: Any = None  # it comes to none
    outcome = ClipJob(str(out)).do(Item(str(touch(tmp_path / "x.mp4")), "a/b/x"), engines)
    assert outcome.status == FAILED and f"{str(out / link)!r} is a link" in str(outcome.error)
    assert list((tmp_path / "elsewhere").iterdir()) == []


# the command


def command(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(batch.app, [*arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_batch_is_done_once_and_tells_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.mp4", "bad.mp4", "dies_once.mp4"):
        touch(clips / name)
    monkeypatch.setattr("samotion.commands.clip_job.ClipJob", NamedJob)
    code, stdout, stderr = command(str(clips), "-o", str(out))
    assert code == 8
    assert "done     2" in stdout and "failed   1" in stdout and "1 x bad" in stdout
    assert "bad.mp4: error: bad" in stderr
    assert (out / "failed.txt").read_text() == f"# error: bad\n{clips / 'bad.mp4'}\n"
    assert json.loads((out / "summary.json").read_text())["frames"] == 8

    command(str(clips), "-o", str(out))
    assert begun(out, "bad") == 1  # it would fail again
    monkeypatch.setattr(sys, "argv", ["samotion-batch", "-o", str(out), str(clips)])
    _, _, stderr = command(str(out / "failed.txt"), "-o", str(out), "--retry-failed")
    assert begun(out, "bad") == 2
    assert f"again with: samotion-batch --retry-failed -o {out} {clips}" in stderr
    for source, rest in (("-", []), (str(clips), ["--overwrite"])):
        monkeypatch.setattr(sys, "argv", ["samotion-batch", source, "-o", str(out), *rest])
        listed = CliRunner().invoke(
            batch.app, [source, "-o", str(out), *rest], str(clips / "bad.mp4")
        )
        hint = f"samotion-batch --retry-failed {out / 'failed.txt'} -o {out}"
        assert shlex.join([*shlex.split(hint), *rest]) in listed.stderr
    os.utime(clips / "bad.mp4", (1, 1))
    command(str(clips), "-o", str(out))
    assert begun(out, "bad") == 3  # another file now


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    clip = touch(tmp_path / "a.mp4")
    for wrong in (
        ["--gpus", "0", "--ray", "local"],
        ["--gpus", "0,1", "--workers", "1"],
        ["--gpus", "a b"],
        ["--shard", "3"],
    ):
        code, _, stderr = command(str(clip.parent), "-o", str(tmp_path / "out"), *wrong)
        assert code == 2 and stderr.splitlines()[-1].startswith("error: "), wrong


def _answers(folder: Path) -> dict[str, bytes]:
    """What a run finds, file by file."""
    paths = [*folder.rglob("*.png"), *folder.rglob("objects.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips and a bad one in `in`, and in `alone` what one process finds, clip by clip."""
    folder = tmp_path_factory.mktemp("archive")
    job = ClipJob(str(folder / "alone"), settings=Settings(max_tracks=50), save=("masks",))
    with job.open_engines() as engines:
        for k in range(2):
            clip = moving_square(folder / "in" / f"c{k}", 2 + 3 * k)
            job.do(Item(str(clip), clip.name), engines)
    (folder / "in" / "bad.mp4").write_text("no video")
    return folder


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_real_engines_and_an_end_in_the_middle(
    tmp_path: Path, archive: Path, how: signal.Signals
) -> None:
    """Ended after its first clip, the same command does the rest; one of the clips is bad."""
    line = [sys.executable, "-c", "from samotion.commands.batch import main; main()"]
    line += [str(archive / "in"), "-o", str(tmp_path / "out"), "--save", "masks", "-q", "--json"]
    line += ["--max-tracks", "50"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        rows = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(how)
    if how == signal.SIGTERM:
        assert process.returncode == 143 and not [*tmp_path.rglob(".samotion*")]
    assert [(row["folder"], row["status"]) for row in rows] == [("bad", "failed"), ("c0", "done")]
    before = {p: p.stat().st_mtime_ns for p in Path(tmp_path, "out", "c0").rglob("*.png")}
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 8, done.stderr
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    status = {row["folder"]: row["status"] for row in rows}
    assert status == {"bad": "failed", "c0": "skipped", "c1": "done"}
    assert len(rows) == 3 and "bad.mp4" in rows[0]["error"] and "bad.mp4" in done.stderr
    assert before and all(p.stat().st_mtime_ns == then for p, then in before.items())
    assert _answers(archive / "alone") == _answers(tmp_path / "out")
    assert len(_answers(tmp_path / "out")) == 2 + 2 + 5


def test_shards_that_are_broken_off_go_on_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, out = tmp_path / "in", tmp_path / "out"
    names = ["a", "b", "bad", "c", "d", "dies", "e"]
    for name in names:
        touch(clips / f"{name}.mp4")
    monkeypatch.setattr("samotion.commands.clip_job.ClipJob", NamedJob)
    for shard, failed in (("1/2", "bad"), ("2/2", "dies")):
        code, stdout, _ = command(str(clips), "-o", str(out), "--shard", shard, "--json")
        rows = [json.loads(line) for line in stdout.splitlines()]
        wanted = names[int(shard[0]) - 1 :: 2]
        assert code == 8 and sorted(row["folder"] for row in rows) == wanted
        assert [row["folder"] for row in rows if row["status"] == FAILED] == [failed]
        listed = (out / f"failed-{shard[0]}-of-2.txt").read_text().splitlines()
        assert listed[1:] == [str(clips / f"{failed}.mp4")]
    assert {name: begun(out, name) for name in names} == dict.fromkeys(names, 1) | {"dies": 2}
