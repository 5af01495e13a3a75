"""What others' tools read of a result: the same masks, ids, frames and times."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from helpers import media
from helpers.made_result import NUMBERS, SOURCE_HW, TIMES_S, files_below, make_result
from pycocotools import mask as rle
from pycocotools.coco import COCO
from samotion.clips.pictures import read_image
from samotion.clips.video import read_clip
from samotion.errors import InputError, OutputError
from samotion.pipeline import Result
from samotion.results import images, yolo
from samotion.results import write as output
from samotion.results.film import TIME_BASE, show_ticks, usual_rate
from samotion.results.sizes import at_source
from samotion.results.writers import OF_PICTURES, OF_TRACKS, WRITERS
from samotion.tracks.records import no_tracks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FRAMES = ("b 1.jpg", "b 4.jpg", "b 7.JPG", "b 10.jpg")


def labels_at_source(result: Result | None = None) -> np.ndarray:
    """The labels (T,H,W) of a result, as large as its source."""
    result = result or make_result()
    return np.stack([at_source(labels, result.clip.source_hw) for labels in result.labels])


def of_a_folder(names: tuple[str, ...] = FRAMES) -> Result:
    """The made result, as if its frames had lain in a folder."""
    result = make_result()
    return replace(result, clip=replace(result.clip, frame_names=names))


def at_times(times_s: np.ndarray) -> Result:
    """The made result, with its frames at other times."""
    result = make_result()
    return replace(result, clip=replace(result.clip, timestamps_s=times_s))


def test_pycocotools_finds_every_annotation(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["coco"])
    coco = COCO(folder / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == [f"{n:05d}.jpg" for n in NUMBERS]
    assert [(image["frame"], image["time_s"]) for image in images] == list(zip(NUMBERS, TIMES_S))
    assert {(image["height"], image["width"]) for image in images} == {SOURCE_HW}
    read = np.zeros((4, *SOURCE_HW), np.uint8)
    assert [*coco.anns] == [1, 2, 3, 4, 5, 6], "0 would be no match to COCO's evaluation"
    kind = coco.getCatIds(["moving object"])
    for one in coco.loadAnns(coco.getAnnIds(catIds=kind, iscrowd=False)):
        mask = coco.annToMask(one).astype(bool)
        read[one["image_id"] - 1][mask] = one["track_id"]
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert one["area"] == mask.sum() and one["bbox"] == box
        assert one["score"] == {1: 0.9, 2: 0.8}[one["track_id"]]
        assert one["motion_confidence"] == {1: 0.95, 2: 0.85}[one["track_id"]]
        assert "confidence" not in one  # FiftyOne calls the score so, and takes no second one
        assert one["attributes"]["track_id"] == one["track_id"]
    np.testing.assert_array_equal(read, labels_at_source())


def test_names_are_those_of_the_folders_frames(tmp_path: Path) -> None:
    save = ["coco", "ytvis", "yolo", "colmap"]
    folder = output.write(of_a_folder(), tmp_path, save=save)
    coco = json.loads((folder / "coco.json").read_text())
    assert tuple(image["file_name"] for image in coco["images"]) == FRAMES
    assert json.loads((folder / "ytvis.json").read_text())["videos"][0]["file_names"] == [*FRAMES]
    labels = {path.name for path in (folder / "labels").iterdir()}
    assert labels == {f"{Path(name).stem}.txt" for name in FRAMES}
    masks = {path.name for path in (folder / "colmap_masks").iterdir()}
    assert masks == {f"{name}.png" for name in FRAMES}


def test_ytvis_has_each_object_through_all_frames(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["ytvis"])
    data = json.loads((folder / "ytvis.json").read_text())
    (video,), annotations = data["videos"], data["annotations"]
    assert (video["length"], video["height"], video["width"]) == (4, *SOURCE_HW)
    assert (video["frames"], video["timestamps_s"]) == ([*NUMBERS], [*TIMES_S])
    known = [(one["id"], one["score"], one["confidence"], one["iscrowd"]) for one in annotations]
    assert known == [(1, 0.9, 0.95, 0), (2, 0.8, 0.85, 0)]
    for one in annotations:
        assert (one["video_id"], one["category_id"]) == (video["id"], data["categories"][0]["id"])
        expected = labels_at_source() == one["id"]
        for t, seg in enumerate(one["segmentations"]):
            if seg is None:
                assert not expected[t].any() and one["areas"][t] is one["bboxes"][t] is None
                continue
            np.testing.assert_array_equal(rle.decode(seg), expected[t])
            assert one["areas"][t] == expected[t].sum()
            assert one["bboxes"][t] == [*cv2.boundingRect(expected[t].astype(np.uint8))]


def test_mots_has_a_line_for_each_object_and_frame(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["mots"])
    read = np.zeros((4, *SOURCE_HW), np.uint8)
    for line in (folder / "mots.txt").read_text().splitlines():
        frame, label, kind, height, width, counts = line.split(" ")
        assert (int(height), int(width)) == SOURCE_HW and kind == "1"
        mask = rle.decode({"size": list(SOURCE_HW), "counts": counts.encode()}).astype(bool)
        read[NUMBERS.index(int(frame) - 1)][mask] = int(label)
    np.testing.assert_array_equal(read, labels_at_source())


def test_colmap_ignores_what_moves(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["colmap"]) / "colmap_masks"
    for number, labels in zip(NUMBERS, labels_at_source()):
        mask = cv2.imread(str(folder / f"{number:05d}.jpg.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, np.where(labels, 0, 255))


def test_colmap_has_no_masks_for_the_longest_names(tmp_path: Path) -> None:
    """And that is told before the work, by a run, a live source and the API alike."""
    named = of_a_folder(("a.jpg", "b" * 248 + ".jpg", "c.jpg", "d.jpg"))
    with pytest.raises(OutputError, match=r"'b+\.jpg' has too long a name .* 256 bytes, of 255"):
        output.write(named, tmp_path, save=["coco", "colmap"])
    assert not [*tmp_path.iterdir()]
    output.write(named, tmp_path, save=["masks", "coco", "yolo"])
    fits = of_a_folder(("a.jpg", "b" * 247 + ".jpg", "c.jpg", "d.jpg"))
    output.write(fits, tmp_path / "more", save=["colmap"])


def fill(corners: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """A polygon's mask, as tools of this format draw it."""
    return cv2.fillPoly(np.zeros(hw, np.uint8), [corners.astype(np.int32)], 1).astype(bool)


