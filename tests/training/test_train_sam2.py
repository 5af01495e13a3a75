"""Training SAM 2: prompts follow their objects, clips keep them, and a few steps learn, save and
resume.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from samotion.errors import InputError, UsageError
from samotion.manifest import BUNDLED
from samotion_bench.scenes.data import open_library, read_labels, read_rgb
from samotion_training import make_prompts, samples
from samotion_training import sam2_data as data
from samotion_training import sam2_model as sam2
from samotion_training import train_sam2 as training
from samotion_training.eval_sam2 import load
from samotion_training.sam2_losses import frame_loss, iou
from samotion_training.sam2_prompts import POINTS, noisy_tracks, simulate

pytest.importorskip("sam2")

SIZE = 64
STAGE = training.Stage(until=1.0, size_px=SIZE, images=4, objects=2, clip_share=0.0, balance=0.3)


def _disc(size: int = SIZE, radius: float = 0.3) -> np.ndarray[Any, Any]:
    ys, xs = np.mgrid[:size, :size] / size - 0.5
    return np.hypot(xs, ys) < radius


def test_noisy_labels_mostly_agree_with_the_mask() -> None:
    mask, rng = _disc(128), np.random.default_rng(0)
    agreement = []
    for _ in range(40):
        xy, positive = noisy_tracks(mask, rng)
        cell = (xy * 128).astype(int)
        agreement.append((mask[cell[:, 1], cell[:, 0]] == positive).mean())
    assert 0.85 < np.mean(agreement) < 0.995, "errors, but not chaos"


def test_prompts_follow_their_object() -> None:
    mask, rng = _disc(), np.random.default_rng(0)
    prompts = [simulate(mask, 1.5, rng) for _ in range(60)]
    told = [p for p in prompts if p.has_mask and not p.is_noise]
    inside = np.mean([p.logits[8, 8] for p in told])
    outside = np.mean([p.logits[0, 0] for p in told])
    assert inside > 3 and outside < -3
    assert {p.logits.shape for p in prompts} == {(SIZE // 4, SIZE // 4)}
    assert {p.points.shape for p in prompts} == {(POINTS, 2)}
    assert any(not p.has_mask for p in prompts) and any(p.is_noise for p in prompts)


def test_clips_show_moving_objects_without_any_data() -> None:
    rng, sources = np.random.default_rng(0), data.load(None)
    clip = data.moving(sources, SIZE, 3, rng)
    assert clip.frames.shape == (3, SIZE, SIZE, 3) and clip.frames.dtype == np.uint8
    assert (clip.labels[0] != clip.labels[2]).any(), "something moved"
    for mask in data.objects_of(clip, 3, rng):
        assert mask[0].mean() > data.LEAST_AREA


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A data folder of twenty pictures of each kind, all empty files."""
    for name, maps in {"photos": (), "instances": ("",), "regions": ("_fine", "_coarse")}.items():
        (tmp_path / name).mkdir()
        for number in range(20):
            for file in (f"{number:03d}.jpg", *(f"{number:03d}{m}.png" for m in maps)):
                (tmp_path / name / file).touch()
    return tmp_path


def test_what_scenes_or_measurements_keep_aside_is_not_trained_on(pictures: Path) -> None:
    trained = {p for paths in data.paths_of(pictures, held_out=False).values() for p in paths}
    measured = {p for paths in data.paths_of(pictures, held_out=True).values() for p in paths}
    library = open_library(pictures, held_out=True)
    aside = {*library.photos, *(one.image for one in (*library.instances, *library.regions))}
    assert len(trained) == 3 * 16 and len(measured) == 3 * 2 and len(aside) == 3 * 2
    assert not trained & (aside | measured)


def test_measurements_keep_aside_every_eighth_picture_as_ever(pictures: Path) -> None:
    for paths in data.paths_of(pictures, held_out=True).values():
        assert [p.stem for p in paths] == ["007", "015"]


