"""Results to report on: any number of objects, with tracks, prompts and thumbnails."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from samotion.clips.video import Clip
from samotion.presets import NANO
from samotion.prompts import ObjectPrompt
from samotion.results import write as output
from samotion.results.evidence import Evidence
from samotion.results.result import ObjectResult, Result
from samotion.sam2 import Click
from samotion.settings import Settings, resolve
from samotion.tracks.records import Tracks

from helpers.browser import Page

COLUMNS, CELL_PX = 5, 24
DESKTOP, PHONE = (1280, 900), (390, 844)
READY = "document.documentElement.dataset.ready === 'yes'"
FRAME = "Number(document.documentElement.dataset.frame)"  # the one that is drawn
PIXEL = "[...document.querySelector('canvas').getContext('2d').getImageData({}, {}, 1, 1).data]"
CHECKED = "[...document.querySelectorAll('.objects input')].map((box) => box.checked)"


def opened(
    page: Page,
    folder: Path,
    result: Result,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
) -> None:
    """Write a result's report and open it in a window of this size, until it is drawn."""
    path = output.write(result, folder, ("report",)) / "report.html"
    page.problems.clear()
    page.open(path, size, dark)
    page.wait(READY)


def report_result(
    objects: int = 2,
    frame_count: int = 6,
    hw: tuple[int, int] = (110, 140),
    name: str = "walk",
    warnings: tuple[str, ...] = (),
) -> Result:
    """Squares in a grid that move right; the second one is not there in the last frame."""
    rng = np.random.default_rng(0)
    labels = np.zeros((frame_count, *hw), np.uint8)
    for t in range(frame_count):
        for k in range(objects):
            top, left = (1 + k // COLUMNS * CELL_PX, 2 + k % COLUMNS * CELL_PX + t)
            labels[t, top : top + 14, left : left + 16] = k + 1
    labels[-1][labels[-1] == 2] = 0
    picture = cv2.blur(rng.integers(0, 255, (*hw, 3), np.uint8), (9, 9))
    frames = np.repeat(picture[None], frame_count, 0)
    indices = np.arange(frame_count) * 3
    clip = Clip(frames, (2 * hw[0], 2 * hw[1]), indices, indices / 24, 24.0, name, None)
    evidence = Evidence(
        threshold=0.75,
        prompts=tuple(_prompt(k, labels) for k in range(objects)),
        depth={0: np.full((10, 14), 90, np.uint8)},
        motion={2: np.full((10, 14), 200, np.uint8)},
    )
    found = [ObjectResult(k + 1, 0.99 - k / 100, 0.9) for k in range(objects)]
    settings = resolve(Settings(), NANO)
    timings = {"video": 100.0, "tracks": 900.0, "masks": 500.0}
    scores = np.linspace(0, 1, 40, dtype=np.float32)
    return Result(
        labels,
        found,
        _tracks(frame_count),
        scores,
        timings,
        clip,
        settings,
        list(warnings),
        evidence,
    )


def _prompt(k: int, labels: np.ndarray) -> ObjectPrompt:
    y, x = np.argwhere(labels[0] == k + 1).mean(axis=0)
    click = Click(k + 1, 0, np.array([[x, y], [x + 1, y]]), np.array([1, 0], np.int32))
    return ObjectPrompt(k + 1, 0, np.array([2 * k % 40, (2 * k + 1) % 40]), (click,))


def _tracks(frame_count: int) -> Tracks:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 100, (40, 1, 2)) + np.arange(frame_count)[:, None]
    visible = rng.random((40, frame_count)) > 0.3
    visibility, confidence = rng.random((2, 40, frame_count))
    query_frame = np.zeros(40, np.int64)
    return Tracks(xy.astype(np.float32), visible, visibility, confidence, query_frame, xy[:, 0])
