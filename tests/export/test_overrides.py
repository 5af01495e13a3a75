"""Nets of other sizes: `--set` changes numbers, the manifest keeps them, and they run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import samotion
from helpers import official
from samotion import manifest
from samotion.contract import NETS
from samotion.errors import EngineError, UsageError
from samotion.presets import FAST, NANO, TracksNet
from samotion_export import cli
from samotion_export.export import export
from samotion_export.overrides import parse_overrides, with_overrides
from samotion_export.report import Report
from samotion_export.request import Request, choose_preset
from samotion_export.source import find_source

SMALL = {
    "tracks.stem": "8",
    "tracks.channels": "8,8,16,16",
    "tracks.mixer_width": "32",
    "tracks.mixer_blocks": "2",
    "tracks.iterations": "1",
    "depth.vit.width": "64",
    "depth.vit.depth": "5",
    "depth.taps": "0,1,2,4",
    "depth.features": "8",
    "depth.short_side_px": "84",
    "dino.vit.width": "64",
    "dino.short_side_px": "none",
    "motion.dino_channels": "64",
    "motion.maps": "true",
    "sam2.image_size_px": "256",
    "sam2.max_conditioning_frames": "1",
    "prompting.min_confidence": "0.25",
    "max_tracks": "48",
    "max_frames": "3",
}


def request_for(folder: Path, *nets: str, **changes: object) -> Request:
    """A request for nano, with random weights of the shapes that its numbers ask for."""
    request = replace(Request(nets, "nano", folder / "engines", verify=False), **changes)  # type: ignore[arg-type]
    files = {
        net: official.checkpoint(folder, net, getattr(request.chosen(), net))
        for net in nets
        if net not in request.checkpoints
    }
    return replace(request, checkpoints={**files, **request.checkpoints})


def seeing_tracker(folder: Path, net: TracksNet) -> Path:
    """Random weights, but sure at each step that a point is seen, or all tracks would be dropped."""
    state = official.random_state("tracks", net)
    state["torch_pips_mixer.linear_1.bias"][2:4] = -10  # hidden, uncertain
    return official.write(folder / "tracks.pt", "tracks", state)


def test_nets_of_another_size_run_from_their_folder(tmp_path: Path) -> None:
    tracker = seeing_tracker(tmp_path, with_overrides(NANO, SMALL).tracks)
    given = {"tracks": tracker}
    request = request_for(tmp_path, *NETS, checkpoints=given, overrides=SMALL)
    export(request, Report(-1))
    with samotion.open_engines(request.out, "cpu", threads=1) as engines:
        preset = engines.preset
        assert preset == request.chosen() != NANO
        assert (preset.max_tracks, preset.depth.short_side_px) == (48, 84)
        assert preset.tracks.channels == (8, 8, 16, 16)
        assert preset.dino.short_side_px is None
        assert engines.entry("tracks_features").outputs["hires"][-1] == 8
        assert engines.entry("sam2_image").inputs["frames"] == ["B", 256, 256, 3]
        clip = np.random.default_rng(0).integers(0, 256, (3, 60, 84, 3), np.uint8)
        result = samotion.segment_clip(clip, engines)
        click = samotion.sam2.Click(1, 0, np.array([[20.0, 20.0]]), np.array([1]))
        masks = samotion.sam2.propagate(engines, clip, [click])
    assert (result.settings.max_tracks, result.settings.window_frames) == (48, 3)
    assert result.labels.shape[1:] == (60, 84) and 0 < len(result.tracks) <= 48
    assert len(result.scores) == len(result.tracks) and masks[1].shape == (3, 60, 84)


def test_the_command_repeats_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"depth.short_side_px": "84", "depth.out_channels": "8,8,16,16"}
    request = request_for(tmp_path, "depth", overrides=own)
    export(request, Report(-1))
    command = manifest.read(request.out).command("depth", request.out)
    options = "--set depth.short_side_px=84 --set depth.out_channels=8,8,16,16"
    expected = f"samotion-export depth --preset nano {options} --out '{request.out}'"
    assert command == expected
    words = command.replace("'", "").split()
    given = f"depth={request.checkpoints['depth']}"
    monkeypatch.setattr(sys, "argv", [*words, "--no-verify", "--checkpoint", given])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and "depth: up to date" in capsys.readouterr().err


def test_only_a_nets_own_numbers_build_it_again(tmp_path: Path) -> None:
    request = request_for(tmp_path, "depth")

    def key(**overrides: str) -> str:
        own = {name.replace("__", "."): value for name, value in overrides.items()}
        asked = replace(request, overrides=own)
        return find_source("depth", asked.chosen().depth, asked, Report(-1)).key

    assert key() == key(max_tracks="9") == key(tracks__stem="8")
    assert key() != key(depth__short_side_px="84")


def test_a_number_of_the_run_is_written_without_a_rebuild(tmp_path: Path) -> None:
    request = request_for(tmp_path, "depth")
    export(request, Report(-1))
    graph = (request.out / "depth.onnx").stat().st_mtime_ns
    export(replace(request, overrides={"max_tracks": "900"}), Report(-1))
    assert (request.out / "depth.onnx").stat().st_mtime_ns == graph
    assert manifest.read(request.out).get_preset() == replace(NANO, max_tracks=900)
    export(request, Report(-1))
    assert manifest.read(request.out).get_preset() == NANO


def test_nets_of_two_sizes_are_never_mixed(tmp_path: Path) -> None:
    request = request_for(tmp_path, "depth", "dino", overrides={"depth.short_side_px": "84"})
    export(request, Report(-1))
    other = replace(request, nets=("dino",), overrides={})
    with pytest.raises(UsageError, match=r"with depth\.short_side_px=84, whose depth differ"):
        export(other, Report(-1))


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    file = official.checkpoint(tmp_path, "depth", NANO.depth)
    own = {"depth.features": "8"}
    request = request_for(tmp_path, "depth", checkpoints={"depth": file}, overrides=own)
    with pytest.raises(EngineError, match=r"has shape \[.*expected \["):
        export(request, Report(-1))


def test_numbers_that_make_no_net_end_in_one_line(tmp_path: Path) -> None:
    request = request_for(tmp_path, "sam2", overrides={"sam2.image_size_px": "100"})
    with pytest.raises(EngineError, match=r"no net can be built with --set sam2\.image_size"):
        export(request, Report(-1))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("max_trakcs=9", "no such number; expected one of tracks.*, depth.*, dino.*, motion.*"),
        ("depth.width=9", "no such number; expected one of depth.vit.*, depth.taps, depth.feat"),
        ("sam2.config=nano", "expected one of sam2.image_size_px, sam2.max_conditioning_frames"),
        ("tracks.weights=x", "no such number; expected one of tracks.stem, tracks.channels"),
        ("name=x", "no such number"),
        ("depth.vit=9", "choose one of its numbers: depth.vit.width, depth.vit.depth"),
        ("max_tracks.x=9", "this preset has no numbers in 'max_tracks'"),
        ("max_tracks=many", "max_tracks is 'many', expected a whole number, 1 to 65536"),
        ("max_tracks=0", "max_tracks is 0, expected a whole number"),
        ("max_tracks=none", "max_tracks is 'none', expected a whole number"),
        ("max_tracks=", "max_tracks is '', expected a whole number"),
        ("max_tracks=" + "9" * 5000, "max_tracks is '999"),
        ("tracks.causal=1", "tracks.causal is 1, expected true or false"),
        ("tracks.channels=1,2,3", "tracks.channels has 3 numbers, expected 4"),
        ("tracks.refine_px=300", "tracks.refine_px is 300, expected 256 or 512"),
        ("motion.disparity=odd", "motion.disparity is 'odd', expected plain or reference"),
        ("prompting.min_confidence=NaN", "min_confidence is nan, expected a number, 0 to 1"),
        ("depth.vit.depth=2", "taps is 0,1,2,3, depth.vit.depth 2; expected four rising numbers"),
        ("depth.taps=0,1,1,3", "depth.taps is 0,1,1,3, depth.vit.depth 4; expected four rising"),
        ("dino.vit.width=64", "dino.vit.width is 64, motion.dino_channels 128; expected the same"),
        ("motion.maps=false", "motion.maps is false; preset 'nano' finds objects by these maps"),
        ("depth.vit.width=100", "depth.vit.width is 100; expected a multiple of 64"),
    ],
)
def test_what_no_preset_can_have_is_refused(pair: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_overrides(NANO, parse_overrides([pair]))
    line = str(caught.value)
    assert line.startswith("--set") and said in line and "\n" not in line and len(line) < 400


@pytest.mark.parametrize("pairs", [["max_tracks"], ["=9"], [""], ["max_tracks=9", "max_tracks=8"]])
def test_what_is_no_pair_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_overrides(pairs)


def test_parts_that_a_preset_lacks_are_named() -> None:
    with pytest.raises(UsageError, match="this preset has no numbers in 'cues'"):
        with_overrides(FAST, {"cues.reach_frames": "2"})


def test_values_of_every_kind() -> None:
    own = parse_overrides(
        [
            "prompting.thresholds=0.5",
            "motion.camera_scales=",
            "tracks.causal=true",
            "motion.disparity=reference",
            "dino.short_side_px=none",
            "cues.grow_threshold=1",
        ]
    )
    preset = with_overrides(NANO, own)
    assert preset.prompting.thresholds == (0.5,) and preset.motion.camera_scales == ()
    assert preset.tracks.causal and preset.motion.disparity == "reference"
    assert preset.dino.short_side_px is None
    assert preset.cues is not None and preset.cues.grow_threshold == 1.0
    assert preset.tracks.weights == NANO.tracks.weights


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (("huge",), "preset 'huge' is unknown; this samotion knows nano, fast"),
        (("fast", "sam3"), "SAM 2 size 'sam3' is unknown"),
        (("fast", None, 300), "refine_px 300 is unknown; this samotion knows 256, 512"),
    ],
)
def test_unknown_choices_are_refused(chosen: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose_preset(*chosen)  # type: ignore[arg-type]