@pytest.mark.parametrize("rounded", [np.floor, np.round])
def test_yolo_polygons_are_the_masks_again(tmp_path: Path, rounded: Any) -> None:
    folder = output.write(make_result(), tmp_path, save=["yolo"])
    height, width = SOURCE_HW
    for number, labels in zip(NUMBERS, labels_at_source()):
        read = np.zeros(SOURCE_HW, np.uint8)
        for line in (folder / "labels" / f"{number:05d}.txt").read_text().splitlines():
            label, *values = line.split()
            corners = rounded(np.array(values, np.float64).reshape(-1, 2) * (width, height))
            read[fill(corners, SOURCE_HW)] = int(label)
        np.testing.assert_array_equal(read, labels)
    names = (folder / "data.yaml").read_text().splitlines()
    # no root: it would be looked for where the reader was started
    assert names[:3] == ["train: images", "val: images", "names:"] and len(names) == 6
    assert names[-3:] == ["  0: static", "  1: object 1", "  2: object 2"]


def ring_and_parts() -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[5:40, 5:40] = True
    mask[15:25, 15:25] = False  # a hole
    mask[18:21, 18:21] = True  # and a part in it
    mask[50, 70] = True  # one pixel
    return mask


def test_holes_stay_and_parts_are_joined_by_lines() -> None:
    mask = ring_and_parts()
    drawn = fill(yolo.polygon(mask), mask.shape)
    assert not (mask & ~drawn).any()
    lines = (drawn & ~mask).astype(np.uint8)
    assert 0 < lines.sum() < 60 and not cv2.erode(lines, np.ones((2, 2), np.uint8)).any()


