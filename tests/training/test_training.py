"""Training commands on tiny settings: a few steps lower the loss, resume goes on exactly,
weights load back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import samotion
import torch
from samotion.contract import MAP_CHANNELS
from samotion.cues import movers
from samotion.cues.motion_map import MotionMaps
from samotion.errors import InputError
from samotion.presets import NANO, NANO_CUES, VitNet
from samotion.tracks.records import Tracks
from samotion_bench.scenes.data import Library
from samotion_bench.scenes.scenes import SceneSettings
from samotion_export import depth, dino, motion, tracks
from samotion_export.motion.motion_map import MotionMap
from samotion_training import (
    augment,
    common,
    fit_objects,
    make_prompts,
    make_residuals,
    motion_data,
    pool,
    samples,
    train_depth,
    train_dino,
    train_motion,
    train_motion_map,
)
from samotion_training import train_tracks as tt

TINY_TRACKS = replace(
    NANO.tracks, stem=4, channels=(4, 8, 8, 8), mixer_width=16, mixer_blocks=1, iterations=1
)
TINY_VIT = VitNet(64, 4, pos_grid=4)
FRAMES = 8


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    settings = SceneSettings(frames=FRAMES, texture_px=64, blur_share=0.0, no_mover_share=0.0)
    pool.fill(folder, Library(), settings, range(2))
    return folder


@pytest.fixture
def paths(clips: Path) -> list[Path]:
    return sorted(clips.glob("*.npz"))


def run_of(folder: Path, steps: int, resume: bool = False) -> common.Run:
    return common.Run(folder, steps, lr=3e-3, resume=resume)


def losses_of(
    module: torch.nn.Module, step: Callable[..., common.Losses], steps: int = 3
) -> list[float]:
    """The loss at each of a few steps on the same data."""
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    found = []
    for _ in range(steps):
        loss = step(np.random.default_rng(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("stage", [tt.pair_losses, tt.clip_losses, tt.refine_losses])
def test_the_tracker_learns_in_every_stage(
    stage: Callable[..., common.Losses], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PAIRS": 2,
        "CLIP_FRAMES": 4,
        "PAIR_POINTS": 32,
        "MATCH_POINTS": 24,
        "CLIP_POINTS": 8,
        "REFINE_POINTS": 8,
    }.items():
        monkeypatch.setattr(tt, name, value)
    torch.manual_seed(0)
    tapir = tracks.build_module(TINY_TRACKS)
    found = losses_of(tapir, lambda rng: stage(tapir, rng, paths))
    assert found[-1] < found[0]


def test_whitening_gives_the_refinement_inputs_of_one_size(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tt, "REFINE_POINTS", 8)
    monkeypatch.setattr(tt, "CLIP_FRAMES", 4)
    tapir = tracks.build_module(TINY_TRACKS)
    tt.whiten(tapir, paths, clips=2)
    got: list[torch.Tensor] = []
    tapir.torch_pips_mixer.linear.register_forward_hook(lambda *seen: got.append(seen[2].detach()))
    tt.refine_losses(tapir, np.random.default_rng(0), paths)
    assert 0.2 < float(got[0].std()) < 3
    assert abs(float(got[0].mean())) < 1


def test_matching_loss_is_least_at_the_right_cell() -> None:
    grid = torch.nn.functional.normalize(torch.randn(8, 8, 16), dim=-1)
    query = grid[3, 5][None]
    centre = torch.tensor([[5.5, 3.5]]) * 32  # px of 256 on a grid of 8
    right, wrong = (float(tt.matching_loss(grid, query, xy)) for xy in (centre, centre + 64))
    assert right < 0.5 < wrong


def test_depth_learns(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_depth, "SIZES", ((42, 56),))
    monkeypatch.setattr(train_depth, "CLIPS", 1)
    torch.manual_seed(0)
    net = replace(
        NANO.depth, vit=TINY_VIT, taps=(0, 1, 2, 3), features=8, out_channels=(8, 8, 8, 8)
    )
    module = depth.build_module(net)
    found = losses_of(module, lambda rng: train_depth.losses(module, rng, paths))
    assert found[-1] < found[0]


def test_depth_is_asked_for_the_range_of_each_frame() -> None:
    truth = torch.rand(2, 20, 30)
    answer = train_depth.unit_range(truth) + train_depth.OFFSET
    value, gradient = train_depth.disparity_loss(answer, truth * 3 + 7)
    assert float(value) < 1e-4 and float(gradient) < 1e-4
    assert float(train_depth.disparity_loss(1 - answer, truth)[0]) > 0.2


def test_dino_learns(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_dino, "SIDE_PX", 56)
    monkeypatch.setattr(train_dino, "CLIPS", 2)
    torch.manual_seed(0)
    module = dino.build_module(replace(NANO.dino, vit=TINY_VIT))
    found = losses_of(module, lambda rng: train_dino.losses(module, rng, paths))
    assert found[-1] < found[0]


def test_motion_learns_on_exact_tracks(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_motion, "TRACKS", 32)
    torch.manual_seed(0)
    module = motion.build_module(NANO.motion)
    found = losses_of(
        module, lambda rng: train_motion.losses(module, rng, [train_motion.exact(rng, paths)])
    )
    assert found[-1] < found[0]


def test_motion_is_not_held_to_its_teacher_where_that_knows_nothing(paths: list[Path]) -> None:
    rng = np.random.default_rng(0)
    sets = [train_motion.exact(rng, paths) for _ in range(2)]
    torch.manual_seed(0)
    module, teacher = (motion.build_module(NANO.motion) for _ in range(2))
    free, held = (
        [train_motion.losses(module, rng, [one], by)["loss"].item() for one in sets]
        for by in (None, teacher)
    )
    both = train_motion.losses(module, rng, sets, teacher, new=1)["loss"].item()
    assert both == pytest.approx((free[0] + held[1]) / 2, rel=1e-5)
    assert abs(held[0] - free[0]) > 0.01


def box_residual(path: Path, frames: int = 2) -> make_residuals.Example:
    """Frames of noise on which a box differs along the ground, and the flow there points right;
    saved.
    """
    residuals = (
        np.random.default_rng(0).normal(0, 0.1, (frames, 24, 32, MAP_CHANNELS)).astype(np.float16)
    )
    moving = np.zeros((frames, 24, 32), np.uint8)
    moving[:, 4:12, 20:30] = 255
    residuals[..., 2:5] += 2 * (moving[..., None] > 0)
    residuals[..., 7] += 2 * (moving > 0)
    example = make_residuals.Example(residuals, moving, moving // 255)
    samples.save(path, example)
    return example


def test_the_motion_map_learns(tmp_path: Path) -> None:
    box_residual(tmp_path / "0.npz")
    torch.manual_seed(0)
    module = motion.build_module(NANO.motion).map
    paths = [tmp_path / "0.npz"]
    found = losses_of(module, lambda rng: train_motion_map.losses(module, rng, paths), steps=8)
    assert found[-1] < found[0] - 0.1


def test_a_teacher_has_a_say_in_what_moves_and_none_in_where_it_ends(tmp_path: Path) -> None:
    residual = torch.from_numpy(box_residual(tmp_path / "0.npz").residuals.astype(np.float32))
    teacher = motion.build_module(NANO.motion).map.eval()
    torch.nn.init.zeros_(teacher.out.weight)
    teacher.out.bias = torch.nn.Parameter(torch.tensor([-4.0, 4.0]))  # says: nothing moves
    first, inside = [], []
    for taught_by in (None, teacher):
        torch.manual_seed(0)
        pupil = motion.build_module(NANO.motion).map

        def losses(
            rng: np.random.Generator, net: MotionMap = pupil, by: MotionMap | None = taught_by
        ) -> common.Losses:
            return train_motion_map.losses(net, rng, [tmp_path / "0.npz"], by)

        first.append(losses(np.random.default_rng(0))["boundary"].item())
        losses_of(pupil, losses, steps=20)
        with torch.no_grad():
            moving, _ = pupil(residual)
        inside.append(moving[:, 6:10, 22:28].mean().item())
    assert first[0] == first[1]
    assert inside[1] < inside[0] - 0.5


def test_a_teacher_is_not_asked_about_what_it_does_not_know(tmp_path: Path) -> None:
    for name in "ab":
        box_residual(tmp_path / f"{name}.npz")
    asked = []

    class Teacher(MotionMap):
        def forward(self, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            asked.append(len(residual))
            return super().forward(residual)

    module = motion.build_module(NANO.motion).map
    known, unknown = [tmp_path / "a.npz"], [tmp_path / "b.npz"]
    for rest in ([], unknown):
        rng = np.random.default_rng(0)
        found = train_motion_map.losses(module, rng, known, Teacher().eval(), rest)
        assert all(torch.isfinite(value) for value in found.values())
    assert asked == [train_motion_map.FRAMES, train_motion_map.FRAMES // 2]


def test_objects_end_where_cells_side_by_side_have_two_labels() -> None:
    labels = np.zeros((5, 8), np.uint8)
    labels[:, 2:5], labels[:, 5:] = 1, 2
    ends = train_motion_map.boundaries(labels)
    np.testing.assert_array_equal(ends, [[0, 1, 1, 0, 1, 1, 0, 0]] * 5)


def test_mirrored_residuals_keep_flow_and_truth_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_motion_map, "UNREST", 0.0)
    box_residual(tmp_path / "0.npz")
    directions = set()
    for seed in range(24):
        x, truth = train_motion_map.frame_of(np.random.default_rng(seed), tmp_path / "0.npz")
        share, ends = np.moveaxis(truth, -1, 0)
        assert x.shape[:2] == truth.shape[:2] and share.sum() == 80
        np.testing.assert_array_equal(ends, train_motion_map.boundaries(share.astype(np.uint8)))
        rows, columns = np.nonzero(share)
        flow = x[share > 0][:, train_motion_map.FLOW].mean(axis=0)
        axis = int(np.abs(flow).argmax())
        # the box lies to the right of the middle and moves right: away from the middle, whatever
        # was turned
        place = (columns.mean() / share.shape[1], rows.mean() / share.shape[0])[axis] - 0.5
        assert np.sign(flow[axis]) == np.sign(place)
        directions.add((axis, bool(flow[axis] > 0)))
    assert len(directions) == 4


@pytest.mark.parametrize("kind", [[], ["--drives"]])
def test_residuals_of_scenes_come_from_the_nets(
    kind: list[str], engine_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "FRAMES": 7,
        "SHORT_SIDE_PX": 96,
        "TRACKS": (48, 48, 48),
        "SMALLEST": 0.0,
    }.items():
        monkeypatch.setattr(make_residuals, name, value)
    folder = tmp_path / "made"
    options = [str(folder), "--engine-dir", str(engine_folder), "--seeds", "3", "5", *kind]
    monkeypatch.setattr(sys, "argv", ["make_residuals", *options])
    make_residuals.main()
    example = make_residuals.load(next(folder.glob("*.npz")))
    assert example.residuals.shape == (*example.moving.shape, MAP_CHANNELS)
    assert len(example.moving) == 3 and np.isfinite(example.residuals).all()
    assert example.labels.shape == example.moving.shape
    assert (example.labels[example.moving == 255] > 0).all()


def _truth(sample: samples.Sample) -> tuple[Tracks, np.ndarray]:
    """Sixty of the sample's points that its first frame shows, and their indices."""
    here = np.flatnonzero(sample.visible[:, 0])[::4][:60]
    seen = sample.visible[here]
    ones = np.ones(seen.shape, np.float32)
    return Tracks(
        sample.xy[here], seen, ones, ones, np.zeros(len(here), int), sample.xy[here, 0]
    ), here


