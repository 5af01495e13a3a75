"""What a run writes can be read back exactly, and nothing that is not ours is ever touched."""

from __future__ import annotations

import errno
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from filelock import FileLock
from helpers.made_result import (
    CLIP_FILES,
    NUMBERS,
    SIZE_HW,
    SOURCE_HW,
    TIMES_S,
    files_below,
    make_result,
)
from helpers.paths import ROOT
from pycocotools import mask as coco
from samotion import png
from samotion.commands import check
from samotion.errors import OutputError, UsageError
from samotion.presets import NANO
from samotion.results import drawing, overlay
from samotion.results import folder as place
from samotion.results import write as output
from samotion.results.colours import palette
from samotion.results.sizes import at_source


def test_palette_is_that_of_davis() -> None:
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        5: (128, 0, 128),
        8: (64, 0, 0),
        21: (128, 64, 128),
    }
    for label, colour in known.items():
        assert tuple(png.DAVIS_PALETTE[label]) == colour
    for level in (22, 255):
        assert tuple(png.DAVIS_PALETTE[level]) == (level,) * 3


@pytest.mark.parametrize("hw", [(1, 1), (3, 7), (48, 65)])
def test_png_reads_back_as_indices_with_palette(
    tmp_path: Path, rng: np.random.Generator, hw: tuple[int, int]
) -> None:
    labels = rng.integers(0, 255, hw, np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(png.encode_indexed(labels))
    with av.open(str(path)) as image:
        frame = next(image.decode(video=0))
    assert frame.format.name == "pal8"
    np.testing.assert_array_equal(frame.to_ndarray()[0], labels)
    picture = cv2.imread(str(path))
    assert picture is not None
    np.testing.assert_array_equal(picture[..., ::-1], png.DAVIS_PALETTE[labels])


def test_draw_tints_and_outlines_in_two_tones(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 255, (40, 40, 3), np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[10:20, 10:20] = 1
    colours = palette()
    drawn = drawing.draw(frame, labels, colours)
    near = cv2.dilate(labels, np.ones((3, 3), np.uint8)) > 0
    np.testing.assert_array_equal(drawn[~near], frame[~near])
    assert (drawn[near & (labels == 0)] == 255).all()
    assert tuple(colours[1]) == (210, 45, 45) == tuple(drawn[10, 15])
    expected = frame[15, 15] * (1 - drawing.TINT) + colours[1] * drawing.TINT
    np.testing.assert_allclose(drawn[15, 15], expected, atol=1)
    assert drawing.draw(frame, labels * 0, colours) is frame


def test_clip_layout_holds_exactly_its_files(tmp_path: Path) -> None:
    assert output.write(make_result(), tmp_path / "out") == tmp_path / "out" / "walk"
    assert files_below(tmp_path / "out") == CLIP_FILES


def test_masks_are_at_the_size_of_the_source(tmp_path: Path) -> None:
    result = make_result()
    folder = output.write(result, tmp_path)
    for t, number in enumerate(NUMBERS):
        with av.open(str(folder / "masks" / f"{number:05d}.png")) as image:
            labels = next(image.decode(video=0)).to_ndarray()[0]
        np.testing.assert_array_equal(labels, result.labels[t].repeat(2, 0).repeat(2, 1))


# inside pycocotools.decode
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_objects_hold_coco_masks_boxes_and_areas(tmp_path: Path) -> None:
    result = make_result(source_hw=SIZE_HW)
    data = json.loads((output.write(result, tmp_path) / "objects.json").read_text())
    assert (data["clip"], data["size"], data["frames"]) == ("walk", list(SIZE_HW), list(NUMBERS))
    assert data["timestamps_s"] == list(TIMES_S)
    one, two = data["objects"]
    page = (ROOT / "docs" / "formats.md").read_text().partition("## objects.json\n")[2]
    told = set(re.findall(r"`(\w+)`", page.partition("\n## ")[0]))
    assert data.keys() | one.keys() <= told, "docs/formats.md, objects.json"
    assert (one["id"], one["score"], one["first_frame"], one["last_frame"]) == (1, 0.9, 0, 9)
    assert (data["confidence"], one["confidence"], two["confidence"]) == (0.97, 0.95, 0.85)
    assert (two["id"], two["first_frame"], two["last_frame"]) == (2, 3, 6)
    assert two["segmentations"][0] is two["boxes"][3] is None and two["areas"] == [0, 80, 80, 0]
    assert one["boxes"][1] == [7, 4, 10, 8] and one["areas"][1] == 80
    for t in range(4):
        np.testing.assert_array_equal(coco.decode(one["segmentations"][t]), result.labels[t] == 1)


def test_tracks_are_in_px_of_the_source(tmp_path: Path) -> None:
    result = make_result()
    with np.load(output.write(result, tmp_path) / "tracks.npz") as data:
        names = "xy visible visibility confidence query_frame query_xy scores object frames"
        assert set(data.files) == set(names.split())
        np.testing.assert_allclose(data["xy"], result.tracks.xy * 2 + 0.5, atol=1e-4)
        np.testing.assert_array_equal(data["visible"], result.tracks.visible)
        np.testing.assert_array_equal(data["scores"], result.scores)
        assert data["frames"].tolist() == list(NUMBERS) and data["xy"].dtype == np.float32


def test_the_same_tracks_are_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path)
    with zipfile.ZipFile(folder / "tracks.npz") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_overlay_plays_in_browsers_at_the_times_of_the_source(tmp_path: Path) -> None:
    result = make_result()
    path = output.write(result, tmp_path, overlay=["masks"]) / "overlay.mp4"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width) == SOURCE_HW
        frames = list(container.decode(stream))
    np.testing.assert_allclose([f.time for f in frames], np.array(TIMES_S) - TIMES_S[0], atol=1e-4)
    rgb = frames[1].to_ndarray(format="rgb24").astype(int)
    larger = cv2.resize(result.clip.frames[1], SOURCE_HW[::-1], interpolation=cv2.INTER_CUBIC)
    labels = at_source(result.labels[1], SOURCE_HW)
    far = cv2.dilate(labels, np.ones((9, 9), np.uint8)) == 0
    assert np.abs(rgb[far] - larger[far])[: 20 * 82].mean() < 6
    expected = drawing.draw(larger, labels, palette())
    # red survives subsampled colour
    assert np.abs(rgb[16, 24] - expected[16, 24]).max() < 40


