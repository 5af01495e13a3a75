"""What a result gives from Python: masks, boxes and tracks of objects, in which size, and
pictures.
"""

from __future__ import annotations

import gc
import json
import pickle
import sys
import weakref
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import long_scene, media
from helpers.made_result import SIZE_HW, SOURCE_HW, make_result
from samotion.clips.video import read_clip
from samotion.errors import DeviceError, UsageError
from samotion.live import LiveResult
from samotion.pipeline import ObjectResult, Result, segment_clip, segment_windows
from samotion.prompts import ObjectPrompt
from samotion.results import write as output
from samotion.results.colours import palette
from samotion.results.drawing import draw
from samotion.results.sizes import at_source
from samotion.sam2.clicks import Click
from samotion.settings import Settings
from samotion.tracks.live import OnlineTracker


def test_objects_have_masks_boxes_and_tracks() -> None:
    result = make_result()
    one, two = result.objects
    np.testing.assert_array_equal(one.masks, result.labels == 1)
    assert two.masks.dtype == bool and two.masks.shape == (4, *SIZE_HW)
    assert one.boxes.tolist() == [[2 + 5 * t, 4, 12 + 5 * t, 12] for t in range(4)]
    assert np.isnan(two.boxes[[0, 3]]).all() and two.boxes[1].tolist() == [30, 20, 40, 28]
    assert (one.confidence, two.score) == (0.95, 0.8)
    whose = result.track_objects()
    assert whose.shape == (5,)
    np.testing.assert_array_equal(one.tracks.xy, result.tracks.xy[whose == 1])


def test_objects_follow_their_result() -> None:
    result = make_result()
    empty = replace(result, labels=np.zeros_like(result.labels))
    assert result.objects[0].masks.any() and not empty.objects[0].masks.any()
    assert asdict(result.objects[0]) == {"id": 1, "score": 0.9, "confidence": 0.95}
    assert result.objects == empty.objects == [replace(one) for one in result.objects]
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.objects[1].masks, result.objects[1].masks)
    with pytest.raises(UsageError, match="object 1 belongs to no result"):
        _ = ObjectResult(1, 0.5, 0.5).masks


def _long() -> Result:
    settings = Settings(window_frames=16, max_tracks=120)
    return segment_clip(long_scene.frames(40), long_scene.engines(), settings)


def _short() -> Result:
    settings = Settings(max_tracks=120)
    return segment_clip(long_scene.frames(20), long_scene.engines(), settings)


@pytest.mark.parametrize("make", [make_result, _short, _long])
def test_a_result_goes_when_it_is_dropped_and_its_objects_hold_what_they_need(
    make: Callable[[], Result],
) -> None:
    gc.collect()
    gc.disable()
    try:
        result = make()
        held = [weakref.ref(one) for one in (result.labels, result.tracks, result.clip.frames)]
        one = result.objects[0]
        masks, tracks = one.masks, one.tracks
        del result
        np.testing.assert_array_equal(one.masks, masks)
        np.testing.assert_array_equal(one.tracks.xy, tracks.xy)
        del one
        assert [array() for array in held] == [None] * 3
    finally:
        gc.enable()


def test_what_holds_arrays_is_equal_to_itself_alone() -> None:
    for one, other in zip(_records(), _records()):
        assert one == one and one != other and len({one, other}) == 2, type(one)


def _records() -> list[Any]:
    """One of each kind."""
    result = make_result()
    points = np.zeros((2, 2), np.float32)
    settings = Settings(window_frames=16, max_tracks=120)
    return [
        result,
        result.tracks,
        result.joined_tracks(),
        next(segment_windows(long_scene.frames(40), long_scene.engines(), settings)),
        LiveResult(0, 0.0, result.labels[0], [], 0.0),
        OnlineTracker(points, points, points),
        Click(1, 0, points, points[:, 0]),
        ObjectPrompt(1, 0, points[:, 0]),
    ]


def test_some_objects_alone(tmp_path: Path) -> None:
    result = make_result()
    second = result.only(2)
    assert [one.id for one in second.objects] == [2]
    np.testing.assert_array_equal(second.labels, np.where(result.labels == 2, 2, 0))
    folder = output.write(second, tmp_path, save=["mots"])
    assert {line.split()[1] for line in (folder / "mots.txt").read_text().splitlines()} == {"2"}
    assert not result.only().labels.any() and result.only().objects == []
    with pytest.raises(UsageError, match=r"no object 3; expected some of \[1, 2\]"):
        result.only(1, 3)
    for wrong in ([1], "1"):
        with pytest.raises(UsageError, match="expected a whole number"):
            result.only(wrong)  # type: ignore[arg-type]


