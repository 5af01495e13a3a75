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
BLOCK = 1 << 17  # distances at a time


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
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corners = _corners(_joined([line[:, 0, :] for line in found]))
    missing = MIN_CORNERS - len(corners)
    return np.concatenate([corners, corners[-1:].repeat(missing, 0)]) if missing > 0 else corners


def _joined(outlines: list[np.ndarray]) -> np.ndarray:
    """All outlines (P,2) as one, joined by lines there and back.

    Whichever is nearest comes next, of all their pixels: a line through a hole would have met its
    outline before. So the lines of an object in one piece lie in it.
    """
    joined, rest = outlines[0], np.concatenate(outlines)
    owners = np.repeat(np.arange(len(outlines)), [len(outline) for outline in outlines])
    apart, ends = np.full(len(rest), np.inf), rest  # to what of the joined is nearest, and where
    last = 0
    while (waits := owners != last).any():
        rest, owners, apart, ends = rest[waits], owners[waits], apart[waits], ends[waits]
        to_last, places = _nearest(rest, outlines[last])
        is_nearer = to_last < apart
        apart = np.where(is_nearer, to_last, apart)
        ends = np.where(is_nearer[:, None], outlines[last][places], ends)
        best = int(apart.argmin())
        last = int(owners[best])
        joined = _with(joined, ends[best], outlines[last], rest[best])
    return joined


def _with(
    joined: np.ndarray, end: np.ndarray, outline: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """From the pixel `end` of the first to the pixel `start` of the second, around it, and back."""
    a, b = (int((line == xy).all(1).argmax()) for line, xy in ((joined, end), (outline, start)))
    around = np.concatenate([outline[b:], outline[: b + 1]])
    return np.concatenate([joined[: a + 1], around, joined[a:]])


def _nearest(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared distance of each of `points` (P,2) to the nearest of `others` (Q,2), and which
    that is; a block at a time, for outlines of large frames have thousands.
    """
    ours, theirs = points.astype(np.float64), others.astype(np.float64)
    # |p - q|^2 = |p|^2 + p * (-2 q) + |q|^2, the latter two as one product
    left = np.column_stack([ours, np.ones(len(ours))])
    right = np.column_stack([-2 * theirs, (theirs**2).sum(1)]).T
    apart, places = (ours**2).sum(1), np.empty(len(ours), np.int64)
    size = max(1, BLOCK // len(theirs))
    for start in range(0, len(ours), size):
        block = slice(start, start + size)
        squares = left[block] @ right
        places[block] = squares.argmin(1)
        apart[block] += squares.min(1)
    return apart, places


def _corners(line: np.ndarray) -> np.ndarray:
    """A closed line (P,2) without pixels that come twice in a row, or lie between neighbours on a
    straight line.
    """
    moves = np.asarray(np.diff(line, axis=0, prepend=line[-1:]).any(1))
    moves[0] = True  # a single pixel
    line = line[moves]
    before = np.diff(line, axis=0, prepend=line[-1:])
    after = np.roll(before, -1, axis=0)
    is_corner = np.asarray((before != after).any(1) | (abs(before) > 1).any(1))
    is_corner[0] = True
    corners: np.ndarray = line[is_corner]
    return corners
