"""Datasets as pools: what converting keeps, and the layouts of Dynamic Replica, HOI4D and
exported tracks.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from helpers import media
from helpers.traced import FRAMES, HW, only, png
from samotion.errors import InputError
from samotion_bench.scenes.render import Clip
from samotion_training import (
    motion_data,
    pool,
    samples,
    train_depth,
    train_dino,
    train_motion,
    train_tracks,
)
from samotion_training.datasets import dynamic_replica, files, hoi4d, movi_f, recording


def convert(
    layout: str, dataset: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> list[Path]:
    """The pool command, and the clips it made."""
    monkeypatch.setattr(sys, "argv", ["pool", str(folder), "--from", layout, str(dataset), *more])
    pool.main()
    return sorted(folder.glob("*.npz"))


def test_a_converted_pool_trains_every_net(
    rendered: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = convert("movi-f", rendered, tmp_path / "pool", monkeypatch, "--seeds", "40", "60")
    assert [p.name for p in paths] == ["000040.npz"]
    assert "frames, tracks, depth, masks, what moves" in capsys.readouterr().err
    sample = samples.load(paths[0])
    assert sample.frames.shape == (FRAMES, 256, 256, 3) and sample.labels.shape == (
        FRAMES,
        256,
        256,
    )
    assert (
        sample.aspect == pytest.approx(HW[1] / HW[0])
        and sample.instance_moving[sample.instance].any()
    )
    monkeypatch.setattr(train_motion, "TRACKS", 64)
    rng = np.random.default_rng(0)
    assert any(train_motion.exact(rng, paths).moving.any() for _ in range(4))
    assert len(train_tracks.cut(rng, sample, np.arange(3), 16).xy) == 16
    assert train_dino.pair(rng, sample).instance.max() > 0
    assert train_depth.some_frames(rng, sample)[1].shape == (3, 256, 256)


def test_points_of_the_pool_follow_the_squeeze(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = convert("movi-f", rendered, tmp_path / "pool", monkeypatch)
    sample = samples.load(path)
    x, y = np.rint(sample.xy).clip(0, 255).astype(int).transpose(2, 0, 1)
    t = np.broadcast_to(np.arange(FRAMES), x.shape)
    under = sample.labels[t, y, x]
    seen = sample.visible & (sample.instance == 1)[:, None]
    assert (under[seen] == 1).mean() > 0.95
    nearer = (
        sample.point_disparity[seen].mean(),
        sample.point_disparity[sample.visible & ~seen].mean(),
    )
    assert nearer[0] > nearer[1]


def test_a_damaged_scene_is_left_out_and_told_of(
    rendered: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(rendered / "0007", rendered / "0008")
    (rendered / "0007" / "depth_00003.tiff").write_bytes(b"II*\0 nothing")
    with pytest.raises(SystemExit) as end:
        convert("movi-f", rendered, tmp_path / "pool", monkeypatch)
    said = capsys.readouterr().err
    assert (
        end.value.code == 8
        and "left out:" in said
        and "depth_00003.tiff: got a file that is no picture" in said
    )
    assert [p.name for p in (tmp_path / "pool").iterdir()] == ["000001.npz"]


class Trap:
    """Pickled, it leaves a file behind when somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


SIDE = 40
SQUARE = 10  # px, at (4 + 2 t, 12)


