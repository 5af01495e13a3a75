"""Confidences are judged clip by clip, by a fit to the others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from samotion.errors import InputError
from samotion.manifest import BUNDLED
from samotion_training import fit_objects, reliability


@pytest.mark.parametrize("name", ["groups.npz", "groups"])
def test_groups_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = {f"clip{n}": (rng.normal(size=(n, 2)), rng.random(n) < 0.5) for n in (3, 0, 2)}
    fit_objects.save_groups(tmp_path / name, clips)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    loaded = fit_objects.load_groups(tmp_path / name)
    assert list(loaded) == list(clips)
    for name, (features, moving) in clips.items():
        again, moving_again = loaded[name]
        np.testing.assert_array_equal(features, again)
        np.testing.assert_array_equal(moving, moving_again)


def test_confidences_of_a_clip_come_from_the_others_and_are_drawn() -> None:
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(40):
        x = rng.normal(size=(20, 2))
        clips.append((x, rng.random(20) < 1 / (1 + np.exp(-2 * x[:, 0]))))
    wrong = np.full((20, 2), 3.0), np.zeros(20, bool)
    named = {str(k): one for k, one in enumerate(clips)}
    confidences = reliability.leave_one_out({**named, "wrong": wrong, "wrong middle": wrong})
    assert confidences[-1].min() > 0.9, "neither its own truth nor that of its excerpts counts"
    found = reliability.bins(
        np.concatenate(confidences[:-2]), np.concatenate([moving for _, moving in clips])
    )
    assert sum(one.size for one in found) == 800
    assert all(abs(one.mean - one.moving) < 0.15 for one in found)
    drawn = reliability.diagram({"groups": found})
    assert drawn.count("<circle") == len(found) and drawn.startswith("<svg")


def test_too_few_examples_are_told_of() -> None:
    nothing = np.zeros((0, 2)), np.zeros(0, bool)
    some = np.zeros((3, 2)), np.array([True, False, True])
    for clips in ({"0": nothing, "1": nothing}, {"0": some}):
        with pytest.raises(InputError, match=r"got no examples to fit to.*more --seeds"):
            reliability.leave_one_out(clips)


def test_groups_are_kept_where_the_fit_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = "0", np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), 64
    some = np.zeros((3, 2)), np.array([True, False, True])
    none = np.zeros((0, 2)), np.zeros(0, bool)
    monkeypatch.setattr(fit_objects, "rendered", lambda args: [clip])
    monkeypatch.setattr(fit_objects, "scored", lambda *_: (None, None))
    monkeypatch.setattr(fit_objects, "densify", lambda *_: (None, None, None))
    monkeypatch.setattr(fit_objects, "examples_of", lambda *_: (none, some))
    given = ["--engine-dir", BUNDLED, "--groups", tmp_path / "g.npz", "--seeds", 0, 1]
    monkeypatch.setattr(sys, "argv", ["fit_objects", *map(str, given)])
    with pytest.raises(SystemExit) as end:
        fit_objects.main()
    assert end.value.code == 3 and "got no examples" in capsys.readouterr().err
    assert list(fit_objects.load_groups(tmp_path / "g.npz")) == ["0"]


def test_a_sequence_gives_whole_and_shorter_clips() -> None:
    parts = fit_objects.excerpts(75)
    lengths = {name: len(range(75)[part]) for name, part in parts.items()}
    assert lengths == {"": 75, " first": 60, " middle": 30, " last": 40}
    assert all(len(range(8)[part]) == 8 for part in fit_objects.excerpts(8).values())