@pytest.mark.parametrize("held_out", [False, True])
def test_a_folder_without_pictures_is_named(tmp_path: Path, held_out: bool) -> None:
    with pytest.raises(InputError, match=r"got no pictures in photos/|got 0 pictures"):
        data.load(tmp_path / "nosuch", held_out)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A data folder of pictures of 8 px, with regions and without objects."""
    for name, maps in {"photos": (), "instances": ("",), "regions": ("_fine", "_coarse")}.items():
        (tmp_path / name).mkdir()
        for number in range(4):
            path = tmp_path / name / f"{number}.jpg"
            cv2.imwrite(str(path), np.full((8, 8, 3), 90, np.uint8))
            for suffix in maps:
                labels = np.repeat(np.arange(8, dtype=np.uint8)[None] // 4, 8, 0)
                map_ = labels if suffix else np.zeros_like(labels)
                cv2.imwrite(str(tmp_path / name / f"{number}{suffix}.png"), map_)
    return tmp_path


def test_instances_without_an_object_are_told_of(tiny: Path) -> None:
    with pytest.raises(InputError, match=r"instances: got no object that can be cut out of the 3"):
        data.load(tiny)


def test_regions_of_tiny_pictures_are_joined(tiny: Path) -> None:
    labels = tuple(read_labels(tiny / "regions" / f"1_{kind}.png") for kind in ("fine", "coarse"))
    picture = data.Picture(read_rgb(tiny / "regions" / "1.jpg"), labels)
    for seed in range(8):
        clip = data.warped(picture, SIZE, 1, np.random.default_rng(seed))
        assert set(np.unique(clip.labels)) <= {0, 1}


def test_loss_is_least_at_the_truth() -> None:
    truth = torch.from_numpy(_disc(16)).float()[None, None]
    right = ((truth * 2 - 1) * 8).expand(1, 4, -1, -1)
    yes = torch.full((1, 1), 6.0)
    good, found = frame_loss(right, torch.ones(1, 4), yes, truth, 0.0)
    bad, _ = frame_loss(-right, torch.ones(1, 4), yes, truth, 0.0)
    absent, _ = frame_loss(right, torch.ones(1, 4), yes, truth * 0, 0.0)
    assert good < 0.1 < 1 < bad and found == 1
    assert absent > 5, "sure of an object that is not there"
    assert iou(-right, truth).max() == 0


def test_a_few_steps_learn_save_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    first = training.train(training.Plan(None, tmp_path, 1.0, stages=(STAGE,)))
    assert first.step >= 1 and (tmp_path / "checkpoint.pt").exists()
    clips = (replace(STAGE, clip_share=1.0),)
    second = training.train(training.Plan(None, tmp_path, first.seconds + 1.0, stages=clips))
    assert second.step > first.step and second.images > first.images
    training.write_weights(tmp_path / "checkpoint.pt", tmp_path / "sam2.safetensors")
    assert load(tmp_path / "sam2.safetensors", SIZE).image_size == SIZE


def test_a_training_says_where_it_goes_on_and_when_its_time_is_used_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = training.Plan(None, tmp_path, 0.4, stages=(STAGE,))
    first = training.train(plan)
    assert capsys.readouterr().err == ""
    assert training.train(replace(plan, seed=7)) == first
    used_up = f"its time is used up, {first.seconds:.0f} s of 0 at step {first.step}; nothing"
    assert used_up in capsys.readouterr().err
    curve = tmp_path / "curve.jsonl"
    curve.write_text(f'{{"step": {first.step}}}\n{{"step": {first.step + 20}}}\n')
    training.train(replace(plan, seconds=first.seconds + 0.01))
    assert f"going on from step {first.step} at" in capsys.readouterr().err
    assert curve.read_text() == f'{{"step": {first.step}}}\n'


def test_weights_to_start_from_are_those_a_training_was_begun_with(tmp_path: Path) -> None:
    plan = training.Plan(None, tmp_path / "run", 0.01, stages=(STAGE,))
    begun = replace(plan, out=tmp_path / "fine", init=BUNDLED / "sam2.safetensors")
    training.train(plan)
    with pytest.raises(UsageError, match=r"expected none that .*checkpoint\.pt was begun with"):
        training.train(replace(plan, init=begun.init))
    training.train(begun)
    training.train(begun)
    with pytest.raises(UsageError, match="--init: got none, expected the weights that"):
        training.train(replace(begun, init=None))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_saves_what_it_has(
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = training.step

    def interrupted(*given: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return step(*given)

    monkeypatch.setattr(training, "step", interrupted)
    plan = training.Plan(None, tmp_path, 600.0, stages=(STAGE,), workers=workers)
    with pytest.raises(KeyboardInterrupt):
        training.train(plan)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["progress"]["step"] == 1
    assert capsys.readouterr().err == (
        f"saved {tmp_path / 'checkpoint.pt'} at step 1; the same command goes on from there\n"
    )


def test_memory_reaches_the_next_frame() -> None:
    torch.manual_seed(0)
    model: Any = training.build_module(training.NANO.sam2)
    sam2.resize(model, SIZE)
    frames = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    rng = np.random.default_rng(0)
    prompts = training.stack([simulate(_disc(), 1.0, rng)])
    with torch.no_grad():
        both = sam2.encode(model, frames)
        now, after = both.take(torch.tensor([0])), both.take(torch.tensor([1]))
        answer = sam2.decode(model, now, sam2.without_memory(model, now), prompts)
        seen = []
        for present in (torch.ones(1, 1), torch.zeros(1, 1)):
            left = {"cond_frame_outputs": {0: sam2.remember(model, now, answer, 0, present, True)}}
            memory: dict[str, dict[int, Any]] = {**left, "non_cond_frame_outputs": {}}
            seen.append(sam2.with_memory(model, after, 1, memory))
    assert seen[0].shape == after.coarse.shape
    assert (seen[0] - seen[1]).abs().max() > 1e-3, "what was remembered makes a difference"


def _example() -> make_prompts.Example:
    """A square on one frame; a prompt for it, and one for what does not move."""
    labels = np.zeros((1, 48, 96), np.uint8)
    labels[0, 12:36, 24:60] = 3
    frames = np.repeat(60 + 60 * labels[..., None], 3, axis=-1)
    logits = np.full((2, SIZE // 4, SIZE // 4), -6, np.float16)
    logits[0, 4:12, 4:10] = 6
    points, signs = np.zeros((2, POINTS, 2), np.float32), np.full((2, POINTS), -1, np.int32)
    points[:, 0], signs[:, 0] = (0.4, 0.5), 1
    points[:, 1], signs[:, 1] = (0.1, 0.1), 0
    wanted = np.zeros((2, 4), bool)
    wanted[0, 3] = True
    return make_prompts.Example(frames, labels, np.zeros(2, int), logits, points, signs, wanted)


def test_prompts_of_runs_stay_on_their_objects_however_they_are_shown() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        frame, masks, prompts = make_prompts.draw(_example(), SIZE, 2, rng)
        assert sorted(p.is_noise for p in prompts) == [False, True]
        for mask, prompt in zip(masks, prompts):
            assert prompt.is_noise != mask.any()
            if not prompt.is_noise:
                assert np.mean(mask != (frame[..., 0] > 150)) < 0.02  # but for cells on its edge
                coarse = np.kron(prompt.logits, np.ones((4, 4))) > 0
                assert (
                    iou(
                        torch.from_numpy(coarse - 0.5)[None, None],
                        torch.from_numpy(mask * 1.0)[None, None],
                    )
                    > 0.75
                )
                x, y = prompt.points[prompt.labels == 1].astype(int).T
                assert mask[y, x].all()
                x, y = prompt.points[prompt.labels == 0].astype(int).T
                assert not mask[y, x].any()


def test_training_takes_prompts_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.save(tmp_path / "1.npz", _example())
    monkeypatch.setattr(training, "PROMPTS_SHARE", 1.0)
    batch = training.Batches(data.load(None), [tmp_path / "1.npz"], 0)[0, STAGE]
    assert batch.kind == "run" and batch.frames.shape == (4, SIZE, SIZE, 3)
    assert batch.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    present = batch.wanted.amax(dim=(1, 2, 3)) > 0
    assert present.sum() == 4, "half of the prompts are for what does not move"
    samples.save(tmp_path / "0.npz", make_prompts.Example(*(part[:0] for part in _example())))
    training.train(training.Plan(None, tmp_path / "run", 0.01, stages=(STAGE,), prompts=tmp_path))


def test_workers_draw_the_same_batches() -> None:
    batches = training.Batches(data.load(None), [], 5)
    clips = replace(STAGE, clip_share=1.0)
    asked = [(7, clips), (8, STAGE)]
    loader = torch.utils.data.DataLoader(batches, None, sampler=asked, num_workers=1)
    for drawn, (number, stage) in zip(loader, asked):
        again = batches[number, stage]
        assert drawn.kind == again.kind == ("clip" if stage is clips else "still")
        assert (
            isinstance(drawn, training.Batch)
            and drawn.stage == stage
            and drawn.tokens == again.tokens
        )
        assert torch.equal(drawn.frames, again.frames) and torch.equal(drawn.wanted, again.wanted)
        assert torch.equal(drawn.prompts[0].logits, again.prompts[0].logits)


def test_nothing_is_wanted_of_a_clip_whose_prompts_follow_no_object() -> None:
    right, lost = (
        simulate(_disc(), 1.0, np.random.default_rng(0))._replace(is_noise=n) for n in (False, True)
    )
    masks = np.tile(_disc(), (3, 4, 1, 1))
    frames = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    prompts = {0: [right, lost, lost], 3: [right, right, lost]}
    wanted = training._batch("clip", STAGE, frames, [0, 0, 0], masks, prompts, [0] * 4).wanted
    assert (wanted.amax(dim=(2, 3)) > 0).tolist() == [
        [True] * 4,
        [False, True, True, True],
        [False] * 4,
    ]


def test_a_folder_without_prompts_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"got no files .*expected those of: python -m .*make_prompts"
    ):
        training.train(
            training.Plan(None, tmp_path / "run", 0.01, stages=(STAGE,), prompts=tmp_path)
        )
