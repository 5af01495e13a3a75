"""What evaluations read of annotated video, and what they write where there is no figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samotion.manifest import BUNDLED
from samotion.png import encode_indexed
from samotion_training import evaluate

HW = (60, 80)


def write_davis(folder: Path, kind: str, suffix: str = ".jpg") -> list[np.ndarray]:
    """Two frames with a square that moves, the masks of which are drawn as `kind` says."""
    frames = folder / "JPEGImages/480p/goat"
    masks = folder / "Annotations/480p/goat"
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    moving = []
    for t in range(2):
        mask = np.zeros(HW, np.uint8)
        mask[10:40, 20 + 10 * t : 50 + 10 * t] = 1
        cv2.imwrite(str(frames / f"{t:05d}{suffix}"), np.full((*HW, 3), 90, np.uint8))
        path = masks / f"{t:05d}.png"
        if kind == "palette":
            path.write_bytes(encode_indexed(3 * mask))
        else:
            cv2.imwrite(str(path), mask * {"white": 255, "ones": 1, "still": 0}[kind])
        moving.append(mask > 0)
    return moving


@pytest.mark.parametrize(
    ("kind", "suffix"), [("white", ".jpg"), ("ones", ".jpg"), ("palette", ".JPEG")]
)
def test_masks_mean_the_same_however_they_are_drawn(kind: str, suffix: str, tmp_path: Path) -> None:
    moving = write_davis(tmp_path, kind, suffix)
    ((name, frames, masks),) = evaluate.davis(tmp_path)
    assert name == "goat" and frames.shape == (2, 360, 480, 3)
    np.testing.assert_array_equal(masks[:, 3::6, 3::6], moving)
    (sequence,) = evaluate.sequences(tmp_path)
    full = evaluate.masks_of(sequence, evaluate.pictures_of(sequence))
    assert full.dtype == bool
    np.testing.assert_array_equal(full, moving)


def test_a_sequence_in_which_nothing_moves_has_no_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_davis(tmp_path, "still")

    def motion(engines: Any, frames: Any, masks: np.ndarray, max_tracks: int) -> Any:
        return {"motion_auc" if masks.any() else "false_alarm": 0.0}, None, None

    monkeypatch.setattr(evaluate, "motion", motion)
    given = ["evaluate", "--engine-dir", str(BUNDLED), "--davis", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    evaluate.main()
    assert json.loads(capsys.readouterr().out) == {"davis_motion_auc": {"goat": None}}


def test_the_mean_is_of_what_there_is() -> None:
    assert evaluate.mean_of([None, 0.5, 1.0]) == 0.75
    assert evaluate.mean_of([None, None]) is None
