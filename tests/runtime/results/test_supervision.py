"""supervision reads what we write: the same masks and ids.

It is part of the development packages; where it is missing these tests are skipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.made_result import NUMBERS, make_result
from samotion.pipeline import Result
from samotion.results import write as output
from samotion.results.sizes import at_source

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
sv = pytest.importorskip("supervision")


@pytest.fixture
def result() -> Result:
    return make_result()


@pytest.fixture
def folder(result: Result, tmp_path: Path) -> Path:
    return output.write(result, tmp_path, save=["yolo", "coco", "images"])


def test_supervision_reads_yolo_polygons(folder: Path, result: Result) -> None:
    read = sv.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    assert read.classes == ["static", "object 1", "object 2"]
    assert len(read) == 4
    for path, image, found in read:
        t = NUMBERS.index(int(Path(path).stem))
        labels = at_source(result.labels[t], result.clip.source_hw)
        assert image.shape[:2] == labels.shape
        for mask, label in zip(found.mask, found.class_id, strict=True):
            np.testing.assert_array_equal(mask, labels == label)
        assert sorted(found.class_id) == [n for n in (1, 2) if (labels == n).any()]


def test_supervision_reads_coco_masks(folder: Path, result: Result) -> None:
    read = sv.DetectionDataset.from_coco(
        str(folder / "images"), str(folder / "coco.json"), force_masks=True
    )
    assert len(read) == 4
    for path, _, found in read:
        labels = result.labels[NUMBERS.index(int(Path(path).stem))]
        there = [n for n in (1, 2) if (labels == n).any()]
        assert len(found) == len(there)
        for mask, label in zip(found.mask, there):
            np.testing.assert_array_equal(mask, at_source(labels, result.clip.source_hw) == label)
