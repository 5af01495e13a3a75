"""A contact sheet for the README: frames of a clip above the same frames of its overlay.

python -m samotion_bench.picture demo/demo.mp4 out/demo/overlay.mp4 demo/result.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from samotion.clips.video import read_clip
from samotion.manifest import write_atomically

PANELS = 4
PANEL_WIDTH_PX = 320


def contact_sheet(frames: np.ndarray, overlay: np.ndarray, panels: int = PANELS) -> np.ndarray:
    """(h,w,3) uint8: `panels` evenly spaced frames of two clips (T,H,W,3) of equal length, one
    row each.
    """
    chosen = np.linspace(0, len(frames) - 1, panels + 2).round().astype(int)[1:-1]
    rows = [np.concatenate([_panel(clip[t]) for t in chosen], axis=1) for clip in (frames, overlay)]
    return np.concatenate(rows)


def _panel(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    panel: np.ndarray = cv2.resize(
        frame,
        (PANEL_WIDTH_PX, round(height * PANEL_WIDTH_PX / width)),
        interpolation=cv2.INTER_AREA,
    )
    return panel


def main() -> None:
    """The command."""
    clip, overlay, target = sys.argv[1:]
    before, after = read_clip(clip).frames, read_clip(overlay).frames
    sheet = contact_sheet(np.asarray(before), np.asarray(after))
    written, data = cv2.imencode(Path(target).suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert written
    write_atomically(Path(target), data.tobytes())


if __name__ == "__main__":
    main()
