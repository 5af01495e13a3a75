"""Training commands answer mistakes in one line, with the exit code of their kind, before any
work.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from samotion.contract import MAP_CHANNELS
from samotion.errors import InputError
from samotion.manifest import BUNDLED
from samotion.presets import NANO
from samotion_bench.scenes.data import Library
from samotion_bench.scenes.scenes import SceneSettings
from samotion_training import (
    ablate,
    commands,
    demo,
    eval_sam2,
    evaluate,
    fit_objects,
    long_clip,
    make_prompts,
    make_residuals,
    make_tracks,
    motion_data,
    pool,
    reliability,
    samples,
    train_depth,
    train_dino,
    train_motion,
    train_motion_map,
    train_sam2,
    train_tracks,
)

FRAMES = 4
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code and what it said on stderr."""

    def command(module: ModuleType, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        code = 0
        try:
            module.main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        return code, capsys.readouterr().err

    return command


TRAINERS = [train_tracks, train_depth, train_dino, train_motion, train_motion_map]
INIT = BUNDLED / "motion.safetensors"  # the motion map alone asks for it


def write_lacking(folder: Path) -> None:
    """Folders of files beside `pool` that lack something, or that break after the first."""
    for name in ("unmoved", "promptless", "later", "unnumbered", "trackless"):
        (folder / name).mkdir()
    whole = folder / "pool" / "000000.npz"
    unmoved = samples.load(whole)._replace(instance_moving=np.zeros(0))
    samples.save(folder / "unmoved" / "000000.npz", unmoved)
    nothing = make_prompts.Example(*(np.zeros((0, 2)) for _ in make_prompts.Example._fields))
    samples.save(folder / "promptless" / "0.npz", nothing)
    (folder / "later" / "0.npz").write_bytes(whole.read_bytes())
    (folder / "later" / "1.npz").write_bytes(b"PK half of it")
    (folder / "unnumbered" / "goat.npz").write_bytes(whole.read_bytes())
    empty = motion_data.TrackSet(*(np.zeros((0, FRAMES, 2), np.float32) for _ in range(7)))
    motion_data.save(folder / "trackless" / "0.npz", empty)


@pytest.fixture(scope="module")
def made_pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of tiny clips (pool, points, residuals), and things that are broken."""
    folder = tmp_path_factory.mktemp("pools")
    settings = SceneSettings(frames=FRAMES, texture_px=64, blur_share=0.0, no_mover_share=0.0)
    pool.fill(folder / "pool", Library(), settings, range(1))
    pool.fill(folder / "points", Library(), settings, range(1), slim=True)
    pool.fill(folder / "small", Library(), settings, range(1), 96)
    (folder / "residuals").mkdir()
    cells = np.zeros((1, 24, 32), np.uint8)
    residuals = np.zeros((*cells.shape, MAP_CHANNELS), np.float16)
    example = make_residuals.Example(residuals, cells, cells)
    samples.save(folder / "residuals" / "0.npz", example)
    (folder / "older").mkdir()
    samples.save(folder / "older" / "0.npz", example._replace(residuals=residuals[..., 1:]))
    for path in ("broken", "data/davis/JPEGImages/480p/goat", "data/davis/Annotations/480p/goat"):
        (folder / path).mkdir(parents=True)
    (folder / "half" / "JPEGImages" / "480p" / "goat").mkdir(parents=True)
    for path in ("half", "data/davis"):
        (folder / path / "JPEGImages" / "480p" / "goat" / "00000.jpg").touch()
    (folder / "empty" / "JPEGImages" / "480p" / "goat").mkdir(parents=True)
    (folder / "broken" / "0.npz").write_bytes(b"PK half of it")
    (folder / "broken" / "checkpoint.pt").write_bytes(b"PK half of it")
    write_lacking(folder)
    (folder / "file").touch()
    return folder


@pytest.fixture
def pools(made_pools: Path, tmp_path: Path) -> Path:
    """A copy of them for one test."""
    return copytree(made_pools, tmp_path, dirs_exist_ok=True)


def fail(*_: object) -> None:
    raise ZeroDivisionError("a fault of ours")


def test_the_stack_trace_shows_where_it_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_depth, "run_of", fail)
    code, said = run(train_depth, "runs", "--pool", "pool")
    assert code == 1 and said.startswith("internal error: ZeroDivisionError: a fault of ours;")
    assert said.count("\n") == 1 and "run again with -v" in said
    code, said = run(train_depth, "runs", "--pool", "pool", "-v")
    assert code == 1 and said.startswith("Traceback") and "run again" not in said


def test_what_failed_in_part_has_a_code_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_render", lambda _: 8)
    assert run(pool, tmp_path)[0] == 8


@pytest.mark.parametrize("module", TRAINERS)
def test_a_training_that_is_there_already_is_not_lost(
    module: ModuleType, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_text("hours of work")
    code, said = run(module, tmp_path / "run", "--pool", tmp_path, "--init", INIT)
    assert code == 2 and "add --resume to go on with it, or name another folder" in said
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "run" / "checkpoint.pt").read_text() == "hours of work"


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_the_motion_map_is_no_part_of_a_random_motion_net(
    more: tuple[str, ...], run: Run, pools: Path
) -> None:
    out = pools / "motion.safetensors"
    arguments = (pools / "run", "--pool", pools / "residuals", "--out", out, "--steps", 1, *more)
    code, said = run(train_motion_map, *arguments)
    assert code == 2 and "add --init runtime/samotion/nano/motion.safetensors" in said
    assert not out.exists()
    taught = ("--init", INIT, "--teacher", INIT, "--unknown", arguments[2])
    assert run(train_motion_map, *arguments, *taught)[0] == 0
    before, after = load_file(INIT), load_file(out)
    transformer = [name for name in before if not name.startswith("map.")]
    assert transformer and all(torch.equal(before[name], after[name]) for name in transformer)


def test_broken_weights_and_checkpoints_are_named(run: Run, pools: Path) -> None:
    (pools / "run").mkdir()
    (pools / "run" / "checkpoint.pt").write_bytes(b"PK half of it")
    (pools / "broken.safetensors").write_bytes(b"half of it")
    given = (pools / "run", "--pool", pools / "pool", "--resume")
    for more in (
        (),
        ("--init", pools / "broken.safetensors"),
        ("--init", pools / "nosuch.safetensors"),
        ("--init", BUNDLED / "dino.safetensors"),
    ):
        code, said = run(train_depth, *given, *more)
        assert code == 4 and said.startswith(f"error: {more[1] if more else pools / 'run'}")
        assert said.count("\n") == 1 and len(said) < 500 + len(str(pools))


@pytest.mark.parametrize("module", TRAINERS)
@pytest.mark.parametrize(
    "wrong", [("--steps", 0), ("--minutes", 0), ("--minutes", "nan"), ("--lr", 0)]
)
def test_numbers_that_make_no_sense_are_refused(
    wrong: tuple[object, ...], module: ModuleType, run: Run, tmp_path: Path
) -> None:
    code, said = run(module, tmp_path / "run", "--pool", tmp_path, "--init", INIT, *wrong)
    assert code == 2 and said.startswith(f"error: {wrong[0]}: got {float(str(wrong[1])):g}")


@pytest.mark.parametrize("module", TRAINERS)
def test_weights_that_cannot_be_written_are_told_of_before_the_training(
    module: ModuleType, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    given = (tmp_path / "run", "--pool", tmp_path, "--init", INIT, "--out")
    for out in (tmp_path / "file" / "w.safetensors", tmp_path):
        code, said = run(module, *given, out)
        assert code == 7 and "choose another one" in said


ENGINES = ("--engine-dir", BUNDLED)


MISTAKES: list[tuple[ModuleType, tuple[object, ...], int, str]] = [
    *((one, ("run", "--pool", "nosuch", "--init", INIT), 3, "nosuch: ") for one in TRAINERS),
    (train_tracks, ("run", "--pool", "points"), 3, "got no frames"),
    (train_depth, ("run", "--pool", "points"), 3, "got no frames and no disparity"),
    (train_dino, ("run", "--pool", "points"), 3, "got no frames"),
    (train_motion, ("run", "--pool", "residuals"), 3, "without frames, disparity"),
    (train_motion, ("run", "--pool", "points", "--made", "nosuch"), 3, "nosuch: "),
    (train_motion, ("run", "--pool", "points", "--made", "pool"), 3, "without visibility"),
    (train_motion_map, ("run", "--pool", "pool", "--init", INIT), 3, "without residuals"),
    (train_motion_map, ("run", "--pool", "older", "--init", INIT), 3, "make its folder again"),
    (train_depth, ("run", "--pool", "broken"), 3, "broken/0.npz: got "),
    (train_depth, ("run", "--pool", "later"), 3, "later/1.npz: got "),
    (train_motion, ("run", "--pool", "points", "--made", "trackless"), 3, "got no xy"),
    (ablate, (*ENGINES, "--made", "trackless"), 3, "got no xy"),
    (train_motion, ("run", "--pool", "unmoved"), 3, "got no instance_moving"),
    (make_tracks, ("made", *ENGINES, "--pool", "unmoved"), 3, "got no instance_moving"),
    (evaluate, (*ENGINES, "--pool", "unmoved"), 3, "got no instance_moving"),
    (make_tracks, ("made", *ENGINES, "--pool", "later"), 3, "later/1.npz: got "),
    (make_tracks, ("made", *ENGINES, "--pool", "unnumbered"), 3, "goat.npz: got a name"),
    (pool, ("pool", "--frames", 1), 2, "--frames: got 1, expected 2 or more"),
    (train_depth, ("run", "--pool", "pool", "--seed", -1), 2, "--seed: got -1"),
    (train_sam2, ("--out", "sam2", "--data", "nosuch"), 3, "nosuch: "),
    (train_sam2, ("--out", "sam2", "--init", "nosuch"), 4, "nosuch: "),
    (train_sam2, ("--out", "sam2", "--prompts", "pool"), 3, "without frame, logits"),
    (train_sam2, ("--out", "sam2", "--prompts", "promptless"), 3, "got no frame"),
    (train_sam2, ("--out", "sam2", "--device", "nosuch"), 5, "try --device cpu"),
    (train_sam2, ("--out", "sam2", "--minutes", 0), 2, "--minutes: got 0"),
    (train_sam2, ("--out", "sam2", "--workers", -1), 2, "--workers: got -1"),
    (train_sam2, ("--out", "sam2", "--weights", "pool"), 7, "choose another one"),
    (train_sam2, ("--out", "broken"), 4, "broken/checkpoint.pt: got "),
    (eval_sam2, ("--data", "pool", "--weights", "w"), 3, "davis/JPEGImages/480p: got no"),
    (eval_sam2, ("--data", "data", "--weights", "broken/checkpoint.pt"), 4, "checkpoint.pt"),
    (eval_sam2, ("--data", "data", "--weights", "w", "--every", 0), 2, "--every: got 0"),
    (eval_sam2, ("--data", "data", "--weights", "w", "--every", 4, 1), 2, "--every: got 1"),
    (eval_sam2, ("--data", "data", "--weights", "w", "--frames", 1), 2, "--frames: got 1"),
    (eval_sam2, ("--data", "data", "--weights", "w", "--size", 130), 2, "a multiple of 32"),
    (make_tracks, ("made", *ENGINES, "--pool", "nosuch"), 3, "nosuch: got no files"),
    (make_tracks, ("made", *ENGINES, "--pool", "points"), 3, "without --points-only"),
    (make_residuals, ("made", *ENGINES, "--seeds", 5, 0), 2, "--seeds: got 5 0"),
    (make_prompts, ("made", *ENGINES, "--data", "nosuch"), 3, "nosuch: "),
    (make_prompts, ("file", *ENGINES), 7, "file: got "),
    (pool, ("pool", "--seeds", 5, 0), 2, "--seeds: got 5 0"),
    (pool, ("pool", "--seeds", -5, 0), 2, "--seeds: got -5 0"),
    (pool, ("pool", "--frames", 0), 2, "--frames: got 0"),
    (train_tracks, ("r", "--pool", "small"), 3, "96x96 px, expected 256x256"),
    (train_depth, ("r", "--pool", "small"), 3, "96x96 px, expected 256x256"),
    (train_dino, ("r", "--pool", "small"), 3, "--size 256"),
    (pool, ("file",), 7, "choose another one"),
    (ablate, ENGINES, 2, "expected --synthetic N"),
    (ablate, (*ENGINES, "--made", "nosuch"), 3, "nosuch: "),
    (ablate, (*ENGINES, "--davis", "nosuch"), 3, "nosuch/JPEGImages/480p: "),
    (ablate, (*ENGINES, "--synthetic", 1, "--out", "file/out.json"), 7, "choose another"),
    (evaluate, ENGINES, 2, "expected --pool DIR or --davis DIR"),
    (evaluate, (*ENGINES, "--pool", "nosuch"), 3, "nosuch: "),
    (evaluate, (*ENGINES, "--pool", "points"), 3, "without --points-only"),
    (evaluate, (*ENGINES, "--davis", "empty"), 3, "480p/goat: got no pictures"),
    (evaluate, (*ENGINES, "--davis", "half"), 3, "half/Annotations/480p/goat: "),
    (evaluate, ("--engine-dir", "nosuch", "--pool", "pool"), 4, "nosuch"),
    (fit_objects, (*ENGINES, "--davis", "nosuch"), 3, "nosuch/JPEGImages/480p: "),
    (fit_objects, (*ENGINES, "--groups", "file/groups.npz"), 7, "choose another one"),
    (reliability, ("nosuch.npz", "--out", "x.svg"), 3, "nosuch.npz: "),
    (reliability, ("pool/000000.npz", "--out", "x.svg"), 3, "pool/000000.npz: "),
    (demo, ("file/demo.mp4",), 7, "choose another one"),
    (demo, ("demo",), 7, "demo: got no suffix, expected a name with one of .mp4"),
    (long_clip, ("long.txt",), 7, "long.txt: got '.txt', expected a name with one of .mp4"),
    (long_clip, ("long.mp4", "--frames", 0), 2, "--frames: got 0"),
]


@pytest.mark.parametrize(("module", "arguments", "code", "expected"), MISTAKES)
def test_mistakes_are_told_in_one_line(
    module: ModuleType,
    arguments: tuple[object, ...],
    code: int,
    expected: str,
    run: Run,
    pools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if module in (train_sam2, eval_sam2):
        pytest.importorskip("sam2")
    monkeypatch.chdir(pools)
    got, said = run(module, *arguments)
    assert (got, said.count("\n")) == (code, 1), said
    assert said.startswith("error: ") and expected in said


@pytest.mark.parametrize("load", [samples.load, motion_data.load, make_residuals.load])
def test_files_that_break_later_are_named(load: Callable[[Path], object], pools: Path) -> None:
    with pytest.raises(InputError, match=r"later/1\.npz: got "):
        load(pools / "later" / "1.npz")


def test_clips_without_tracks_are_told_and_left_out(
    run: Run, pools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = motion_data.load(pools / "trackless" / "0.npz")
    monkeypatch.setattr(make_tracks, "make", lambda *_: empty)
    code, said = run(make_tracks, pools / "made", *ENGINES, "--pool", pools / "pool")
    assert (code, list((pools / "made").iterdir())) == (0, [])
    assert said == f"{pools / 'pool' / '000000.npz'}: no tracks were found in it; it is left out\n"


def test_motion_trains_where_a_clip_has_no_tracks(
    run: Run, pools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_motion, "TRACKS", 16)
    sample = samples.load(pools / "points" / "000000.npz")
    channels = NANO.motion.dino_channels
    tracks = motion_data.from_truth(np.random.default_rng(0), sample, 64, channels)
    motion_data.save(pools / "trackless" / "1.npz", tracks)
    made = pools / "trackless"
    given = ("--pool", pools / "points", "--made", made, "--unknown", made, "--teacher", INIT)
    code, said = run(train_motion, pools / "run", *given, "--steps", 2)
    assert code == 0
    assert said == 2 * f"{made}: 1 of 2 files are left out: they have no xy\n"


def test_every_command_is_asked_for_a_mistake() -> None:
    sources = Path(pool.__file__).parent.glob("*.py")
    commands = {path.stem for path in sources if "def main(" in path.read_text()}
    assert {one[0].__name__.split(".")[-1] for one in MISTAKES} == commands


def test_clips_shorter_than_the_tracker_is_trained_on_are_taken_whole() -> None:
    for seed in range(4):
        chosen = train_tracks.choose_frames(np.random.default_rng(seed), 5, 12)
        assert sorted(chosen.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("number", "code", "end"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "term")]
)
def test_a_training_that_is_interrupted_saves_what_it_has(
    number: signal.Signals,
    code: int,
    end: str,
    run: Run,
    pools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = iter(range(9))

    def losses(net: torch.nn.Module, *_: object) -> dict[str, torch.Tensor]:
        if next(steps) == 2:
            signal.raise_signal(number)
        return {"loss": torch.stack([p.square().mean() for p in net.parameters()]).sum()}

    monkeypatch.setattr(train_dino, "losses", losses)
    out = pools / "w.safetensors"
    given = (pools / "run", "--pool", pools / "pool", "--steps", 4, "--out", out)
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    got, said = run(train_dino, *given)
    checkpoint = pools / "run" / "checkpoint.pt"
    assert got == code and not out.exists()
    first, last = said.splitlines()
    assert first == f"saved {checkpoint} at step 3; go on with --resume" and last.startswith(end)
    assert torch.load(checkpoint, weights_only=True)["step"] == 3
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert run(train_dino, *given, "--resume") == (0, "") and out.exists()


def test_a_second_interrupt_ends_a_step_that_hangs() -> None:
    with pytest.raises(KeyboardInterrupt), commands.signals_wait() as came:
        signal.raise_signal(signal.SIGINT)
        assert came == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with commands.signals_wait() as came:
            signal.raise_signal(signal.SIGINT)
        assert not came
    finally:
        signal.signal(signal.SIGINT, before)
