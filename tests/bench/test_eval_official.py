"""J and F beside the DAVIS program's own code, where a package that carries it is installed
(vos-benchmark 0.1.0).
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from samotion_bench.scores import contour_accuracy, region_similarity, score_objects

SAME = 1e-12
HW = (60, 200)  # matching distance 2 px


def masks(rng):
    """Empty, full, one pixel, corners, borders, blobs, thin lines and noise, each (60,200) bool."""
    found = {
        name: np.zeros(HW, bool)
        for name in ("empty", "pixel", "corner", "border", "line", "square")
    }
    found["pixel"][30, 70] = found["corner"][0, 0] = found["corner"][-1, -1] = True
    found["border"][:, -5:] = found["border"][-2:] = found["line"][10, 20:180] = found["square"][
        20:40, 90:130
    ] = True
    found["full"], found["hole"] = ~found["empty"], ~found["square"]
    found["noise"] = rng.random(HW) < 0.1
    for k in range(8):
        coarse = rng.random((HW[0] // 5 + 1, HW[1] // 5 + 1)) < rng.uniform(0.1, 0.8)
        found[f"blob{k}"] = np.kron(coarse, np.ones((5, 5), bool))[: HW[0], : HW[1]]
        found[f"shifted{k}"] = np.roll(found[f"blob{k}"], (k % 3, k - 3), axis=(0, 1))
    return found


@pytest.fixture(scope="module")
def official():
    return pytest.importorskip("vos_benchmark.evaluator").Evaluator


def test_all_pairs_of_masks(official, rng):
    found = masks(rng)
    for there, here in itertools.product(found, found):
        judge = official()
        judge.objects_in_gt.add(1)
        judge.feed_frame(found[here].astype(np.uint8), found[there].astype(np.uint8))
        assert region_similarity(found[there], found[here]) == pytest.approx(
            judge.object_iou[1][0], abs=SAME
        )
        assert contour_accuracy(found[there], found[here]) == pytest.approx(
            judge.boundary_f[1][0], abs=SAME
        )


@pytest.mark.parametrize("proposals", [0, 1, 2, 3, 5])
def test_several_objects(official, rng, proposals):
    """Three objects; the proposals bear the labels that suit them best, so that both programs
    pair them alike.
    """
    names = ["blob0", "square", "border"]
    truth, found = np.zeros((2, 4, *HW), np.uint8)
    for t, label in itertools.product(range(4), range(5)):
        there = np.roll(
            masks(rng)[names[label]] if label < 3 else rng.random(HW) < 0.005, t, axis=1
        )
        if label < 3:
            truth[t][there] = label + 1
        if label < proposals:
            found[t][np.roll(there, 2, axis=0)] = label + 1
    judge = official()
    judge.objects_in_gt |= {1, 2, 3}
    for a, b in zip(found, truth):
        judge.feed_frame(a, b)
    for scores in score_objects(truth, found, np.zeros(truth.shape, bool), [1, 2, 3]):
        np.testing.assert_allclose(scores.j, judge.object_iou[scores.label], atol=SAME)
        np.testing.assert_allclose(scores.f, judge.boundary_f[scores.label], atol=SAME)
