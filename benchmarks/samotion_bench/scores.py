"""J and F as DAVIS defines them, over frames and over objects.

Definitions: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (CVPR 2016), with the choices of the davis2017-evaluation program: contours one pixel
wide and shifted up and to the left, matched within ceil(0.008 * diagonal) pixels, and 1 wherever
there is nothing to find and nothing was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from samotion.errors import InputError

from samotion_bench.assignment import best_assignment

BOUND_TH = 0.008  # of the image diagonal
MAX_PROPOSALS = 20
RECALL_AT = 0.5


@dataclass(frozen=True)
class Statistics:
    """Of one measure over the frames of one object: mean, share of frames above 0.5, first
    quarter minus last.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True)
class ObjectScores:
    """One object's measures per frame (T,) float64; `label` is its value in the ground truth, 1
    for all movers.
    """

    label: int
    j: np.ndarray
    f: np.ndarray


def region_similarity(
    truth: np.ndarray, found: np.ndarray, void: np.ndarray | None = None
) -> float:
    """J: the IoU of two masks (H,W) bool outside `void`; 1 when both are empty there."""
    counts = np.ones_like(truth, bool) if void is None else ~void
    union = np.count_nonzero((truth | found) & counts)
    return float(np.count_nonzero(truth & found & counts) / union) if union else 1.0


def contour_accuracy(truth: np.ndarray, found: np.ndarray, void: np.ndarray | None = None) -> float:
    """F: the harmonic mean of contour precision and recall of two masks (H,W) bool outside
    `void`.
    """
    return match_contours(Contour.of(truth, void), Contour.of(found, void))


@dataclass(frozen=True)
class Contour:
    """A mask's boundary (H,W) bool, the same grown by the matching distance, and its length in
    px.
    """

    line: np.ndarray
    band: np.ndarray
    length: int

    @staticmethod
    def of(mask: np.ndarray, void: np.ndarray | None = None) -> Contour:
        """The contour of a mask (H,W), the void pixels left out."""
        line = boundary(mask if void is None else mask & ~void)
        radius = math.ceil(BOUND_TH * math.hypot(*mask.shape))
        band = cv2.dilate(line.view(np.uint8), disk(radius)).view(bool)
        return Contour(line, band, int(np.count_nonzero(line)))


def match_contours(truth: Contour, found: Contour) -> float:
    """F of two contours. Without a contour its own side counts as fully matched, the other side
    as not at all.
    """
    if not truth.length and not found.length:
        return 1.0
    if not truth.length or not found.length:
        return 0.0
    precision = np.count_nonzero(found.line & truth.band) / found.length
    recall = np.count_nonzero(truth.line & found.band) / truth.length
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of (H,W) bool that differ from their right, lower or lower right neighbour inside
    the image.
    """
    line = np.zeros_like(mask)
    line[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    line[:-1] |= mask[:-1] ^ mask[1:]
    line[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return line


def disk(radius: int) -> np.ndarray:
    """All offsets at Euclidean distance <= radius, as a (2r+1,2r+1) uint8 kernel."""
    offsets = np.arange(-radius, radius + 1) ** 2
    return (offsets[:, None] + offsets <= radius**2).astype(np.uint8)


def statistics(values: np.ndarray) -> Statistics:
    """Mean, recall and decay of one measure per frame (T,), T > 0. The quarters share their
    border frames.
    """
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return Statistics(
        float(values.mean()), float((values > RECALL_AT).mean()), float(first.mean() - last.mean())
    )


def score_movers(truth: np.ndarray, found: np.ndarray, void: np.ndarray) -> list[ObjectScores]:
    """All objects of label maps (T,H,W) taken as one; `void` (T,H,W) bool."""
    pairs = [(t > 0, f > 0, v) for t, f, v in zip(truth, found, void)]
    j = np.array([region_similarity(*pair) for pair in pairs])
    return [ObjectScores(1, j, np.array([contour_accuracy(*pair) for pair in pairs]))]


def score_objects(
    truth: np.ndarray, found: np.ndarray, void: np.ndarray, labels: Sequence[int]
) -> list[ObjectScores]:
    """Every object of `truth` (T,H,W) against the proposal of `found` (T,H,W) that suits it, over
    the whole clip.

    The pairing maximises the sum of mean J + mean F; objects without a proposal meet empty masks,
    proposals without an object cost nothing. `labels`: the objects' values in the ground truth.
    Raises InputError above 20 proposals.
    """
    if (proposals := int(found.max(initial=0))) > MAX_PROPOSALS:
        raise InputError(
            f"a label of {proposals} is in the masks; DAVIS allows at most {MAX_PROPOSALS}"
            f" proposals"
        )
    if not labels:
        return []
    candidates = range(1, max(proposals, len(labels)) + 1)
    j = np.empty((len(labels), len(candidates), len(truth)))
    f = np.empty_like(j)
    for t, (truth_map, found_map, unknown) in enumerate(zip(truth, found, void)):
        j[..., t], f[..., t] = _score_pairs(truth_map, found_map, unknown, labels, candidates)
    pairs = best_assignment(j.mean(axis=2) + f.mean(axis=2))
    return [ObjectScores(label, j[i, pairs[i]], f[i, pairs[i]]) for i, label in enumerate(labels)]


def _score_pairs(
    truth: np.ndarray,
    found: np.ndarray,
    void: np.ndarray,
    labels: Sequence[int],
    candidates: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    truths = [truth == label for label in labels]
    founds = [found == candidate for candidate in candidates]
    there = [Contour.of(mask, void) for mask in truths]
    here = [Contour.of(mask, void) for mask in founds]
    j = np.array([[region_similarity(t, f, void) for f in founds] for t in truths])
    return j, np.array([[match_contours(t, f) for f in here] for t in there])
