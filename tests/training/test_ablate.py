"""Ablations: each variant takes away what it says and nothing else, and the runs of a clip share
what they can.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samotion
import torch
from samotion.errors import EngineError
from samotion_export.checkpoints import weights
from samotion_training import ablate, motion_data
from samotion_training.ablate import Case, Found, Shared


@pytest.fixture
def tracks(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The motion engine's inputs for 12 tracks of 5 frames."""
    channels = samotion.presets.NANO.motion.dino_channels
    floats = {
        name: rng.random((12, 5), np.float32) for name in ("visibility", "confidence", "disparity")
    }
    return {
        "xy": rng.uniform(-1, 1, (12, 5, 2)).astype(np.float32),
        "visible": np.ones((12, 5), np.uint8),
        "dino": rng.normal(0, 1, (12, channels)).astype(np.float32),
        **floats,
    }


@pytest.fixture(scope="module")
def opened(engine_folder: Path) -> Any:
    with samotion.open_engines(engine_folder, device="cpu") as engines:
        yield engines


@pytest.fixture(scope="module")
def exported(opened: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that the folder's motion net was exported from."""
    from helpers import official

    return Path(official.checkpoint(tmp_path_factory.mktemp("w"), "motion", opened.preset.motion))


def score(net: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(net(**inputs)["score"])


def test_each_variant_forgets_its_own_part(
    opened: Any, exported: Path, tracks: dict[str, np.ndarray]
) -> None:
    nets = ablate.variants(opened, exported)
    other = {name: tracks[name][::-1].copy() for name in ("disparity", "dino")}
    for name, part in (("without depth", "disparity"), ("without dino", "dino")):
        np.testing.assert_array_equal(
            score(nets[name], tracks), score(nets[name], {**tracks, part: other[part]})
        )
        assert np.ptp(score(nets[ablate.WHOLE], tracks) - score(nets[name], tracks)) > 0
    for part in other:
        changed = score(nets["without spatial attention"], {**tracks, part: other[part]})
        assert np.ptp(changed - score(nets["without spatial attention"], tracks)) > 0


def test_without_spatial_attention_the_encoder_sees_each_track_alone(
    opened: Any, tracks: dict[str, np.ndarray]
) -> None:
    torch.manual_seed(0)
    whole = weights.build_module("motion", opened.preset.motion)
    alone = ablate.without_spatial(whole, opened)
    channels = torch.randn(12, 5, 88)
    mask = torch.zeros(12, 5)
    moved = channels.clone()
    moved[1:] += 1
    with torch.no_grad():
        for module, same in ((whole, False), (alone, True)):
            first, second = (module.joint_encoder(c, mask)[0] for c in (channels, moved))  # type: ignore[operator]
            assert torch.equal(first, second) == same


def test_other_weights_than_the_exported_ones_are_noticed(
    opened: Any, tracks: dict[str, np.ndarray]
) -> None:
    with pytest.raises(EngineError, match=r"differ by .* give --motion FILE, or export it again"):
        score(ablate.variants(opened)["without spatial attention"], tracks)  # the bundled weights


def test_the_runs_of_a_clip_share_what_no_variant_changes() -> None:
    calls: Counter[str] = Counter()

    class Engines:
        preset = "nano"

        def __getitem__(self, name: str) -> Any:
            def call(**inputs: np.ndarray) -> dict[str, np.ndarray]:
                calls[name] += 1
                return {"out": inputs["x"] + 1}

            return call

    shared = Shared(Engines())  # type: ignore[arg-type]
    x = np.arange(6.0).reshape(2, 3)
    for values in (x, x.copy(), x.reshape(3, 2), x.T, x.T.copy()):
        np.testing.assert_array_equal(shared["depth"](x=values)["out"], values + 1)
        shared["sam2_track"](x=values)
    assert calls == {"depth": 3, "sam2_track": 5} and shared.preset == "nano"
    shared.motion = lambda **_: {"score": np.ones(1)}
    assert shared["motion"](x=x)["score"] == 1 and calls["motion"] == 0


def test_figures_by_hand() -> None:
    moving = np.array([True, False, False])
    right, wrong = np.array([0.9, 0.2, 0.1]), np.array([0.1, 0.2, 0.9])
    clips = [
        {"whole": Found(0.8, True, right, moving), "without dino": Found(0.5, True, wrong, moving)},
        {
            "whole": Found(None, False, right, moving[1:2]),
            "without dino": Found(None, True, right[:1], moving[1:2]),
        },
    ]
    clips[1]["whole"] = clips[1]["whole"]._replace(scores=right[1:2])
    table = ablate.summarise(clips, {"whole": [(right, moving)], "without dino": [(wrong, moving)]})
    assert table["whole"] == pytest.approx(
        {
            "j": 0.8,
            "drop_in_j": 0,
            "false_alarms": 0,
            "auc": 1,
            "auc_over_all": 1,
            "made_auc": 1,
            "made_auc_over_all": 1,
        }
    )
    assert (
        table["without dino"]["drop_in_j"] == pytest.approx(0.3)
        and table["without dino"]["false_alarms"] == 1
    )
    assert table["without dino"]["auc"] == 0


def test_judging_compares_masks_and_each_track_at_its_query(rng: np.random.Generator) -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[:, :4] = True
    labels = np.where(masks, 2, 0).astype(np.uint8)
    labels[:, :2] = 0  # half of it

    class Result:
        labels: np.ndarray
        scores = np.array([0.9, 0.2, 0.1])

        class tracks:
            query_xy = np.array([[3.0, 1.0], [3.0, 6.0], [9.0, 3.4]])
            query_frame = np.array([0, 1, 1])

    Result.labels = labels
    found = ablate.judge(Case("x", np.zeros((2, 8, 8, 3), np.uint8), masks), Result())  # type: ignore[arg-type]
    assert (
        found.j == pytest.approx(0.5)
        and found.any_mask
        and found.moving.tolist() == [True, False, True]
    )


def test_the_command_runs_on_a_rendered_clip_and_made_tracks(
    engine_folder: Path,
    exported: Path,
    tracks: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random nets find nothing of use, but all the ways are gone."""
    moving = np.arange(12) < 5
    (tmp_path / "made").mkdir()
    made = motion_data.TrackSet(
        **{**tracks, "visible": tracks["visible"].astype(bool)}, moving=moving
    )
    motion_data.save(tmp_path / "made" / "000000.npz", made)
    arguments = ["--engine-dir", engine_folder, "--motion", exported]
    arguments += ["--synthetic", 1, "--frames", 2, "--max-tracks", 24]
    arguments += ["--made", tmp_path / "made", "--out", tmp_path / "report.json"]
    monkeypatch.setattr(sys, "argv", ["ablate", *map(str, arguments)])
    ablate.main()
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["variants"]) == [
        "whole",
        "without depth",
        "without dino",
        "without spatial attention",
    ]
    for row in report["variants"].values():
        assert 0 <= row["j"] <= 1 and 0 <= row["made_auc"] <= 1
    assert report["clips"][0]["seconds"] > 0 and report["variants"]["whole"]["drop_in_j"] == 0


def test_a_second_run_of_a_clip_finds_the_same_without_tracking_again(
    opened: Any, rng: np.random.Generator
) -> None:
    frames = rng.integers(0, 255, (2, 48, 64, 3), np.uint8)
    shared = Shared(opened)
    first = shared.segment(frames, opened["motion"], 16)
    kept = len(shared._kept)
    again = shared.segment(frames, opened["motion"], 16)
    plain = samotion.segment_clip(frames, opened, samotion.Settings(max_frames=2, max_tracks=16))
    assert kept >= 4 and len(shared._kept) == kept
    for other in (again, plain):
        np.testing.assert_array_equal(first.labels, other.labels)
        np.testing.assert_array_equal(first.scores, other.scores)