def test_run_json_tells_how_the_result_was_made(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, run_info={"preset": "nano"})
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["seed"], record["preset"]) == ("done", 7, "nano")
    assert record["warnings"] == ["a warning"]
    sizes = record["clip"]["size"], record["clip"]["processing_size"]
    assert sizes == ([*SOURCE_HW], [*SIZE_HW])
    assert record["timings_ms"]["tracks"] == 12.5 and record["timings_ms"]["output"] > 0
    assert record["versions"]["numpy"] == np.__version__
    assert {f"walk/{file}" for file in record["files"]} == CLIP_FILES - {"walk/run.json"}
    assert record["settings"]["max_tracks"] == NANO.max_tracks and record["windows"] == 1
    assert record["frames"][0]["mask"] == "masks/00000.png"


def test_run_json_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(
        os,
        "replace",
        lambda a, b, replace=os.replace: (written.append(Path(b).name), replace(a, b)),
    )
    output.write(make_result(), tmp_path)
    assert written[0] == written[-1] == "run.json" and written.count("run.json") == 2
    assert {"overlay.mp4", "objects.json", "tracks.npz", "00009.png"} < set(written)


def test_nothing_moves(tmp_path: Path) -> None:
    folder = output.write(make_result(objects=0), tmp_path)
    assert json.loads((folder / "objects.json").read_text())["objects"] == []
    assert not cv2.imread(str(folder / "masks" / "00000.png")).any()


def test_save_picks_what_is_written(tmp_path: Path) -> None:
    output.write(make_result(), tmp_path, save=("coco", "masks"))
    picked = {f for f in CLIP_FILES if f.split(".")[-1] in ("png", "json")}
    assert files_below(tmp_path) == picked | {"walk/coco.json"}
    with pytest.raises(UsageError, match="cannot save 'mask'; choose from masks, overlay, report"):
        output.write(make_result(), tmp_path / "b", save=("mask",))
    with pytest.raises(UsageError, match="layout 'coco' is unknown"):
        output.write(make_result(), tmp_path / "b", layout="coco")
    assert not (tmp_path / "b").exists()
    record = json.loads(
        (output.write(make_result(), tmp_path, ["coco"], overwrite=True) / "run.json").read_text()
    )
    assert record["frames"] and not any(frame["mask"] for frame in record["frames"])


