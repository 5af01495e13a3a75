"""Folders: order, masks beside frames, gaps, and entries that are no frames."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import media
from samotion.clips import folders, pictures, video
from samotion.errors import InputError


def write(folder: Path, names: list[str]) -> Path:
    return media.write_images(folder, media.quadrants(len(names)), names)


@pytest.mark.parametrize(
    "names",
    [
        ["0.0", "0.25", "0.5", "0.75", "1.0"],
        ["1305031102.175304", "1305031102.211214", "1305031103.011215"],
        ["t0.9", "t0.95", "t1.0"],
        ["1.9", "1.10", "1.11"],  # two numbers, not a decimal
        ["shot2.9", "shot2.10", "shot10.1"],
        ["cam1.1", "cam1.3", "cam1.5", "cam1.7", "cam1.9", "cam1.11", "cam1.13"],
        ["a1.7", "a1.8", "a1.9", "a1.11", "a1.12"],
        ["0.12", "0.16", "0.2", "0.24", "0.28", "0.32", "0.36", "0.4"],
        ["9", "10", "011"],
        ["A2", "a3", "A10"],
        ["1²a", "2²a", "10²a"],
        ["1９a", "2９a", "10１a"],
    ],
)
def test_order(names: list[str]) -> None:
    files = [Path(f"{name}.png") for name in names]
    assert folders.in_order(files[::-1]) == files


def test_masks_beside_their_frames_are_left_out(tmp_path: Path) -> None:
    frames = [f"{t:05d}.jpg" for t in range(4)]
    for case, masks in (
        ("twins", [f"{t:05d}.png" for t in range(4)]),
        ("few", ["00002.png"]),
        ("named", [f"{t:05d}_mask.png" for t in range(4)]),
    ):
        clip = video.read_clip(write(tmp_path / case, [*frames, *masks]))
        assert clip.frame_names == tuple(frames), case
        assert f"{len(masks)} images beside the frames look like their masks" in clip.warnings[0]
    only = video.read_clip(write(tmp_path / "only", ["mask_0.png", "mask_1.png"]))
    assert len(only.frames) == 2 and only.warnings == ()


def test_several_files_for_one_frame_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", ["0.png", "0.bmp", "1.png", "1.bmp"])
    with pytest.raises(InputError, match=r"several files for one frame \('0.bmp' and '0.png'\)"):
        video.read_clip(folder)


def test_mixed_names_are_noted(tmp_path: Path) -> None:
    clip = video.read_clip(write(tmp_path / "f", ["a0.png", "a1.png", "b0.png"]))
    assert len(clip.frames) == 3
    assert "names of 2 kinds (2 like a0.png, 1 like b0.png)" in clip.warnings[0]
    some = video.read_clip(write(tmp_path / "some", ["a0.png", "b.png"]))  # no number in the last
    assert len(some.warnings) == 1 and "names of 2 kinds" in some.warnings[0]


def test_gaps_are_noted_where_numbers_leap(tmp_path: Path) -> None:
    numbers = [0, 5, 10, 25, 30]
    clip = video.read_clip(write(tmp_path / "f", [f"{n:05d}.png" for n in numbers]))
    assert clip.warnings == (
        "numbers in the frames' names leap: 2 are missing, the first after 00010.png",
    )
    for case, some in (("even", [0, 5, 10]), ("from1", [1, 2, 3]), ("two", [3, 9])):
        folder = write(tmp_path / case, [f"{n:05d}.png" for n in some])
        assert video.read_clip(folder).warnings == (), case
    scenes = write(tmp_path / "scenes", ["1-1.png", "1-2.png", "1-3.png", "2-7.png"])
    assert video.read_clip(scenes).warnings == ()


def test_entries_that_are_no_frames(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", ["0.png", "1.png"])
    (folder / "overlays.png").mkdir()
    assert len(video.read_clip(folder).frames) == 2
    (folder / "2.png").symlink_to(folder / "gone.png")
    with pytest.raises(InputError, match=r"2.png' is a link to nothing"):
        video.read_clip(folder)
    (folder / "2.png").unlink()
    os.mkfifo(folder / "2.png")
    with pytest.raises(InputError, match=r"2.png' is not a regular file"):
        video.read_clip(folder)


def test_huge_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "f", ["0.png", "1.png"])
    monkeypatch.setattr(pictures, "MAX_BYTES", 20)
    with pytest.raises(InputError, match=r"0.png' is larger than"):
        video.read_clip(folder)


def test_cut_jpegs_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    for index, image in enumerate(noise):
        data = cv2.imencode(".jpg", image)[1].tobytes()
        (folder / f"{index}.jpg").write_bytes(data[: -len(data) // 3 if index == 1 else None])
    assert video.read_clip(folder).warnings == (
        "1 images are cut and grey below, the first: 1.jpg",
    )
