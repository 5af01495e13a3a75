"""labels/*.txt and data.yaml: polygons as YOLO's segmentation has them.

A line is an object: its id as the class, then x and y of the corners, each divided by the frame's
width or height. An object of several parts, or with holes, is one polygon that runs from part to
part along the shortest way and back.
"""

from __future__ import annotations

import cv2
import numpy as np

from samotion.manifest import write_atomically
from samotion.masks import ids_in
from samotion.results.material import Material

FOLDER = "labels"
NAMES = "data.yaml"
# A corner lies at its pixel's index and a quarter: readers that round and readers that cut the
# fraction off both come back to the pixel.
INSIDE_PX = 0.25
MIN_CORNERS = 3
BLOCK = 256


def files(material: Material) -> list[str]:
    """One text a frame, empty where nothing moves, and the names of the classes."""
    return [*(f"{FOLDER}/{name}" for name in _label_names(material)), NAMES]


def write(material: Material) -> None:
    """Write one text after the other."""
    folder = material.target.tree / FOLDER
    folder.mkdir(exist_ok=True)
    for name, labels in zip(_label_names(material), material.labels()):
        text = "".join(f"{line}\n" for line in _lines(labels, material.ids))
        write_atomically(folder / name, text.encode())
    write_atomically(material.target.tree / NAMES, _data_yaml(material).encode())


def _label_names(material: Material) -> list[str]:
    """Those of the masks, which differ where frames differ in their suffix alone."""
    return [f"{name.removesuffix('.png')}.txt" for name in material.mask_names]


def _data_yaml(material: Material) -> str:
    """Classes are the masks' labels, so that 0 is static and unused.

    Without `path` Ultralytics looks for the images beside the file, wherever it is started.
    """
    names = ["static", *(f"object {n}" for n in range(1, max(material.ids, default=0) + 1))]
    lines = ["train: images", "val: images", "names:"]
    return "".join(f"{line}\n" for line in lines + [f"  {k}: {n}" for k, n in enumerate(names)])


def _lines(labels: np.ndarray, ids: list[int]) -> list[str]:
    there = ids_in(labels)
    scale = np.array(labels.shape[::-1], np.float64)
    lines = []
    for object_id in ids:
        if object_id in there:
            corners = (polygon(labels == object_id) + INSIDE_PX) / scale
            lines.append(f"{object_id} " + " ".join(f"{value:.6f}" for value in corners.ravel()))
    return lines


def polygon(mask: np.ndarray) -> np.ndarray:
    """One polygon (P,2), x and y of pixels, around all of a mask (H,W) bool that is not empty.

    Filled with its border it is the mask again, but for lines of one pixel between parts.
    """
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = sorted((line[:, 0, :] for line in found), key=len, reverse=True)
    joined = outlines[0]
    for outline in outlines[1:]:
        joined = _joined(joined, outline)
    missing = MIN_CORNERS - len(joined)
    return np.concatenate([joined, joined[-1:].repeat(missing, 0)]) if missing > 0 else joined


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two outlines as one: from the first to the second where they are nearest, around it, back."""
    a, b = _nearest(first, second)
    around = np.concatenate([second[b:], second[: b + 1]])
    return np.concatenate([first[: a + 1], around, first[a:]])


def _nearest(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """Which points of two rows (P,2) and (Q,2) are nearest to each other; a block at a time, for
    outlines of large frames have thousands.
    """
    best = np.inf, 0, 0
    for start in range(0, len(first), BLOCK):
        block = first[start : start + BLOCK]
        apart = ((block[:, None] - second[None]) ** 2).sum(-1)
        a, b = divmod(int(apart.argmin()), len(second))
        best = min(best, (float(apart[a, b]), start + a, b))
    return best[1], best[2]