def test_davis_layout_holds_masks_of_all_clips_and_one_run_json(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        output.write(make_result(name), tmp_path, layout="davis")
    masks = {f"{name}/{n:05d}.png" for name in ("walk", "run") for n in NUMBERS}
    assert files_below(tmp_path) == masks | {"run.json"}
    record = json.loads((tmp_path / "run.json").read_text())
    status = {name: clip["status"] for name, clip in record["clips"].items()}
    assert status == {"walk": "done", "run": "done"}
    with pytest.raises(OutputError, match="--overwrite"):
        output.write(make_result("walk"), tmp_path, layout="davis")
    output.write(make_result("walk"), tmp_path, layout="davis", overwrite=True)
    with pytest.raises(UsageError, match="masks only"):
        output.write(make_result(), tmp_path, save=("masks", "overlay"), layout="davis")


@pytest.mark.parametrize("layouts", [("davis", "clip"), ("clip", "davis")])
def test_a_result_of_the_other_layout_is_called_so(
    tmp_path: Path, layouts: tuple[str, str]
) -> None:
    first, second = layouts
    output.write(make_result("walk"), tmp_path, save=("masks",), layout=first)
    with pytest.raises(OutputError, match=f"holds a result in layout {first}; choose"):
        output.write(make_result("walk"), tmp_path, save=("masks",), layout=second)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("foreign", ["thesis.doc", "masks/00000.png", "masks/mine.png", "run.json"])
def test_foreign_files_are_refused_and_stay(tmp_path: Path, foreign: str, overwrite: bool) -> None:
    path = tmp_path / "walk" / foreign
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(OutputError, match="which samotion did not write"):
        output.write(make_result(), tmp_path, overwrite=overwrite)
    assert path.read_text() == "precious" and files_below(tmp_path) == {f"walk/{foreign}"}


def test_earlier_result_needs_overwrite_and_only_its_own_files_go(tmp_path: Path) -> None:
    output.write(make_result(), tmp_path)
    before = (tmp_path / "walk" / "run.json").read_bytes()
    with pytest.raises(OutputError, match="earlier result; use --overwrite"):
        output.write(make_result(), tmp_path)
    assert (tmp_path / "walk" / "run.json").read_bytes() == before
    (tmp_path / "walk" / ".DS_Store").touch()
    (tmp_path / "other.txt").touch()
    output.write(make_result(), tmp_path, save=("coco",), overwrite=True)
    assert files_below(tmp_path) == {
        "walk/objects.json",
        "walk/coco.json",
        "walk/run.json",
        "walk/.DS_Store",
        "other.txt",
    }
    assert not (tmp_path / "walk" / "masks").exists()
    (tmp_path / "walk" / "new.txt").touch()
    with pytest.raises(OutputError, match=r"new\.txt"):
        output.write(make_result(), tmp_path, overwrite=True)


@pytest.mark.parametrize(
    "files",
    [["../precious.txt", "/etc/hostname", "a/../../precious.txt"], "run.json", {"a": 1}, None],
)
def test_run_json_cannot_make_us_delete_elsewhere(tmp_path: Path, files: Any) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "run.json").write_text(
        json.dumps({"tool": "samotion", "layout": "clip", "files": files})
    )
    output.write(make_result(), tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "precious"
    assert files_below(tmp_path) == CLIP_FILES | {"precious.txt"}


def test_run_that_broke_off_can_be_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(overlay, "write_overlay", no_space)
        with pytest.raises(OutputError, match="No space left on device") as caught:
            output.write(make_result(), tmp_path)
    assert caught.value.exit_code == 7
    assert json.loads((tmp_path / "walk" / "run.json").read_text())["status"] == "writing"
    output.write(make_result(), tmp_path, overwrite=True)
    assert files_below(tmp_path) == CLIP_FILES


def test_overlay_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(overlay, "_fitted", fail)
    clip = make_result().clip
    with pytest.raises(OSError, match="No space"):
        overlay.write_overlay(tmp_path / "o.mp4", clip.frames, clip.timestamps_s)
    assert list(tmp_path.iterdir()) == []


def test_locked_folder(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    with (
        FileLock(tmp_path / "walk" / ".samotion.lock"),
        pytest.raises(OutputError, match="in use by another samotion-run"),
    ):
        output.write(make_result(), tmp_path)


def test_place_that_stays_empty_is_removed(tmp_path: Path) -> None:
    where = place.locate(tmp_path / "a" / "b", "walk")
    with place.reserve(where):
        assert where.tree.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot write results to"):
        output.write(make_result(), tmp_path / "out")


def test_names_that_no_shell_likes(tmp_path: Path) -> None:
    folder = output.write(make_result('it\'s a "cat" 猫'), tmp_path / "o u t")
    assert (folder / "overlay.mp4").stat().st_size > 0


def test_either_opencv_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"of {name}")
    assert output.versions()["opencv-python"] == "of opencv-python"
    assert check.PACKAGES.count("opencv-python") == 1