def test_lines_to_holes_lie_in_the_object(rng: np.random.Generator) -> None:
    """Of one in one piece: its polygon is its mask to the pixel, whatever holes it has."""
    for number in range(300):
        noise = cv2.GaussianBlur(rng.standard_normal((40, 60)), (0, 0), 0.8 + number % 5)
        _, parts = cv2.connectedComponents((noise > np.quantile(noise, 0.3)).astype(np.uint8))
        mask = parts == 1 + np.bincount(parts[parts > 0] - 1).argmax()
        np.testing.assert_array_equal(fill(yolo.polygon(mask), mask.shape), mask)


def test_nearest_points_are_found_in_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yolo, "BLOCK", 1000)
    first, second = rng.integers(0, 9999, (499, 2)), rng.integers(0, 9999, (50, 2))
    squares = ((first[:, None] - second[None]) ** 2).sum(-1)
    apart, places = yolo._nearest(first, second)
    np.testing.assert_array_equal(apart, squares.min(1))
    np.testing.assert_array_equal(squares[np.arange(499), places], apart)


def test_straight_lines_have_two_corners() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:6, 3:8] = True
    assert sorted(yolo.polygon(mask).tolist()) == [[3, 2], [3, 5], [7, 2], [7, 5]]


@pytest.mark.parametrize("pixels", [[(3, 3)], [(3, 3), (3, 4)], [(3, 3), (4, 4)]])
def test_the_smallest_masks_are_polygons_too(pixels: list[tuple[int, int]]) -> None:
    mask = np.zeros((8, 8), bool)
    mask[tuple(zip(*pixels))] = True
    corners = yolo.polygon(mask)
    assert len(corners) >= 3
    np.testing.assert_array_equal(fill(corners, mask.shape), mask)


