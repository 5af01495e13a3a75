"""The overlay comes out for any times, and costs no result where it does not."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import media
from helpers.made_result import CLIP_FILES, files_below, make_result, without_objects
from helpers.reports import report_result
from samotion.clips.video import read_clip
from samotion.errors import OutputError, UsageError
from samotion.results import film, matte, overlay
from samotion.results import write as output
from samotion.results.colours import palette
from samotion.results.drawing import draw_box

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
    ticks = film.show_ticks(np.array(times_s))
    assert (np.diff(ticks) > 0).all()
    np.testing.assert_allclose(
        ticks * float(film.TIME_BASE), shown_s, atol=60.1 if np.inf in times_s else 5e-5
    )


@pytest.mark.parametrize(
    "times_s", [np.arange(4) * DAY_S, np.zeros(4), np.array([0, 5e-6, 0.1, 0.1 + 5e-6])]
)
def test_every_frame_is_there_at_its_tick(tmp_path: Path, times_s: Any) -> None:
    result = make_result()
    overlay.write_overlay(tmp_path / "o.mp4", result.clip.frames, times_s)
    with av.open(str(tmp_path / "o.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    expected = film.show_ticks(times_s) * float(film.TIME_BASE)
    np.testing.assert_allclose(times, expected, atol=float(film.TIME_BASE) / 2)


@pytest.mark.parametrize("width", [640, 1280])
@pytest.mark.parametrize("turned", [False, True])
def test_an_overlay_has_the_numbers_and_the_pixels_of_its_source(
    tmp_path: Path, width: int, turned: bool
) -> None:
    """Of HD without a colour matrix too, which FFmpeg reads by BT.601, and players by BT.709."""
    pictures = media.quadrants(3, (480, width))
    ratio = Fraction(16, 11)
    path = media.write_video(tmp_path / "a.mp4", pictures, pixel_ratio=ratio)
    if turned:
        media.set_display_matrix(path, 0, 1, -1, 0)
    output.write(without_objects(path), tmp_path / "out", ["overlay", "matte", "cutout"])
    for name in ("overlay.mp4", "matte.mp4", "cutout.mov"):
        with av.open(str(tmp_path / "out" / "a" / name)) as container:
            shown = next(container.decode(video=0))
            aspect = container.streams.video[0].sample_aspect_ratio
        assert aspect == (1 / ratio if turned else ratio), name
        assert shown.colorspace == (1 if width == 640 else 2), name
        if name == "overlay.mp4" and width == 1280 and not turned:
            with av.open(str(path)) as container:
                source = next(container.decode(video=0))
            planes = [one.to_ndarray().astype(int) for one in (shown, source)]
            assert np.abs(planes[0] - planes[1]).mean() < 2


@pytest.mark.parametrize("tags", [(1, 9, 16), (1, 9, 18), (1, 12, 1)])  # PQ, HLG, Display P3
def test_films_tell_the_primaries_and_the_transfer_of_their_source(
    tmp_path: Path, tags: tuple[int, int, int]
) -> None:
    """Which nothing converts."""
    pictures = (av.VideoFrame.from_ndarray(one, "rgb24") for one in media.quadrants(3))
    times_s, look = np.arange(3) / 10, film.Look(tags=tags)
    film.write_film(tmp_path / "a.mp4", matte.H264, (48, 64), pictures, times_s, look=look)
    result = without_objects(tmp_path / "a.mp4")
    output.write(result, tmp_path / "out", ["overlay", "matte", "cutout"])
    for name in ("overlay.mp4", "matte.mp4", "cutout.mov"):
        with av.open(str(tmp_path / "out" / "a" / name)) as container:
            context = container.streams.video[0].codec_context
            told = context.colorspace, context.color_primaries, context.color_trc
        assert told == tags, name


def test_rgb_needs_no_matrix(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mkv", media.quadrants(2, (32, 1280)), "ffv1", "bgr0")
    assert film.look_of(read_clip(path)) == film.Look()


def test_a_long_last_pause_is_part_of_the_duration(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3)).astype(np.uint8)
    times_s = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 4.5])
    overlay.write_overlay(tmp_path / "o.mp4", frames, times_s)
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None and stream.time_base is not None
        assert stream.duration * stream.time_base >= times_s[-1]


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
    monkeypatch.setattr(film, "_encode", fail)
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
    assert film.long_pauses(np.array([0, 60, 121, 122, 500])) == 2
    result = make_result()
    clip = replace(result.clip, timestamps_s=np.arange(4) * DAY_S)
    output.write(replace(result, clip=clip), tmp_path)
    told = json.loads((tmp_path / "walk" / "run.json").read_text())["warnings"]
    assert told[1:] == [
        "pauses of more than 60 s between frames are cut to that in the overlay (3)"
    ]


# What it shows


def pictures(layers: str, objects: int = 2) -> list[np.ndarray]:
    """The frames of `report_result`, with layers on them."""
    result = report_result(objects)
    frames = np.full_like(result.clip.frames, 40)
    result = replace(result, clip=replace(result.clip, source_hw=(110, 140)))
    drawn = list(overlay.drawn(result, frames, result.labels, tuple(layers.split(","))))
    assert (frames == 40).all(), "the clip is drawn on"
    return drawn


def coloured(picture: np.ndarray, label: int) -> int:
    """How many pixels have an object's colour."""
    return int(near(picture, label).sum())