def squares() -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, SIDE, 2 SIDE, 3) of a square that slides over noise, and its masks."""
    rng = np.random.default_rng(3)
    masks = np.zeros((FRAMES, SIDE, 2 * SIDE), bool)
    for t in range(FRAMES):
        masks[t, 12 : 12 + SQUARE, 4 + 2 * t : 4 + 2 * t + SQUARE] = True
    noise = rng.integers(0, 60, (SIDE, 2 * SIDE, 3), np.uint8)
    return np.where(masks[..., None], np.uint8(200), noise), masks


def test_exported_tracks_know_no_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, _ = squares()
    folder = tmp_path / "export" / "0003"
    (folder / "frames").mkdir(parents=True)
    for t, frame in enumerate(frames):
        (folder / "frames" / f"{t:03d}.png").write_bytes(png(frame))
    rng = np.random.default_rng(0)
    start = rng.uniform([4, 12], [13, 21], (30, 2))
    xy = start[:, None] + np.arange(FRAMES)[:, None] * [2.0, 0]
    hidden = rng.random((30, FRAMES)) < 0.2
    np.savez(folder / "0003.npz", coords=xy, visibility=hidden)
    (path,) = convert(
        "kubric-tracks", tmp_path / "export", tmp_path / "pool", monkeypatch, "--size", "80"
    )
    assert "frames, tracks of" in capsys.readouterr().err
    sample = samples.load(path)
    assert sample.frames.shape == (FRAMES, 80, 80, 3) and sample.visible.mean() == pytest.approx(
        1 - hidden.mean()
    )
    steps = sample.xy[:, 1:] - sample.xy[:, :-1]
    # 80 px wide: only y doubles
    np.testing.assert_allclose(steps, np.broadcast_to([2.0, 0], steps.shape), atol=1e-4)
    seen = sample.visible[:, 0]
    assert sample.xy[seen, 0, 1].min() == pytest.approx(
        (xy[~hidden[:, 0], 0, 1].min() + 0.5) * 2 - 0.5, abs=1e-4
    )
    with pytest.raises(IndexError):  # what moves is not known: no net learns that nothing does
        motion_data.from_truth(rng, sample, 80, 4)


def test_a_pickled_export_is_refused_and_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "0003"
    (folder / "frames").mkdir(parents=True)
    for t in range(8):
        (folder / "frames" / f"{t:03d}.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    np.save(
        folder / "0003.npy", np.array(Trap(tmp_path / "sprung"), dtype=object), allow_pickle=True
    )
    with pytest.raises(
        InputError, match=r"got a pickle, which can run programs, expected 0003\.npz"
    ):
        only(movi_f.track_sources(tmp_path, 24))
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    """Dynamic Replica's split folder: a square that slides and one that only looks different,
    points on all.
    """
    frames, masks = squares()
    root = tmp_path / "replica" / "train"
    rng = np.random.default_rng(0)
    on_square = rng.uniform([4, 12], [13, 21], (20, 2))
    on_wall = rng.uniform([50, 0], [79, 39], (30, 2))
    depth = np.where(masks, 2.0, 5.0)
    depth[:, :3] = 0  # a hole
    entries = []
    for t in range(FRAMES):
        names = {
            "image": f"s_left/images/s_left-{t:04d}.png",
            "depth": f"s_left/depths/{t}.png",
            "mask": f"s_left/masks/{t}.png",
            "trajectories": f"s_left/trajectories/{t:06d}.pth",
        }
        identity = f"s_left/instance_id_maps/s_left_{t:04d}.png"
        for name in (*names.values(), identity):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / names["image"]).write_bytes(png(frames[t]))
        (root / names["depth"]).write_bytes(png(depth[t].astype(np.float16).view(np.uint16)))
        (root / names["mask"]).write_bytes(png(masks[t].astype(np.uint8) * 255))
        labels = np.where(masks[t], 900, 0).astype(np.uint16)
        labels[:, 45:] = 70  # furniture, an instance that stays
        (root / identity).write_bytes(png(labels))
        square = on_square + np.array([2 * t, 0])
        world = np.concatenate(
            [np.c_[square, np.full(20, 2.0)] / 10, np.c_[on_wall, np.full(30, 5.0)]]
        )
        points = {
            "img": torch.from_numpy(frames[t]),
            "traj_2d": torch.from_numpy(np.c_[np.concatenate([square, on_wall]), np.ones(50)]),
            "traj_3d_world": torch.from_numpy(world),
            "verts_inds_vis": torch.from_numpy(rng.random(50) < 0.9),
        }
        torch.save(points, root / names["trajectories"])
        for camera in ("right", "left"):
            entry = {key: {"path": name} for key, name in names.items()} | {
                "instance_id_map_path": identity
            }
            entries.append(
                {"sequence_name": "s", "frame_number": t, "camera_name": camera, **entry}
            )
    with gzip.open(root / "frame_annotations_train.jgz", "wt") as file:
        json.dump(entries[::-1], file)
    return tmp_path / "replica"


def test_dynamic_replica_says_what_moves_by_its_points(replica: Path) -> None:
    frames, masks = squares()
    clip, tracks = only(dynamic_replica.sources(replica, 16))
    np.testing.assert_array_equal(clip.frames, frames)
    np.testing.assert_array_equal(clip.masks, masks)
    assert clip.moving.tolist() == [False, False, True] and (clip.labels[:, 0, 45:] == 1).all()
    np.testing.assert_allclose(clip.disparity[masks], 0.5, atol=1e-3)
    # the hole is filled from beside it
    np.testing.assert_allclose(clip.disparity[:, :3, 45:], 0.2, atol=1e-3)
    assert tracks.moving.sum() == 20 and (tracks.instance == 1).sum() == 30
    goes = tracks.xy[tracks.moving]
    np.testing.assert_allclose(
        goes[:, 1:] - goes[:, :-1], np.broadcast_to([2.0, 0], goes[:, 1:].shape), atol=1e-4
    )
    assert 0.8 < tracks.visible.mean() < 0.97


def test_dynamic_replica_without_points_goes_by_its_mask(replica: Path) -> None:
    _edit(replica, lambda entry: entry.pop("trajectories"))
    clip, tracks = only(dynamic_replica.sources(replica, 16))
    assert clip.moving.tolist() == [False, False, True] and len(tracks.xy) == 0


def _edit(replica: Path, change: Any) -> None:
    index = replica / "train" / "frame_annotations_train.jgz"
    entries = json.loads(gzip.decompress(index.read_bytes()))
    for entry in entries:
        change(entry)
    index.write_bytes(gzip.compress(json.dumps(entries).encode()))


def test_hostile_trajectories_and_paths_are_refused(replica: Path, tmp_path: Path) -> None:
    torch.save(
        {"traj_2d": Trap(tmp_path / "sprung")}, replica / "train/s_left/trajectories/000003.pth"
    )
    with pytest.raises(InputError, match=r"000003\.pth: no plain tensors can be read"):
        only(dynamic_replica.sources(replica, 16))
    assert not (tmp_path / "sprung").exists()
    _edit(replica, lambda entry: entry["image"].update(path="../../secret.png"))
    with pytest.raises(InputError, match="which lies outside this folder"):
        only(dynamic_replica.sources(replica, 16))
    (replica / "train" / "frame_annotations_train.jgz").write_bytes(b"\x1f\x8b\x08garbage")
    with pytest.raises(InputError, match="no JSON can be read"):
        list(dynamic_replica.sources(replica, 16))


def test_hoi4d_gives_masks_and_depth_of_the_same_frames(tmp_path: Path) -> None:
    frames, masks = squares()
    sequence = "ZY20210800001/H1/C4/N11/S125/s03/T1"
    pictures, depths, marks = (
        tmp_path / root / sequence / inner
        for root, inner in (
            ("HOI4D_release", "align_rgb"),
            ("HOI4D_depth_video", "align_depth"),
            ("HOI4D_annotations", "2Dseg/mask"),
        )
    )
    for folder in (pictures, depths, marks):
        folder.mkdir(parents=True)
    media.write_video(pictures / "image.mp4", frames)
    depth = (
        np.where(masks, 500, 2000).astype(np.uint16)
        + np.arange(FRAMES, dtype=np.uint16)[:, None, None]
    )
    depth[:, 20, 70] = 0
    with av.open(str(depths / "depth_video.avi"), "w") as container:
        stream = container.add_stream("ffv1", rate=15)
        stream.width, stream.height, stream.pix_fmt = 2 * SIDE, SIDE, "gray16le"
        for picture in depth:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "gray16le")))
        container.mux(stream.encode())
    for t, mask in enumerate(masks):
        colours = np.where(mask[..., None], [0, 128, 0], [0, 0, 0]).astype(np.uint8)  # the hand
        colours[:5] = 128, 128, 0  # the cabinet's body, which stays
        (marks / f"{t:05d}.png").write_bytes(png(colours))
    clip, tracks = only(hoi4d.sources(tmp_path, 24))
    np.testing.assert_array_equal(clip.masks, masks)
    assert (clip.labels[:, :5] == 3).all() and not clip.moving[3]
    np.testing.assert_allclose(
        clip.disparity,
        1000 / np.where(depth, depth, 2000 + np.arange(FRAMES)[:, None, None]),
        rtol=2e-2,
    )
    assert np.abs(clip.frames.astype(int) - frames).mean() < 20 and len(tracks.xy) == 0
    (marks / "00003.png").write_bytes(png(np.full((SIDE, 2 * SIDE, 3), 128, np.uint8)))
    with pytest.raises(InputError, match="masks with colour 808080"):
        only(hoi4d.sources(tmp_path, 24))


def test_windows_leave_out_short_rests() -> None:
    assert [(w.start, w.stop) for w in recording.windows(72, 32)] == [(0, 32), (32, 64), (64, 72)]
    assert [(w.start, w.stop) for w in recording.windows(71, 32)] == [(0, 32), (32, 64)]
    assert list(recording.windows(5, 32)) == []


def test_labels_become_small_numbers_and_holes_their_neighbours() -> None:
    np.testing.assert_array_equal(
        files.compact(np.array([[900, 0], [70, 900]]), "x"), [[2, 0], [1, 2]]
    )
    np.testing.assert_array_equal(files.compact(np.array([[5, 5]]), "x"), [[1, 1]])
    with pytest.raises(InputError, match="300 instances"):
        files.compact(np.arange(300), "x")
    values = np.array([[[1.0, 9, 9, 4]]])
    np.testing.assert_array_equal(
        files.fill_holes(values, np.array([[[True, False, False, True]]])), [[[1, 1, 4, 4]]]
    )


def test_nothing_readable_and_unknown_layouts_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for layout, code in (("hoi4d", 3), ("kitti", 2)):
        with pytest.raises(SystemExit) as end:
            convert(layout, tmp_path, tmp_path / "pool", monkeypatch)
        assert end.value.code == code
    said = capsys.readouterr().err
    assert "got nothing that can be read as hoi4d" in said and "no layout 'kitti'" in said


def test_a_pool_without_tracks_does_not_hang_the_tracker(tmp_path: Path) -> None:
    frames, _ = squares()
    clip = Clip(
        frames,
        np.ones(frames.shape[:3], np.float32),
        np.zeros(frames.shape[:3], np.uint8),
        np.zeros(frames.shape[:3], np.uint8),
        np.zeros(1, bool),
    )
    sample = recording.to_sample(recording.Recording(clip, recording.no_tracks(FRAMES)), 32)
    samples.save(tmp_path / "000000.npz", sample)
    with pytest.raises(InputError, match="got no clip with tracks"):
        train_tracks.with_points(samples.clips_of(tmp_path, "frames"), 1)
