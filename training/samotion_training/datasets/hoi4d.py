"""HOI4D: hands that handle things, before a camera worn on the head.

`.../T1/align_rgb/image.mp4`, `.../T1/align_depth/depth_video.avi` (16 bit, millimetres, 0 =
unknown) and `.../T1/2Dseg/mask/*.png` or `2Dseg/shift_mask/*.png` (a colour per part, black = the
rest), all below one folder or each below a folder of its own (`HOI4D_release`, `HOI4D_depth_video`,
`HOI4D_annotations`). There are no tracks: motion learns from what the nano tracker makes of these
clips (samotion_training.make_tracks). The masks mark hands and what they handle. All of it counts
as moving but the bodies of furniture, which stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from samotion.errors import InputError
from samotion_bench.scenes.render import Clip

from samotion_training.datasets import files
from samotion_training.datasets.recording import Recording, Source, no_tracks, windows

# frames are 1920 x 1080, the pool's 256 x 256: no need to hold what is thrown away
LONG_SIDE_PX = 640
UNIT = 1000.0  # depth in a metre
# By category and number in the dataset's own table of labels: cabinet, safe, trash can.
STAYS = {("C4", 3), ("C6", 1), ("C14", 1)}
# Label k has the k-th colour of the PASCAL VOC palette.
COLOURS = {0x800000: 1, 0x008000: 2, 0x808000: 3, 0x000080: 4, 0x800080: 5, 0x008080: 6}


def sources(folder: Path, frames: int) -> Iterator[Source]:
    """Windows of all sequences below `folder` that have masks."""
    for picture in sorted(folder.rglob("align_rgb/image.mp4")):
        sequence = picture.parent.parent
        masks = _masks(folder, sequence)
        for window in windows(len(masks), frames):
            yield Source(
                f"{sequence}:{window.start}",
                partial(_read, folder, sequence, masks[window], window),
            )


def _beside(folder: Path, sequence: Path, inner: str) -> Iterator[Path]:
    """Where `inner` of a sequence may lie: in its own folder, or at the same place below a
    sibling of its root.
    """
    yield sequence / inner
    parts = sequence.relative_to(folder).parts
    for root in sorted(p for p in folder.iterdir() if p.is_dir() and parts):
        yield root.joinpath(*parts[1:]) / inner


def _masks(folder: Path, sequence: Path) -> list[Path]:
    # the first is aligned to the pictures where both are there
    for inner in ("2Dseg/shift_mask", "2Dseg/mask"):
        for place in _beside(folder, sequence, inner):
            if paths := sorted(place.glob("*.png")):
                return paths
    return []


def _read(folder: Path, sequence: Path, masks: list[Path], window: slice) -> Recording:
    frames = files.stacked(
        [
            _small(f, cv2.INTER_AREA)
            for f in _cut(sequence / "align_rgb/image.mp4", "rgb24", window)
        ],
        sequence,
    )
    colours = [_small(files.rgb(path), cv2.INTER_NEAREST_EXACT) for path in masks]
    labels, moving = _labels(files.stacked(colours, sequence), sequence)
    disparity = np.zeros((0, *frames.shape[1:3]), np.float32)
    for path in _beside(folder, sequence, "align_depth/depth_video.avi"):
        if path.exists():
            disparity = _disparity(path, window)
            break
    if labels.shape != frames.shape[:3] or (len(disparity) and disparity.shape != labels.shape):
        raise InputError(
            f"{sequence}: got pictures {frames.shape[:3]}, masks {labels.shape} and depth"
            f" {disparity.shape} from frame "
            f"{window.start}, expected as many of each, of one shape; {files.ADVICE}"
        )
    return Recording(Clip(frames, disparity, labels, labels, moving), no_tracks(len(frames)))


def _cut(path: Path, pixels: str, window: slice) -> Iterator[np.ndarray]:
    return islice(files.video(path, pixels), window.start, window.stop)


def _small(picture: np.ndarray, how: int) -> np.ndarray:
    scale = min(1.0, LONG_SIDE_PX / max(picture.shape[:2]))
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    return np.asarray(cv2.resize(picture, size, interpolation=how))


def _disparity(path: Path, window: slice) -> np.ndarray:
    depth = files.stacked(
        [_small(f, cv2.INTER_NEAREST_EXACT) for f in _cut(path, "gray16le", window)], path
    )
    known = depth > 0
    disparity = files.fill_holes(known * UNIT / np.maximum(depth, 1), known)
    # A few wrong pixels right before the lens would leave the rest no range.
    low, high = np.percentile(disparity, (1, 99), axis=(1, 2), keepdims=True)
    return disparity.clip(low, high).astype(np.float32)


def _labels(colours: np.ndarray, sequence: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (T, H, W) uint8 of mask pictures (T, H, W, 3), and which of them move.

    Colours are told apart by which channels are on: other tools write 255 for 128.
    """
    packed = files.packed((colours > 63) * np.uint8(128))
    unknown = set(np.unique(packed).tolist()) - {0, *COLOURS}
    if unknown:
        raise InputError(
            f"{sequence}: got masks with colour {min(unknown):06x}, expected HOI4D's;"
            f" {files.ADVICE}"
        )
    labels = np.zeros(packed.shape, np.uint8)
    for colour, label in COLOURS.items():
        labels[packed == colour] = label
    category = next((p for p in sequence.parts if re.fullmatch(r"C\d+", p)), "")
    moving = [False, *((category, label) not in STAYS for label in COLOURS.values())]
    return labels, np.array(moving)
