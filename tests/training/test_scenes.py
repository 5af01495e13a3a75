"""Scenes: frames, depth, labels and tracks agree with each other, whatever the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from samotion.errors import InputError
from samotion.png import encode_indexed
from samotion_bench.scenes import textures
from samotion_bench.scenes.data import (
    Labelled,
    Library,
    fit_square,
    open_library,
    pictures_in,
    read_labelled,
    read_labels,
    square_crop,
)
from samotion_bench.scenes.drives import build_drive
from samotion_bench.scenes.layers import random_bend
from samotion_bench.scenes.render import Clip, TruthTracks, render, surface_points, track
from samotion_bench.scenes.scenes import Build, Scene, SceneSettings, build_scene, frozen
from samotion_training.demo import demo_scene

HW = (72, 96)
SETTINGS = SceneSettings(frames=8, texture_px=64)
CLEAN = 2.5  # grey levels: bilinear sampling of one surface twice, on a soft texture
SEEDS = range(12)


def scene_of(seed: int, settings: SceneSettings = SETTINGS) -> Scene:
    return build_scene(seed, Library(), settings)


def points_of(scene: Scene, clip: Clip, count: int = 200) -> tuple[np.ndarray, TruthTracks]:
    tyx = surface_points(np.random.default_rng(0), clip, count)
    return tyx, track(scene, clip, tyx)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("build", [build_scene, build_drive])
def test_tracks_start_where_they_were_asked_for_and_are_seen_there(build: Build, seed: int) -> None:
    scene = build(seed, Library(), SETTINGS)
    clip = render(scene, HW)
    tyx, truth = points_of(scene, clip)
    at = np.arange(len(tyx)), tyx[:, 0].astype(int)
    # bends are undone to within 0.1 px of texture
    np.testing.assert_allclose(truth.xy[at], tyx[:, :0:-1], atol=0.05)
    assert truth.visible[at].all()


@pytest.mark.parametrize("build", [build_scene, build_drive])
def test_the_same_seed_gives_the_same_clip_and_another_does_not(build: Build) -> None:
    first, again, other = (
        render(build(seed, Library(), SETTINGS), HW).frames for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_points_keep_their_colour_along_their_tracks() -> None:
    """On a clean clip of soft textures a visible point looks the same wherever it goes."""
    settings = replace(SETTINGS, blur_share=0.0, still_camera_share=0.0)
    library = Library(families=("flat",))
    changes = []
    for seed in SEEDS:
        scene = build_scene(seed, library, settings)
        still = replace(
            scene.look, gain=np.ones_like(scene.look.gain), soft_px=0.0, grain=0.0, jpeg=None
        )
        scene = replace(
            scene, look=still, layers=tuple(replace(layer, shade=0.0) for layer in scene.layers)
        )
        clip = render(scene, HW)
        tyx, truth = points_of(scene, clip)
        inner = _away_from_edges(clip, truth.xy) & truth.visible
        grey = np.stack(
            [
                cv2.remap(f, *_map(truth.xy[:, t]), cv2.INTER_LINEAR)
                for t, f in enumerate(clip.frames)
            ],
            1,
        )
        grey = grey[:, :, 0].astype(float)
        own = grey[np.arange(len(tyx)), tyx[:, 0].astype(int)][:, None]
        changes.append(np.abs(grey - own)[inner].mean())
    assert np.median(changes) < CLEAN


def _map(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return xy[:, 0:1].astype(np.float32).copy(), xy[:, 1:2].astype(np.float32).copy()


def _away_from_edges(clip: Clip, xy: np.ndarray) -> np.ndarray:
    edges = (
        np.stack([cv2.morphologyEx(m, cv2.MORPH_GRADIENT, np.ones((5, 5))) for m in clip.layers])
        > 0
    )
    x, y = (np.clip(np.rint(xy[..., i]), 0, HW[1 - i] - 1).astype(int) for i in (0, 1))
    return ~edges[np.arange(len(edges)), y, x]


def test_nothing_is_nearer_than_what_hides_it() -> None:
    """A hidden point inside the picture has something nearer or painted over it: its layer is
    not the one seen.
    """
    for seed in SEEDS:
        scene = scene_of(seed)
        clip = render(scene, HW)
        tyx, truth = points_of(scene, clip)
        x, y = (np.rint(truth.xy[..., i]).astype(int) for i in (0, 1))
        inside = (x >= 0) & (y >= 0) & (x < HW[1]) & (y < HW[0])
        owner = clip.layers[tyx[:, 0].astype(int), tyx[:, 1].astype(int), tyx[:, 2].astype(int)]
        seen = clip.layers[np.arange(8), y.clip(0, HW[0] - 1), x.clip(0, HW[1] - 1)]
        assert (seen != owner[:, None])[inside & ~truth.visible].all()
        assert not truth.visible[~inside].any()


def test_a_frozen_scene_moves_only_with_its_camera() -> None:
    scene = scene_of(
        5, replace(SETTINGS, still_camera_share=1.0, no_mover_share=0.0, blur_share=0.0)
    )
    clip = render(frozen(scene), HW)
    assert (clip.disparity == clip.disparity[0]).all()
    assert not clip.masks.any()
    assert (render(scene, HW).layers != clip.layers).any()


def test_static_layers_at_different_depths_show_parallax() -> None:
    """The hard negatives: under a travelling camera, still instances move in the picture, and by
    different amounts.
    """
    speeds = []
    for seed in SEEDS:
        scene = scene_of(seed, replace(SETTINGS, still_camera_share=0.0, follow_share=0.0))
        for layer in scene.layers:
            if not scene.moving[layer.instance] and not layer.endless:
                seen = scene.camera.see(layer.centre)
                speeds.append(np.linalg.norm(seen[-1] - seen[0]))
    assert np.ptp(speeds) > 0.1


@pytest.mark.parametrize("traffic", [False, True])
def test_on_a_drive_what_stands_goes_outwards_and_some_traffic_does_not(traffic: bool) -> None:
    """Seen by a camera that keeps straight on."""
    settings = replace(SETTINGS, blur_share=0.0, no_mover_share=float(not traffic))
    inwards = []
    for seed in SEEDS:
        scene = build_drive(seed, Library(), settings)
        straight = scene.camera.position * [0, 0, 1]
        ahead = np.broadcast_to(np.eye(3), scene.camera.rotation.shape)
        scene = replace(scene, camera=replace(scene.camera, position=straight, rotation=ahead))
        _, truth = points_of(scene, render(scene, HW))
        both = truth.visible[:, 0] & truth.visible[:, -1]
        first, last = (
            np.hypot(*(truth.xy[both, t] - np.array(HW[::-1]) / 2 + 0.5).T) for t in (0, -1)
        )
        inwards.append((last < first - 0.01).any())
        assert (last > first + 1).any()
    assert any(inwards) == traffic


def test_what_is_beside_a_road_stands_on_the_ground() -> None:
    for seed in SEEDS:
        scene = build_drive(seed, Library(), replace(SETTINGS, no_mover_share=1.0))
        for layer in scene.layers:
            if layer.instance:
                rows = np.flatnonzero((layer.texture[..., 3] > 127).any(1))
                foot = layer.plane[0] @ [0, rows[-1] + 1, 1]
                assert foot[1] == pytest.approx(1)


def test_disparity_is_one_over_depth() -> None:
    scene = demo_scene(2)
    clip = render(scene, HW)
    layer = scene.layers[3]
    homography = layer.homographies(scene.camera, HW)[0]
    y, x = np.argwhere(clip.layers[0] == 3)[10]
    q = np.linalg.inv(homography) @ [x, y, 1]
    depth = (homography @ (q / q[2]))[2]
    assert clip.disparity[0, y, x] == pytest.approx(1 / depth, rel=1e-4)


def test_bends_can_be_undone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        bend = random_bend(rng, 64)
        q = rng.uniform(0, 64, (50, 2))
        np.testing.assert_allclose(bend.undo(q + bend.shift(q, 0.7), 0.7), q, atol=0.5)


def test_a_data_folder_is_split_into_training_and_held_out(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(20):
        cv2.imwrite(str(tmp_path / "photos" / f"{i:03d}.jpg"), np.full((40, 50, 3), i, np.uint8))
    train, held_out = open_library(tmp_path), open_library(tmp_path, held_out=True)
    assert (len(train.photos), len(held_out.photos)) == (18, 2)
    assert not set(train.photos) & set(held_out.photos)
    assert build_scene(0, train, SETTINGS).layers


def test_cutouts_come_from_labelled_photos(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    image, labels = np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100), np.uint8)
    image[20:60, 30:80], labels[20:60, 30:80] = 200, 2
    for i in range(2):
        cv2.imwrite(str(tmp_path / "instances" / f"{i:03d}.jpg"), image)
        cv2.imwrite(str(tmp_path / "instances" / f"{i:03d}.png"), labels)
    library = open_library(tmp_path)
    rng = np.random.default_rng(0)
    cutouts = [library.cutout(rng, 64) for _ in range(20)]
    real = [
        c
        for c in cutouts
        if abs(int(c[32, 32, 0]) - 200) < 12 and c[32, 32, 3] == 255 and c[0, 32, 3] == 0
    ]
    assert len(real) > 5


def label_map() -> np.ndarray:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 10:40], labels[:, 60:] = 1, 2
    return labels


def write_map(path: Path, kind: str) -> None:
    """The label map, drawn as `kind` says."""
    labels = label_map()
    if kind == "palette":
        path.write_bytes(encode_indexed(labels))
        return
    colours = np.array([(0, 0, 0), (0, 0, 200), (90, 0, 0)], np.uint8)
    images = {"grey": labels, "16 bit": labels.astype(np.uint16), "colours": colours[labels]}
    cv2.imwrite(str(path), images[kind])


@pytest.mark.parametrize("kind", ["grey", "16 bit", "palette", "colours"])
def test_label_maps_mean_the_same_however_they_are_drawn(kind: str, tmp_path: Path) -> None:
    write_map(tmp_path / "0.png", kind)
    found = read_labels(tmp_path / "0.png")
    expected = label_map()
    if kind == "colours":  # numbered by their value
        expected = np.array([0, 2, 1])[expected]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_many_labels_need_more_than_a_byte(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    cv2.imwrite(str(tmp_path / "0.png"), labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "0.png"), labels)


def test_label_maps_of_another_size_than_their_photo_are_named(tmp_path: Path) -> None:
    write_map(tmp_path / "0.png", "grey")
    cv2.imwrite(str(tmp_path / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(
        InputError, match=r"0\.png: got labels of 80x60 px, expected 40x30 as 0\.jpg"
    ):
        read_labelled(Labelled(tmp_path / "0.jpg", tmp_path / "0.png"))
    with pytest.raises(InputError, match=r"1\.png: got no label map"):
        read_labelled(Labelled(tmp_path / "0.jpg", tmp_path / "1.png"))


def test_photographs_of_all_usual_kinds_are_taken(tmp_path: Path) -> None:
    for name in ("photos", "instances"):
        (tmp_path / name).mkdir()
        for file in ("0.JPG", "1.png", "2.jpeg", "3.txt", ".4.jpg"):
            (tmp_path / name / file).touch()
    assert [p.name for p in pictures_in(tmp_path / "photos")] == ["0.JPG", "1.png", "2.jpeg"]
    assert [p.name for p in pictures_in(tmp_path / "instances")] == ["0.JPG", "2.jpeg"]


def test_an_only_picture_that_is_kept_aside_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.jpg").touch()
    assert not open_library(tmp_path).photos
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'photos'}: its only picture is kept aside")
    assert open_library(tmp_path, held_out=True).photos and not capsys.readouterr().err


def test_tiny_photographs_are_painted_with(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), np.full((1, 1, 3), 200, np.uint8))
    rng = np.random.default_rng(0)
    assert open_library(tmp_path).background(rng, 16).shape == (16, 16, 3)
    assert square_crop(rng, np.full((1, 8, 3), 200, np.uint8), 16).min() == 200


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least one"):
        open_library(tmp_path)


def test_fit_square_keeps_proportions() -> None:
    out = fit_square(np.full((20, 40, 4), 255, np.uint8), 64)
    rows, columns = (out[..., 3] > 0).any(1).sum(), (out[..., 3] > 0).any(0).sum()
    assert (rows, columns) == (30, 60)


@pytest.mark.parametrize("name", textures.TEXTURES)
def test_every_texture_family_has_contrast(name: str) -> None:
    rng = np.random.default_rng(1)
    images = [textures.texture(rng, 48, (name,)) for _ in range(3)]
    assert all(i.shape == (48, 48, 3) and i.dtype == np.uint8 for i in images)
    assert max(float(i.std()) for i in images) > 3


@pytest.mark.parametrize("name", textures.OUTLINES)
def test_every_outline_family_leaves_inside_and_outside(name: str) -> None:
    mask = textures.outline(np.random.default_rng(2), 64, (name,))
    assert 0.02 < (mask > 127).mean() < 0.98
