"""Pictures of the sequences that came out worst: what was there in green, what was found in red,
both in yellow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from samotion_bench.datasets import Clip, Truth
from samotion_bench.files import save

PANEL_WIDTH_PX = 480
BAR_PX = 28
TRUTH_BGR, FOUND_BGR, BOTH_BGR = (60, 200, 60), (60, 60, 230), (60, 220, 230)
TINT = 0.5


def draw_worst(clip: Clip, truth: Truth, found: np.ndarray, j: np.ndarray, path: Path) -> None:
    """A strip of three frames of one clip: its lowest, middle and highest `j` (T,), each written
    below its panel.
    """
    order = np.argsort(j, kind="stable")
    chosen = [int(order[0]), int(order[len(order) // 2]), int(order[-1])]
    panels = [_panel(clip, t, truth.labels[t], found[t], float(j[t])) for t in chosen]
    written, data = cv2.imencode(".png", np.concatenate(panels, axis=1))
    assert written
    save(path, data.tobytes())


def worst_clips(means: dict[str, float], count: int) -> Sequence[str]:
    """The names of the `count` sequences with the lowest means, worst first."""
    return sorted(means, key=lambda name: means[name])[:count]


def _panel(clip: Clip, index: int, truth: np.ndarray, found: np.ndarray, j: float) -> np.ndarray:
    frame = clip.annotations[index].frame
    image = cv2.imread(str(clip.images[frame]), cv2.IMREAD_COLOR) if clip.images else None
    height, width = truth.shape
    image = (
        np.full((height, width, 3), 90, np.uint8)
        if image is None
        else cv2.resize(image, (width, height))
    )
    there, here = truth > 0, found > 0
    for mask, colour in (
        (there & ~here, TRUTH_BGR),
        (here & ~there, FOUND_BGR),
        (there & here, BOTH_BGR),
    ):
        image[mask] = ((1 - TINT) * image[mask] + TINT * np.array(colour)).astype(np.uint8)
    panel = cv2.resize(
        image,
        (PANEL_WIDTH_PX, round(height * PANEL_WIDTH_PX / width)),
        interpolation=cv2.INTER_AREA,
    )
    bar = np.zeros((BAR_PX, PANEL_WIDTH_PX, 3), np.uint8)
    text = f"{clip.name} frame {clip.frames[frame]}  J {j:.2f}"
    cv2.putText(bar, text, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([panel, bar])