def decoded(path: Path, pixels: str) -> tuple[np.ndarray, list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([f.to_ndarray(format=pixels) for f in frames]), [f.time for f in frames]


def shown_s() -> np.ndarray:
    return np.array(TIMES_S) - TIMES_S[0]


def test_cutout_is_prores_with_alpha(tmp_path: Path) -> None:
    path = output.write(make_result(), tmp_path, save=["cutout"]) / "cutout.mov"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (
            stream.codec_context.codec.name == "prores" and stream.codec_context.profile == "4444"
        )
        assert stream.codec_context.pix_fmt.startswith("yuva444p")
        assert (stream.height, stream.width) == SOURCE_HW
        assert next(container.decode(stream)).colorspace == 1  # BT.709
    rgba, times = decoded(path, "rgba")
    np.testing.assert_allclose(times, shown_s(), atol=1e-4)
    labels = labels_at_source()
    np.testing.assert_array_equal(rgba[..., 3], np.where(labels, 255, 0))
    source = cv2.resize(
        make_result().clip.frames[0], SOURCE_HW[::-1], interpolation=cv2.INTER_CUBIC
    )
    difference = abs(rgba[0, ..., :3].astype(int) - source)[labels[0] > 0]
    assert difference.mean() < 3


def test_matte_is_white_where_something_moves(tmp_path: Path) -> None:
    path = output.write(make_result(), tmp_path, save=["matte"]) / "matte.mp4"
    grey, times = decoded(path, "gray")
    np.testing.assert_allclose(times, shown_s(), atol=1e-4)
    np.testing.assert_array_equal(grey > 127, labels_at_source() > 0)
    result = make_result()
    odd = replace(result, clip=replace(result.clip, source_hw=(61, 83)))
    path = output.write(odd, tmp_path / "odd", save=["matte"]) / "matte.mp4"
    assert decoded(path, "gray")[0].shape[1:] == (62, 84)


def test_mattes_are_of_one_object_each(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["mattes"]) / "mattes"
    assert {p.name for p in folder.iterdir()} == {"object-1.mp4", "object-2.mp4"}
    for label in (1, 2):
        grey, _ = decoded(folder / f"object-{label}.mp4", "gray")
        np.testing.assert_array_equal(grey > 127, labels_at_source() == label)


def test_csv_has_a_line_for_each_object_and_frame(tmp_path: Path) -> None:
    folder = output.write(of_a_folder(), tmp_path, save=["csv"])
    with (folder / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert list(rows[4].values()) == [
        *("3", "b 4.jpg", "0.62", "2", "60", "40", "20", "16", "320", "0.8", "0.85"),
    ]


@pytest.mark.parametrize("name", ["=1+2.png", "+1.png", "-1.png", "@a.png", "\ta.png", "\ra.png"])
def test_no_name_in_the_csv_is_a_formula(tmp_path: Path, name: str) -> None:
    folder = output.write(of_a_folder((*FRAMES[:-1], name)), tmp_path, save=["csv"])
    with (folder / "objects.csv").open(newline="") as file:
        told = {row["name"] for row in csv.DictReader(file)}
    assert f"'{name}" in told and name not in told and told - {f"'{name}"} <= {*FRAMES}


def differ(one: Result, other: Result, kind: str, folder: Path) -> bool:
    """Whether two results give other files of a kind."""
    first, second = (
        output.write(result, folder / place, save=[kind])
        for result, place in ((one, "one"), (other, "other"))
    )
    files = files_below(first)
    assert files == files_below(second)
    return any(
        (first / file).read_bytes() != (second / file).read_bytes() for file in files - {"run.json"}
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_live_sources_keep_pictures_for_what_shows_them(tmp_path: Path, kind: str) -> None:
    result = make_result()
    black = replace(result.clip, frames=np.zeros_like(result.clip.frames))
    shows = differ(result, replace(result, clip=black), kind, tmp_path)
    assert shows == (kind in OF_PICTURES), "writers.OF_PICTURES"


@pytest.mark.parametrize("kind", WRITERS)
def test_windows_keep_tracks_for_what_reads_them(tmp_path: Path, kind: str) -> None:
    result = make_result()
    none = replace(result, tracks=no_tracks(len(result.labels)), scores=np.zeros(0, np.float32))
    reads = differ(result, none, kind, tmp_path)
    assert reads == (kind in OF_TRACKS), "writers.OF_TRACKS"


def test_whatever_is_there_is_written_over(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=WRITERS)
    files = files_below(folder)
    for file in files - {"run.json"}:
        (folder / file).write_bytes(b"old")
    output.write(make_result(), tmp_path, save=WRITERS, overwrite=True)
    assert files_below(folder) == files
    assert all((folder / file).read_bytes() != b"old" for file in files)
    output.write(make_result(), tmp_path, save=["csv"], overwrite=True)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["objects.csv", "objects.json", "run.json"], "no folder stays empty"


def test_films_have_the_ticks_of_the_overlay(tmp_path: Path) -> None:
    times_s = np.array([0.0, 0.0, 200.0, 200.04])
    path = output.write(at_times(times_s), tmp_path, save=["matte"]) / "matte.mp4"
    ticks = show_ticks(times_s)
    np.testing.assert_allclose(decoded(path, "gray")[1], ticks * float(TIME_BASE), atol=1e-5)


RATES = (
    *(Fraction(whole * 1000, 1001) for whole in (24, 30, 60, 120)),
    *(Fraction(whole) for whole in (24, 25, 30, 50, 60, 120)),
    Fraction(1, 5),  # of a time lapse, whose last frame shows no shorter
)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["cutout", "matte", "overlay"])
def test_films_of_even_rates_are_even(tmp_path: Path, kind: str, rate: Fraction) -> None:
    """Editors and ffprobe call all else a variable frame rate."""
    folder = output.write(at_times(np.arange(4) / float(rate)), tmp_path, save=[kind])
    with av.open(str(next(folder.glob(f"{kind}.*")))) as container:
        (stream,) = container.streams.video
        lengths = [
            float((p.duration or 0) * p.time_base) for p in container.demux(stream) if p.size
        ]
        np.testing.assert_allclose(lengths, float(1 / rate), rtol=1e-9)
        assert stream.average_rate == stream.guessed_rate == rate


def test_a_pause_does_not_hold_the_last_frame() -> None:
    ticks = show_ticks(np.array([0, 1 / 30, 2 / 30, 40, 40 + 1 / 30]))
    assert usual_rate(ticks) == 30
    assert usual_rate(show_ticks(np.array([0.0]))) == 24


def test_images_are_copies_of_a_folders_frames(tmp_path: Path) -> None:
    frames = media.write_images(tmp_path / "in", media.quadrants(4, (60, 82)), FRAMES)
    result = replace(make_result(), clip=read_clip(frames, long_side_px=41))
    folder = output.write(result, tmp_path / "out", save=["images"]) / "images"
    assert {p.name for p in folder.iterdir()} == set(FRAMES)
    assert all((folder / name).read_bytes() == (frames / name).read_bytes() for name in FRAMES)
    (frames / FRAMES[-1]).unlink()
    with pytest.raises(InputError, match=f"{FRAMES[-1]}' once more: No such file"):
        output.write(result, tmp_path / "gone", save=["images"])


def turned_jpeg(picture: np.ndarray, orientation: int) -> bytes:
    """A JPEG with an EXIF that says how it is to be turned."""
    exif = exif_of(orientation)
    jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    start = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0"
    return jpeg[:2] + start + exif + jpeg[2:]


def exif_of(orientation: int) -> bytes:
    """What says how a picture is to be turned."""
    entry = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"


def turned_png(picture: np.ndarray, orientation: int) -> bytes:
    """A PNG with such an EXIF."""
    return with_exif(cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), orientation)


def with_exif(png: bytes, orientation: int) -> bytes:
    """The same PNG with an EXIF."""
    body = b"eXIf" + exif_of(orientation)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]


