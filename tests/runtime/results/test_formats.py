"""What others' tools read of a result: the same masks, ids, frames and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.made_result import NUMBERS, SOURCE_HW, TIMES_S, make_result
from pycocotools.coco import COCO
from samotion.results import write as output
from samotion.results.material import at_source

Array = np.ndarray[Any, Any]


def labels_at_source() -> Array:
    """The labels (T,H,W) of the made result, as large as its source."""
    return np.stack([at_source(labels, SOURCE_HW) for labels in make_result().labels])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_finds_every_annotation(tmp_path: Path) -> None:
    folder = output.write(make_result(), tmp_path, save=["coco"])
    coco = COCO(folder / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == [f"{n:05d}.jpg" for n in NUMBERS]
    assert [(image["frame"], image["time_s"]) for image in images] == list(zip(NUMBERS, TIMES_S))
    assert {(image["height"], image["width"]) for image in images} == {SOURCE_HW}
    read = np.zeros((4, *SOURCE_HW), np.uint8)
    for one in coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(["moving object"]))):
        mask = coco.annToMask(one).astype(bool)
        read[one["image_id"] - 1][mask] = one["track_id"]
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert one["area"] == mask.sum() and one["bbox"] == box
        assert one["score"] == {1: 0.9, 2: 0.8}[one["track_id"]]
    np.testing.assert_array_equal(read, labels_at_source())