def test_labels_at_the_size_of_the_source() -> None:
    result = make_result()
    large = result.labels_at_source()
    np.testing.assert_array_equal(large, result.labels.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(result.labels_at_source(2), large[2])
    for wrong in (4, -1):
        with pytest.raises(UsageError, match=f"frame is {wrong}; expected 0 to 3"):
            result.labels_at_source(wrong)


def test_enlarged_outlines_are_smooth() -> None:
    """As the obvious way has them, every label's mask resized; nearer the truth than the nearest
    pixel's label.
    """
    y, x = np.mgrid[:192, :230]
    truth = np.zeros(y.shape, np.uint8)
    truth[(y - 80) ** 2 + (x - 90) ** 2 < 60**2] = 200
    truth[2 * y + x > 400] = 7  # to the border, over the disc
    labels = cv2.resize(truth, (120, 100), interpolation=cv2.INTER_NEAREST_EXACT)
    found = at_source(labels, truth.shape)
    ids = np.array([0, 7, 200])
    wh = truth.shape[::-1]
    shares = [cv2.resize((labels == one).astype(np.float32), wh) for one in ids]
    assert (found != ids[np.argmax(shares, axis=0)]).mean() < 1e-3
    nearest = cv2.resize(labels, wh, interpolation=cv2.INTER_NEAREST_EXACT)
    assert (found != truth).sum() < 0.9 * (nearest != truth).sum()
    assert not at_source(np.zeros_like(labels), truth.shape).any()
    smaller = at_source(truth, labels.shape)
    np.testing.assert_array_equal(smaller, labels)


def test_pixels_where_labels_meet_take_the_one_with_most_of_them(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, (6, 7), np.uint8)
    masks = (labels[..., None] == np.arange(4)).astype(np.float32)
    shares = cv2.resize(masks, (53, 41), interpolation=cv2.INTER_LINEAR)
    most = np.sort(shares)[..., ::-1]
    clear = most[..., 0] - most[..., 1] > 0.1
    found = at_source(labels, (41, 53))
    np.testing.assert_array_equal(found[clear], shares.argmax(-1)[clear])
    for row in ([7, 200], [200, 7]):
        pixels = at_source(np.array([row], np.uint8), (1, 3))
        assert pixels.tolist() == [[row[0], 7, row[1]]], "of two with as much, the lower one"
    column = np.array([[1], [2]], np.uint8)
    assert at_source(column, (1, 3)).tolist() == [[2, 2, 2]], "the nearest, for it is less high"


def test_everything_at_the_size_of_the_source(tmp_path: Path) -> None:
    pictures = media.quadrants(4, SOURCE_HW)
    video = media.write_video(tmp_path / "in.mkv", pictures, "ffv1", "bgr0")
    result = replace(make_result(), clip=read_clip(video, long_side_px=41))
    large = result.at_source()
    np.testing.assert_array_equal(large.clip.frames, pictures)
    np.testing.assert_array_equal(large.labels, result.labels_at_source())
    np.testing.assert_allclose(large.tracks.xy, result.tracks.xy * 2 + 0.5, atol=1e-4)
    query_xy = result.tracks.query_xy * 2 + 0.5
    np.testing.assert_allclose(large.tracks.query_xy, query_xy, atol=1e-4)
    assert large.objects[0].boxes.tolist() == (result.objects[0].boxes * 2).tolist()
    assert large.plot(0).shape == (*SOURCE_HW, 3)


def test_what_is_saved_at_the_sources_size_is_the_same(tmp_path: Path) -> None:
    small, large = make_result(), make_result().at_source()
    for name, result in (("a", small), ("b", large)):
        output.write(result, tmp_path / name, save=["mots", "tracks"])
    a, b = (tmp_path / name / "walk" for name in "ab")
    assert (a / "mots.txt").read_bytes() == (b / "mots.txt").read_bytes()
    objects = [json.loads((folder / "objects.json").read_text()) for folder in (a, b)]
    assert objects[0] == objects[1]


def test_plot_is_the_overlay_of_a_frame() -> None:
    result = make_result(objects=0)
    picture = result.plot(1)
    np.testing.assert_array_equal(picture, result.clip.frames[1])
    assert not np.shares_memory(picture, result.clip.frames)
    moving = make_result()
    expected = draw(moving.clip.frames[1], moving.labels[1], palette())
    np.testing.assert_array_equal(moving.plot(1), expected)
    with pytest.raises(UsageError, match="expected a whole number"):
        result.plot(0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("supervision", lambda result: result.to_supervision(0)),
        ("rerun", lambda result: result.log_to_rerun()),
    ],
)
def test_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, module: str, call: object
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DeviceError, match=rf"pip install 'samotion\[{module}\]'"):
        call(make_result())  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_detections_of_supervision() -> None:
    sv = pytest.importorskip("supervision")
    result = make_result()
    found = result.to_supervision(1)
    assert isinstance(found, sv.Detections)
    assert found.tracker_id.tolist() == [1, 2] and found.class_id.tolist() == [0, 0]
    np.testing.assert_array_equal(found.mask, [result.labels[1] == 1, result.labels[1] == 2])
    assert found.xyxy.tolist() == [[7, 4, 17, 12], [30, 20, 40, 28]]
    np.testing.assert_allclose(found.confidence, [0.95, 0.85])
    assert len(result.to_supervision(0)) == 1
    assert len(make_result(objects=0).to_supervision(0)) == 0
    picture = sv.MaskAnnotator().annotate(result.clip.frames[1].copy(), found)
    assert picture.shape == (*SIZE_HW, 3)


def test_recording_of_rerun(tmp_path: Path) -> None:
    rr = pytest.importorskip("rerun")
    rr.init("samotion", spawn=False)
    rr.save(tmp_path / "a.rrd")
    make_result().log_to_rerun()
    rr.disconnect()
    data = (tmp_path / "a.rrd").read_bytes()
    assert data.startswith(b"RRF") and len(data) > 1000