def test_photos_that_are_shown_turned_are_turned() -> None:
    picture = media.quadrants(1)[0]
    assert images.upright(plain := turned_jpeg(picture, 1), "a.jpg") == plain
    turned = images.upright(turned_jpeg(picture, 6), "a.jpg")
    read = cv2.imdecode(
        np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    assert read is not None
    assert abs(read[..., ::-1].astype(int) - np.rot90(picture, -1)).mean() < 6


def test_pngs_that_are_shown_turned_are_turned_if_opencv_turns_them(tmp_path: Path) -> None:
    """Whatever it does, images are as large as masks."""
    picture = media.quadrants(1)[0]
    (tmp_path / "a.png").write_bytes(stored := turned_png(picture, 6))
    frame, _ = read_image(tmp_path / "a.png")
    upright = images.upright(stored, "a.png")
    read = cv2.imdecode(
        np.frombuffer(upright, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], frame)
    deep = cv2.imencode(".png", np.dstack([picture, picture[..., 0]]).astype(np.uint16) * 257)[1]
    deep_upright = images.upright(with_exif(deep.tobytes(), 6), "a.png")
    whole = cv2.imdecode(np.frombuffer(deep_upright, np.uint8), cv2.IMREAD_UNCHANGED)
    assert whole is not None and whole.dtype == np.uint16 and whole.shape == (*frame.shape[:2], 4)


def test_images_of_a_video_are_as_large_as_the_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = media.quadrants(4, (60, 82))
    video = media.write_video(tmp_path / "in.mkv", pictures, "ffv1", "bgr0")
    result = replace(make_result(), clip=read_clip(video, long_side_px=41))
    folder = output.write(result, tmp_path / "out", save=["images"]) / "images"
    for number, picture in enumerate(pictures):
        image = cv2.imread(str(folder / f"{number:05d}.jpg"))
        assert image is not None and image.shape == picture.shape
        assert abs(image[..., ::-1].astype(int) - picture).mean() < 4  # edges of halved colour
    assert capfd.readouterr().err == ""
