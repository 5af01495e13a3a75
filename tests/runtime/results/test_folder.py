"""An output folder is taken over from a run that died, and never leads out of -o."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.made_result import CLIP_FILES, files_below, make_result
from helpers.paths import ROOT
from samotion.errors import OutputError, UsageError
from samotion.results import finished
from samotion.results import folder as folders
from samotion.results import write as output
from samotion.results.material import Material
from samotion.results.record import FOLDERS, counts, is_result, read_record
from samotion.results.writers import WRITERS, writer


@pytest.mark.parametrize(
    "arguments", ["clip masks,overlay 7", "davis masks 13", "clip masks 17 before"]
)
def test_run_that_is_killed_anywhere_is_taken_up_again(tmp_path: Path, arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "helpers.killed_runs",
        str(tmp_path / "out"),
        *arguments.split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests")
    lines = [line.split() for line in done.stdout.splitlines()]
    expected = lines[-1][3:]
    assert len(lines) > 3 and expected and lines[-1][1] == "0", done.stderr
    for kill_at, killed, again, *left in lines[:-1]:
        # killed after run.json, before its end
        finished = "earlier result" in done.stderr and again == "1"
        assert killed == "-9" and (again == "0" or finished) and left == expected, kill_at


def test_a_pipe_called_run_json_is_neither_waited_for_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    os.mkfifo(tmp_path / "clip" / "run.json")
    target = folders.locate(tmp_path, "clip")
    assert read_record(target) == {} and not is_result(tmp_path / "clip")
    with pytest.raises(OutputError, match=r"holds 'run\.json'"), folders.reserve(target, True):
        pass


@pytest.mark.parametrize("wrong", [5, "5", None, {}])
def test_what_a_record_counts_is_told_whatever_it_holds(wrong: object) -> None:
    assert counts({"frames": wrong, "objects": wrong})[0] == 0
    assert counts({"frames": [0, 0], "objects": 3}) == (2, 3)


def test_a_request_of_wrong_types_is_another(tmp_path: Path) -> None:
    asked = {name: {} for name in ("clip", "settings", "engines")} | {"overlay": ["ids", "masks"]}
    target = folders.locate(tmp_path, "clip")
    target.tree.mkdir()
    for overlay in ([1, "a", {}], 5, [{}, []]):
        written = {"tool": "samotion", "layout": "clip", "request": asked | {"overlay": overlay}}
        target.record.write_text(json.dumps(written))
        differs = finished.difference(target, asked | {"save": []}, [])
        assert differs.startswith("with an overlay of") == isinstance(overlay, list)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (".samotion-1a2b3c_4.tmp", True),
        ("masks/.samotion-1a2b3c_4.tmp", True),
        (".run.json.1a2b3c_4", True),
        ("masks/.00003.png.1a2b3c_4", True),
        (".overlay.1a2b3c_4.mp4", True),
        (".samotion.lock", True),
        (".samotion-1a2b3c_4.tmp.mine", False),
        (".samotion-notes.tmp", False),
        (".thesis.doc.1a2b3c_4", False),
        ("masks/.00004.png.1a2b3c_4", False),
        (".00003.png.1a2b3c_4", False),
        (".DS_Store", False),
    ],
)
def test_only_what_a_killed_run_left_is_removed(tmp_path: Path, name: str, ours: bool) -> None:
    folder = output.write(make_result(), tmp_path)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "writing"}))
    (folder / name).write_text("half")
    output.write(make_result(), tmp_path)
    assert files_below(tmp_path) == CLIP_FILES | (set() if ours else {f"walk/{name}"})


def test_half_written_result_is_redone_unasked(tmp_path: Path) -> None:
    (tmp_path / "walk" / "masks").mkdir(parents=True)
    files = ["masks/00000.png", "masks/old.png"]
    for file in files:
        (tmp_path / "walk" / file).touch()
    record = {"tool": "samotion", "layout": "clip", "status": "writing", "files": files}
    (tmp_path / "walk" / "run.json").write_text(json.dumps(record))
    output.write(make_result(), tmp_path)
    assert files_below(tmp_path) == CLIP_FILES


def _link_tree(out: Path, outside: Path) -> None:
    out.mkdir()
    (out / "walk").symlink_to(outside)


def _link_masks(out: Path, outside: Path) -> None:
    (out / "walk").mkdir(parents=True)
    (out / "walk" / "masks").symlink_to(outside)


def _link_record(out: Path, outside: Path) -> None:
    (out / "walk").mkdir(parents=True)
    (outside / "run.json").write_text(json.dumps({"tool": "samotion", "layout": "clip"}))
    (out / "walk" / "run.json").symlink_to(outside / "run.json")


def _link_lock(out: Path, outside: Path) -> None:
    (out / "walk").mkdir(parents=True)
    (out / "walk" / ".samotion.lock").symlink_to(outside / "precious")


def _link_mask(out: Path, outside: Path) -> None:
    output.write(make_result(), out)
    mask = out / "walk" / "masks" / "00003.png"
    mask.unlink()
    mask.symlink_to(outside / "precious")


@pytest.mark.parametrize("link", [_link_tree, _link_masks, _link_record, _link_lock, _link_mask])
@pytest.mark.parametrize("overwrite", [False, True])
def test_links_out_of_the_folder_are_never_followed(
    tmp_path: Path, link: Callable[[Path, Path], None], overwrite: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    link(tmp_path / "out", outside)
    before, inside = files_below(outside), files_below(tmp_path / "out")
    with pytest.raises(OutputError, match=r"is a link|did not write"):
        output.write(make_result(), tmp_path / "out", overwrite=overwrite)
    assert files_below(outside) == before and (outside / "precious").read_text() == "precious"
    assert files_below(tmp_path / "out") == inside


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    output.write(make_result(), tmp_path / "out")
    assert files_below(tmp_path / "disk") == CLIP_FILES


@pytest.mark.parametrize("name", ["", ".", "..", "../walk", "/walk", "a/b"])
def test_clip_whose_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="rename the clip"):
        output.write(make_result(name), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_names_of_the_folders_own_files_are_taken_in_layout_davis(tmp_path: Path) -> None:
    for name in folders.RESERVED:
        with pytest.raises(UsageError, match="rename the clip"):
            output.write(make_result(name), tmp_path, layout="davis")


def test_empty_folder_of_a_killed_run_goes_when_the_next_one_fails(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / ".samotion.lock").touch()
    with pytest.raises(ZeroDivisionError), folders.reserve(folders.locate(tmp_path, "walk")):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_result_within_anothers_folder_is_nobodys_but_its_own(tmp_path: Path) -> None:
    """Of shot/take.mp4 beside shot.mp4."""
    output.write(make_result("take"), tmp_path / "shot")
    output.write(make_result("shot"), tmp_path)
    inner = files_below(tmp_path / "shot" / "take")
    temporary = tmp_path / "shot" / "take" / ".samotion-1a2b3c_4.tmp"
    temporary.write_text("half")
    output.write(make_result("shot"), tmp_path, save=("coco",), overwrite=True)
    assert files_below(tmp_path / "shot" / "take") == inner | {temporary.name}
    output.write(make_result("take"), tmp_path / "shot", overwrite=True)
    (tmp_path / "shot" / "take" / "run.json").write_text('{"tool": "other"}')
    with pytest.raises(OutputError, match="which samotion did not write"):
        output.write(make_result("shot"), tmp_path, overwrite=True)


def test_no_other_result_lies_where_a_clip_has_its_files(tmp_path: Path) -> None:
    """Of shot/masks.mp4 beside shot.mp4."""
    material = Material(folders.locate(tmp_path, "clip"), make_result())
    written = [file for kind in WRITERS for file in writer(kind).files(material)]
    inside = {file.split("/")[0] for file in written if "/" in file}
    assert inside == {*FOLDERS}, "record.FOLDERS are all in which a writer has files"
    output.write(make_result("masks"), tmp_path / "shot", save=("coco",))
    with pytest.raises(OutputError, match=r"holds 'masks/.*which samotion did not write"):
        output.write(make_result("shot"), tmp_path)


def test_an_empty_record_is_what_a_machine_left_that_went_down(tmp_path: Path) -> None:
    target = folders.locate(tmp_path, "clip")
    target.tree.mkdir()
    target.record.touch()
    with folders.reserve(target):
        pass
    target.record.write_text("{}")
    with (
        pytest.raises(OutputError, match=r"'run.json', which samotion did not write"),
        folders.reserve(target),
    ):
        pass