def test_prompts_of_runs_are_for_the_movers_that_their_tracks_are_on(
    engine_folder: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = samples.load(paths[0])
    tracks, here = _truth(sample)
    monkeypatch.setattr(make_prompts, "scored", lambda *_: (tracks, np.full(len(here), 0.9)))
    monkeypatch.setattr(movers, "confidences", lambda groups, *_: [0.5] * len(groups))
    with samotion.open_engines(engine_folder, "cpu", threads=2) as engines:
        engines.preset = replace(
            NANO,
            prompting=replace(NANO.prompting, thresholds=(0.0,)),
            cues=replace(NANO_CUES, grow_threshold=0.0),
        )
        example = make_prompts.prompts_of(engines, sample.frames, sample.labels, 48, 0)
    side = NANO.sam2.image_size_px // 4
    assert len(example.frame) and example.logits.shape == (len(example.frame), side, side)
    assert len(example.frames) == -(-len(sample.frames) // make_prompts.EVERY) > example.frame.max()
    assert ((example.points >= 0) & (example.points <= 1)).all() and (example.signs == 1).any(
        axis=1
    ).all()
    assert set(np.flatnonzero(example.wanted.any(axis=0))) <= set(sample.instance[here]) - {0}
    assert example.wanted.any()


@pytest.mark.parametrize("by_root", [False, True])
def test_the_fit_finds_the_weights_that_were_drawn_with(by_root: bool) -> None:
    rng = np.random.default_rng(0)
    weights, bias = np.array([1.0, -0.5, 0.2, 0.0, -1.0, 0.3]), 0.4
    clips = [rng.normal(size=(2000, 6)) for _ in range(20)]
    examples = [(x, rng.random(len(x)) < 1 / (1 + np.exp(-(x @ weights + bias)))) for x in clips]
    fitted, fitted_bias = fit_objects.fit(examples, by_root=by_root)
    np.testing.assert_allclose([*fitted, fitted_bias], [*weights, bias], atol=0.05)


def test_pairs_of_a_clip_are_of_one_object_where_its_labels_say_so(
    engine_folder: Path, paths: list[Path]
) -> None:
    sample, rng = samples.load(paths[0]), np.random.default_rng(0)
    truth, here = _truth(sample)
    scores = np.full(len(here), 0.9)
    with samotion.open_engines(engine_folder, "cpu", threads=2) as engines:
        maps = MotionMaps(engines, sample.frames, truth, scores)
        (features, same), (of_motion, is_so) = fit_objects.examples_of(
            truth,
            scores,
            maps,
            sample.labels,
            NANO.prompting,
            0.0,
            rng,  # all tracks are candidates
        )
    own = sample.instance[here]
    first, second = np.triu_indices(len(here), 1)
    use = (own[first] > 0) | (own[second] > 0)
    assert features.shape == (use.sum(), 4) and np.isfinite(features).all()
    assert same.any() and not same.all()
    assert abs(same.sum() - (own[first] == own[second])[use].sum()) < 0.1 * len(same)
    assert of_motion.shape == (len(is_so), len(movers.MOTION_WEIGHTS))
    assert np.isfinite(of_motion).all()


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    def losses(module: torch.nn.Module) -> common.StepLosses:
        return lambda rng, _: {
            "loss": module(torch.tensor(rng.normal(size=(4, 3)), dtype=torch.float32))
            .square()
            .mean()
        }

    def fresh() -> torch.nn.Module:
        torch.manual_seed(1)
        return torch.nn.Linear(3, 1)

    whole = common.train(run_of(tmp_path / "a", 8), first := fresh(), losses(first))
    half = fresh()
    monkey = common.Run(tmp_path / "b", 8, minutes=float("inf"), lr=3e-3)
    stop = iter(range(5))

    def interrupted(rng: np.random.Generator, share: float) -> common.Losses:
        if next(stop, None) is None:
            raise KeyboardInterrupt
        return losses(half)(rng, share)

    common.CHECKPOINT_EVERY, every = 1, common.CHECKPOINT_EVERY
    try:
        with pytest.raises(KeyboardInterrupt):
            common.train(monkey, half, interrupted)
    finally:
        common.CHECKPOINT_EVERY = every
    again = common.train(replace(monkey, resume=True), second := fresh(), losses(second))
    for a, b in zip(whole.parameters(), again.parameters()):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def squares(module: torch.nn.Module) -> torch.Tensor:
    return torch.stack([p.square().mean() for p in module.parameters()]).sum()


def rows_of(curve: Path) -> list[str]:
    """The steps of a curve's rows."""
    return [line.split(",")[0] for line in curve.read_text().splitlines()[1:]]


def test_a_step_that_fails_leaves_the_last_good_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, run = torch.nn.Linear(3, 1), run_of(tmp_path, 50)

    def losses(rng: np.random.Generator, share: float) -> common.Losses:
        if share >= 30 / 50:
            raise ValueError("a broken clip")
        return {"loss": squares(module)}

    with pytest.raises(ValueError, match="a broken clip"):
        common.train(run, module, losses)
    assert "at step 30; go on with --resume" in capsys.readouterr().err
    assert rows_of(tmp_path / "curve.csv") == ["20", "30"]
    common.train(replace(run, resume=True), module, lambda *_: {"loss": squares(module)})
    assert rows_of(tmp_path / "curve.csv") == ["20", "30", "40", "50"]


def test_the_curve_of_a_killed_training_has_no_step_twice(tmp_path: Path) -> None:
    module, curve = torch.nn.Linear(3, 1), tmp_path / "curve.csv"
    common.train(run_of(tmp_path, 30), module, lambda *_: {"loss": squares(module)})
    with open(curve, "a") as file:
        file.write("40,0,loss,0.5\r\n60,0,loss,0.4\r\n8")  # later than the checkpoint
    again = run_of(tmp_path, 45, resume=True)
    common.train(again, module, lambda *_: {"loss": squares(module)})
    assert rows_of(curve) == ["20", "30", "40", "45"]
    (tmp_path / "checkpoint.pt").unlink()
    common.train(run_of(tmp_path, 25), module, lambda *_: {"loss": squares(module)})
    assert rows_of(curve) == ["20", "25"]


def test_a_curve_keeps_its_line_ends_and_what_a_crash_left_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"step,seconds\r\n20,0\r\n40,1\r\n\xff\xfe")
    common.forget(tmp_path / "c", 20)
    assert (tmp_path / "c").read_bytes() == b"step,seconds\r\n20,0\r\n"


@pytest.mark.parametrize(
    "given, points",
    [((), 80), (("--pair-share", "1"), 9), (("--pair-share", "1", "--whiten"), 48)],
)
def test_clips_need_the_points_of_the_stages_that_run(given: tuple[str, ...], points: int) -> None:
    assert tt.points_of(tt.parser().parse_args(["r", "--pool", "p", *given])) == points


def test_curves_of_json_lines_forget_as_well(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('{"step": 20, "seconds": 1}\n{"step": 40, "seconds": 2}\n{"st')
    common.forget(tmp_path / "c", 20)
    assert (tmp_path / "c").read_text() == '{"step": 20, "seconds": 1}\n'


def test_clips_that_know_too_little_are_left_out(
    paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = samples.load(paths[0])
    few = {name: getattr(sample, name)[:20] for name in train_motion.PER_POINT}
    none = {name: array[:0] for name, array in few.items()}
    for number, one in enumerate((none, few, {})):
        samples.save(tmp_path / f"{number:06d}.npz", sample._replace(**one))
    assert [p.stem for p in samples.clips_of(tmp_path, "frames")] == ["000000", "000001", "000002"]
    found = samples.clips_of(tmp_path, "frames", "xy")
    assert [p.stem for p in found] == ["000001", "000002"]
    assert "1 of 3 files are left out: they have no xy" in capsys.readouterr().err
    assert [p.stem for p in tt.with_points(found, 80)] == ["000002"]
    assert "1 of 2 clips are left out" in capsys.readouterr().err
    with pytest.raises(InputError, match="got no clip with tracks of 80 points"):
        tt.with_points(found[:1], 80)


@pytest.mark.parametrize("stage", [tt.pair_losses, tt.clip_losses, tt.refine_losses])
def test_the_tracker_does_not_wait_for_ever_for_points(
    stage: Callable[..., common.Losses],
    paths: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "DRAWS", 2)
    sample = samples.load(paths[0])
    few = {name: getattr(sample, name)[:8] for name in train_motion.PER_POINT}
    samples.save(tmp_path / "0.npz", sample._replace(**few))
    with pytest.raises(InputError, match="points seen twice"):
        stage(tracks.build_module(TINY_TRACKS), np.random.default_rng(0), [tmp_path / "0.npz"])


def test_dino_takes_a_clip_of_one_frame(paths: list[Path]) -> None:
    sample = samples.load(paths[0])
    first = {name: getattr(sample, name)[:1] for name in ("frames", "labels")}
    points = {name: getattr(sample, name)[:, :1] for name in ("xy", "visible", "point_disparity")}
    pair = train_dino.pair(np.random.default_rng(0), sample._replace(**first, **points))
    assert pair.frames.shape == (2, 256, 256, 3) and len(pair.xy)


def test_dino_takes_clips_of_which_no_point_is_seen_twice(
    paths: list[Path], tmp_path: Path
) -> None:
    sample = samples.load(paths[0])
    unseen = sample._replace(visible=np.zeros_like(sample.visible))
    samples.save(tmp_path / "0.npz", unseen)
    module = dino.build_module(replace(NANO.dino, vit=TINY_VIT))
    loss = train_dino.losses(module, np.random.default_rng(0), [tmp_path / "0.npz"])["loss"]
    loss.backward()
    assert float(loss.detach()) == 0


def test_tracks_that_no_frame_of_a_cut_shows_are_no_tracks(paths: list[Path]) -> None:
    rng = np.random.default_rng(0)
    tracks = motion_data.from_truth(rng, samples.load(paths[0]), 256, 8)
    unseen = tracks._replace(visible=np.zeros_like(tracks.visible))
    assert not len(motion_data.augment(rng, unseen, 40).moving)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [common.learning_rate(s) for s in np.linspace(0, 1, 50)]
    assert rates[0] < 0.1 and max(rates) > 0.95 and rates[-1] < 0.02


def test_weights_come_back_within_half_precision(tmp_path: Path) -> None:
    first, second = (tracks.build_module(TINY_TRACKS) for _ in range(2))
    common.save_weights(first, tmp_path / "w.safetensors")
    common.load_weights(second, tmp_path / "w.safetensors")
    for a, b in zip(first.parameters(), second.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_augmented_points_stay_on_what_they_marked() -> None:
    """A white dot is where its moved point says, mirrored and zoomed."""
    for seed in range(10):
        image = np.zeros((1, 256, 256, 3), np.uint8)
        image[0, 120:123, 90:93] = 255
        matrix = augment.place(np.random.default_rng(seed))
        xy, inside = augment.move(np.array([91.0, 121.0]), matrix)
        warped = augment.warp(image, matrix)[0, :, :, 0].astype(float)
        if inside and warped.sum():
            y, x = (np.average(g, weights=warped) for g in np.mgrid[:256, :256])
            np.testing.assert_allclose(xy, (x, y), atol=0.6)


def test_augmented_tracks_keep_a_visible_key_in_every_frame(paths: list[Path]) -> None:
    sample = samples.load(paths[0])
    for seed in range(10):
        rng = np.random.default_rng(seed)
        made = motion_data.augment(rng, motion_data.from_truth(rng, sample, 256, 8), 40)
        assert made.visible.any(0).all()
        assert len(made.moving) == len(made.xy) <= 40


def test_turning_the_camera_adds_no_parallax() -> None:
    """Within a frame all points get the same pan, roll and zoom: shapes stay similar, and the
    middle frame is kept.
    """
    for seed in range(10):
        rng = np.random.default_rng(seed)
        xy = rng.uniform(-1, 1, (12, 9, 2)).astype(np.float32)
        turned = motion_data.turn_camera(rng, xy, np.arange(12) < 3)
        before, after = (np.linalg.norm(a - a[:1], axis=-1)[1:] for a in (xy, turned))
        ratio = after / before
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-3)


def test_track_sets_survive_saving(tmp_path: Path, paths: list[Path]) -> None:
    made = motion_data.from_truth(np.random.default_rng(0), samples.load(paths[0]), 256, 8)
    motion_data.save(tmp_path / "a.npz", made)
    for a, b in zip(made, motion_data.load(tmp_path / "a.npz")):
        np.testing.assert_allclose(a, b, atol=0.02)
    assert made.moving.any() and not made.moving.all()


def test_the_pool_skips_what_is_there(clips: Path, paths: list[Path]) -> None:
    before = [p.stat().st_mtime_ns for p in paths]
    pool.fill(clips, Library(), SceneSettings(frames=FRAMES, texture_px=64), range(2))
    assert [p.stat().st_mtime_ns for p in paths] == before


def test_the_pool_command_keeps_points_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--size", "48", "--frames", "4", "--seeds", "0", "1", "--points-only"]
    monkeypatch.setattr(sys, "argv", ["pool", str(tmp_path / "p"), *options])
    pool.main()
    sample = samples.load(tmp_path / "p" / "000000.npz")
    assert sample.frames.shape == (4, 48, 0, 3)
    assert sample.xy.shape[1:] == (4, 2)
