"""Movi-F as rendered and as published: tracks that are where a traced scene says, and damaged
files told of.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.traced import FRAMES, HW, Traced, only, record, write_published
from samotion.errors import InputError
from samotion_training import samples
from samotion_training.datasets import movi_f, rigid, tfrecord


@pytest.fixture
def published(scene: Traced, tmp_path: Path) -> Path:
    return write_published(scene, tmp_path / "tfds")


def test_reprojected_tracks_are_where_the_box_carries_them(scene: Traced, rendered: Path) -> None:
    """Points of the tumbling box, of the still one and of the wall, in every frame, within a
    hundredth of a pixel.
    """
    found = only(movi_f.sources(rendered, 24))
    poses = movi_f._poses(movi_f.rendered(rendered / "0007" / "metadata.json"), slice(0, FRAMES))
    rng = np.random.default_rng(0)
    agree: dict[int, list[bool]] = {0: [], 1: [], 2: []}
    for start in (0, 4, FRAMES - 1):
        for k in (0, 1, 2):
            y, x = np.nonzero(scene.labels[start] == k)
            some = rng.permutation(len(y))[:40]
            tyx = np.stack([np.full(len(some), start), y[some], x[some]], 1)
            tracks = rigid.follow(poses, found.clip, scene.distance, tyx)
            place = scene.place(start, tyx[:, :0:-1].astype(float), k)
            for t in range(FRAMES):
                px, far = scene.project(t, k, place)
                np.testing.assert_allclose(tracks.xy[:, t], px, atol=0.01)
                label, seen, _ = scene.shoot(t, px)
                within = (px > -0.5).all(1) & (px < [HW[1] - 0.5, HW[0] - 0.5]).all(1)
                agree[k] += (
                    ((label == k) & (seen > far - 1e-4) & within) == tracks.visible[:, t]
                ).tolist()
            assert (tracks.instance == k).all() and (tracks.moving == (k == 1)).all()
    # the rest: within a pixel of an edge, 64 px wide
    assert min(np.mean(found) for found in agree.values()) > 0.94


@pytest.mark.parametrize("layout", ["rendered", "published"])
def test_movi_f_points_keep_their_colour(
    layout: str, scene: Traced, request: pytest.FixtureRequest
) -> None:
    """What is visible shows the surface it is on: through all frames, and in the hidden ones
    mostly something else.
    """
    folder = request.getfixturevalue(layout)
    if layout == "published":
        (shard,) = folder.iterdir()
        foreign, mine = movi_f.sources(folder, 24)
        with pytest.raises(InputError, match=r"got no camera/.* expected Movi-F"):
            foreign.read()
        assert [length for _, length in tfrecord.offsets(shard)][1] > 1000
        found = mine.read()
    else:
        found = only(movi_f.sources(folder, 24))
    clip, tracks = found
    np.testing.assert_array_equal(clip.frames, scene.frames)
    np.testing.assert_array_equal(clip.labels, scene.labels)
    assert clip.moving.tolist() == [False, True, False]
    assert {0, 1, 2} == set(tracks.instance.tolist()) and len(tracks.xy) == samples.POINTS
    places = tracks.xy.transpose(1, 0, 2).clip(-1, HW[1])
    looks = [
        cv2.remap(f, p, None, cv2.INTER_LINEAR)[:, 0]
        for f, p in zip(clip.frames, places[:, :, None])
    ]
    shown = np.stack(looks, 1).astype(float)
    first = tracks.visible.argmax(1)
    change = np.abs(shown - shown[np.arange(len(shown)), first][:, None]).max(-1)
    later = tracks.visible & (np.arange(FRAMES) > first[:, None])
    assert tracks.visible.any(1).all() and 0.3 < tracks.visible.mean() < 0.98
    assert np.median(change[later]) < 8
    assert np.median(change[~tracks.visible & (tracks.instance == 1)[:, None]]) > 20


def test_depth_becomes_one_over_the_distance_along_the_axis(scene: Traced, rendered: Path) -> None:
    """The wall is flat: along the first camera's axis it is where a plane is, not on a ball
    around the camera.
    """
    clip = only(movi_f.sources(rendered, 24)).clip
    t = FRAMES // 2
    y, x = np.nonzero(scene.labels[t] == 0)
    place = scene.place(t, np.stack([x, y], 1).astype(float), 0)
    depth = -((place - scene.eye_xyz[t]) @ scene.eye[t][1])[:, 2]
    np.testing.assert_allclose(clip.disparity[t, y, x], 1 / depth, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["camera"].pop("positions"), "camera positions: got"),
        (
            lambda found: found["instances"].pop(),
            "with labels up to 2, expected one size and 1 instances",
        ),
        (lambda found: found["instances"][0]["positions"].pop(), "instances' positions: got"),
        (
            lambda found: found["camera"]["quaternions"].__setitem__(2, [0, 0, 0, 0]),
            "a turn or a focal length of 0",
        ),
        (
            lambda found: found["camera"].__setitem__("focal_length", float("nan")),
            "focal_length: got numbers",
        ),
        (lambda found: found.pop("camera"), "got no 'camera'"),
    ],
)
def test_bad_metadata_is_told_in_one_line(change: Any, message: str, rendered: Path) -> None:
    path = rendered / "0007" / "metadata.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=message) as error:
        only(movi_f.sources(rendered, 24))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [4, 300, -2])
def test_a_shard_that_breaks_off_is_told_of(keep: int, published: Path) -> None:
    (shard,) = published.iterdir()
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(InputError, match="breaks off; download the file again"):
        list(movi_f.sources(published, 24))


def test_noise_in_a_record_is_an_input_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.tfrecord"
    good = record(video=[b"x" * 20], camera__positions=np.ones(9))[12:-4]
    for _ in range(300):
        noisy = bytearray(good)
        for place in rng.integers(0, len(noisy), 3):
            noisy[place] = rng.integers(256)
        path.write_bytes(bytes(noisy))
        with contextlib.suppress(InputError):
            tfrecord.read(path, 0, len(noisy), movi_f.NAMES)