def near(picture: np.ndarray, label: int) -> np.ndarray:
    """Which pixels (H,W) have an object's colour, or almost: lines are smooth."""
    distance: np.ndarray = np.abs(picture.astype(int) - palette()[label]).max(axis=-1)
    return distance < 60


def test_nothing_is_drawn_where_nothing_is_asked_for_or_found() -> None:
    assert all((picture == 40).all() for picture in pictures("", 2))
    assert all((picture == 40).all() for picture in pictures("masks,boxes,ids,score", 0))


def test_layers_are_drawn_in_the_objects_colours() -> None:
    drawn = {layer: pictures(layer) for layer in ("masks", "boxes", "ids", "score", "trails")}
    for layer, frames in drawn.items():
        assert frames[2].shape == (110, 140, 3)
        assert coloured(frames[2], 1) > 5 and coloured(frames[2], 2) > 5, layer
        # object 2 is not in the last frame, its tracks may be
        assert layer == "trails" or coloured(frames[5], 2) == 0, layer
    names = {layer: (pictures(layer, 1)[2] != 40).any(axis=-1).sum() for layer in ("score", "ids")}
    assert names["score"] > names["ids"]  # a longer word


def test_a_name_stands_above_the_largest_piece_of_its_object() -> None:
    """Another piece, far to the right and higher, belongs to its box alone."""
    result = report_result(1)
    labels = np.zeros((1, 110, 140), np.uint8)
    labels[0, 60:90, 10:40] = labels[0, 5:10, 130:136] = 1
    one_frame = replace(result.clip, frames=result.clip.frames[:1], source_hw=(110, 140))
    result = replace(result, labels=labels, clip=one_frame)
    frames = np.full((1, 110, 140, 3), 40, np.uint8)
    for layer, columns, rows in (("ids", (17, 33), (35, 60)), ("boxes", (10, 135), (5, 89))):
        (drawn,) = overlay.drawn(result, frames, labels, (layer,))
        down, across = np.nonzero(near(drawn, 1))
        assert columns[0] - 1 <= across.min() and across.max() <= columns[1] + 1
        assert rows[0] - 1 <= down.min() and down.max() <= rows[1] + 1


def test_a_box_has_a_rim_on_large_frames_alone() -> None:
    for hw, rimmed in (((90, 160), False), ((1080, 1920), True)):
        picture = np.full((*hw, 3), 40, np.uint8)
        draw_box(picture, (hw[1] // 4, hw[0] // 4, hw[1] // 2, hw[0] // 2), (210, 45, 45))
        assert near(picture, 1).any() and (picture < 30).all(axis=-1).any() == rimmed


def test_trails_follow_the_objects_tracks() -> None:
    result = report_result(1)
    member = int(result.evidence.prompts[0].members[0])
    visible = np.zeros_like(result.tracks.visible)
    visible[member, [0, 2, 3, 4]] = True
    xy = np.zeros_like(result.tracks.xy)
    xy[member] = np.arange(6)[:, None] * [10, 0] + [20, 90]
    tracks = replace(result.tracks, xy=xy, visible=visible)
    clip = replace(result.clip, source_hw=(110, 140))
    result = replace(result, tracks=tracks, clip=clip)
    frames = np.full_like(clip.frames, 40)
    drawn = list(overlay.drawn(result, frames, result.labels, ("trails",)))
    for frame, columns in ((0, (20, 20)), (1, None), (3, (40, 50)), (4, (40, 60)), (5, None)):
        (found,) = np.nonzero(near(drawn[frame], 1).any(axis=0))
        assert (columns is None) == (len(found) == 0)
        if columns:
            assert abs(found.min() - columns[0]) <= 3 and abs(found.max() - columns[1]) <= 3


def test_side_by_side_shows_the_clip_first() -> None:
    for picture in pictures("masks,beside"):
        assert picture.shape == (110, 280, 3)
        assert (picture[:, :140] == 40).all() and coloured(picture[:, 140:], 1) > 5


def test_a_video_is_drawn_on_at_its_own_size(tmp_path: Path) -> None:
    frames = media.quadrants(4, (60, 82))
    video = media.write_video(tmp_path / "in.mkv", frames, "ffv1", "bgr0")
    result = replace(make_result(), clip=read_clip(video, long_side_px=41))
    path = output.write(result, tmp_path / "out", ["overlay"], overlay=["masks"]) / "overlay.mp4"
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in shown] == [(60, 82, 3)] * 4
    assert np.abs(shown[3][52:58, 50:80].astype(int) - frames[3][52:58, 50:80]).mean() < 6


def test_larger_pictures_than_players_take_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "MAX_SIDE_PX", 100)
    assert overlay._even_hw((50, 100)) == (50, 100) and overlay._even_hw((41, 99)) == (42, 100)
    assert overlay._even_hw((300, 400)) == (76, 100)
    frame = overlay._fitted(np.zeros((300, 400, 3), np.uint8), (76, 100))
    assert (frame.height, frame.width) == (76, 100)
    odd = media.quadrants(1, (41, 99))[0]
    grown = overlay._fitted(odd, (42, 100)).to_ndarray(format="rgb24")
    np.testing.assert_array_equal(grown, np.pad(odd, ((0, 1), (0, 1), (0, 0)), "edge"))


def test_layers_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an overlay cannot show 'mask'; choose from masks, boxes"):
        output.write(make_result(), tmp_path / "a", overlay=["mask"])
    assert not (tmp_path / "a").exists()
