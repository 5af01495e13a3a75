"""J, F and their statistics against an obvious implementation pixel by pixel, and against values
found by hand.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from samotion.errors import InputError
from samotion.png import encode_indexed
from samotion_bench.assignment import best_assignment
from samotion_bench.datasets import find_clips
from samotion_bench.evaluation import evaluate
from samotion_bench.report import summarise
from samotion_bench.scores import (
    boundary,
    contour_accuracy,
    region_similarity,
    score_movers,
    score_objects,
    statistics,
)

SAME = 1e-9  # both sides count pixels exactly; only the order of a few sums differs


def obvious_j(truth, found, void):
    both = either = 0
    for y, x in itertools.product(*map(range, truth.shape)):
        if not void[y, x]:
            both += bool(truth[y, x] and found[y, x])
            either += bool(truth[y, x] or found[y, x])
    return both / either if either else 1.0


def obvious_contour(mask):
    height, width = mask.shape
    points = []
    for y, x in itertools.product(range(height), range(width)):
        neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
        inside = [p for p in neighbours if p[0] < height and p[1] < width]
        if any(mask[y, x] != mask[p] for p in inside):
            points.append((y, x))
    return points


def obvious_f(truth, found, void):
    radius = math.ceil(0.008 * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    there, here = obvious_contour(truth & ~void), obvious_contour(found & ~void)
    if not there and not here:
        return 1.0
    if not there or not here:
        return 0.0

    def matched(points, others):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in points]
        return sum(near) / len(points)

    precision, recall = matched(here, there), matched(there, here)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blob(rng, hw):
    """A random mask with holes, islands and pieces that touch the border."""
    coarse = rng.random((hw[0] // 4 + 1, hw[1] // 4 + 1)) < rng.uniform(0.1, 0.7)
    return np.kron(coarse, np.ones((4, 4), bool))[: hw[0], : hw[1]]


def masks_of_many_kinds(hw):
    rng = np.random.default_rng(7)
    empty, one, corner = np.zeros(hw, bool), np.zeros(hw, bool), np.zeros(hw, bool)
    one[hw[0] // 2, hw[1] // 3] = True
    corner[-1, -1] = True
    edge = np.zeros(hw, bool)
    edge[:, -3:] = edge[:4] = True
    return [empty, ~empty, one, corner, edge, ~edge, *(blob(rng, hw) for _ in range(4))]


@pytest.mark.parametrize("hw", [(24, 31), (22, 128)])  # matching distance 1 and 2 px
@pytest.mark.parametrize("with_void", [False, True])
def test_measures_equal_the_obvious_ones(hw, with_void):
    masks = masks_of_many_kinds(hw)
    void = np.zeros(hw, bool)
    if with_void:
        void[5:15, : hw[1] // 2] = True
    pairs = (
        list(itertools.product(masks, masks))
        if hw[1] < 50
        else list(zip(masks, masks[3:] + masks[:3]))
    )
    for truth, found in pairs:
        assert region_similarity(truth, found, void) == pytest.approx(
            obvious_j(truth, found, void), abs=SAME
        )
        assert contour_accuracy(truth, found, void) == pytest.approx(
            obvious_f(truth, found, void), abs=SAME
        )


def test_values_found_by_hand():
    hw = (480, 854)  # matches within ceil(0.008 * 979.7) = 8 px
    truth, found = np.zeros(hw, bool), np.zeros(hw, bool)
    truth[100:200, 100:200] = True
    found[100:200, 150:250] = True
    assert region_similarity(truth, found) == pytest.approx(5000 / 15000)
    empty = np.zeros(hw, bool)
    assert (region_similarity(empty, empty), contour_accuracy(empty, empty)) == (1, 1)
    assert (region_similarity(truth, empty), contour_accuracy(truth, empty)) == (0, 0)
    assert (region_similarity(empty, truth), contour_accuracy(empty, truth)) == (0, 0)
    assert contour_accuracy(~empty, empty) == 1, "a full mask has no contour, nor has an empty one"
    assert contour_accuracy(truth, np.roll(truth, 8, axis=1)) == 1
    assert contour_accuracy(truth, np.roll(truth, (7, 7), axis=(0, 1))) < 1, "the band is round"


def test_contour_of_one_pixel_lies_up_and_left():
    mask = np.zeros((4, 5), bool)
    mask[2, 2] = True
    expected = np.zeros_like(mask)
    expected[1:3, 1:3] = True
    np.testing.assert_array_equal(boundary(mask), expected)
    corner = np.zeros((3, 3), bool)
    corner[2, 2] = True
    np.testing.assert_array_equal(boundary(corner), [[0, 0, 0], [0, 1, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("values", "mean", "recall", "decay"),
    [
        ([0.5], 0.5, 0.0, 0.0),
        ([1.0, 0.0], 0.5, 0.5, 1.0),
        ([0.9, 0.8, 0.7, 0.6, 0.1], 0.62, 0.8, 0.85 - 0.35),
        # borders of the quarters at 1, 3.25 -> 3, 5.5 -> 6, 7.75 -> 8, 10
        ([1, 1, 1, 1, 1, 0, 0, 0.3, 0.3, 0.6], 0.62, 0.6, 1 - 0.4),
    ],
)
def test_statistics(values, mean, recall, decay):
    found = statistics(np.array(values, float))
    assert (found.mean, found.recall, found.decay) == pytest.approx((mean, recall, decay))


def test_decay_of_more_than_256_frames():
    values = np.linspace(1, 0, 401)
    assert statistics(values).decay == pytest.approx(0.75)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 3), (3, 5), (4, 6), (5, 5)])
def test_assignment_equals_all_permutations(shape):
    rng = np.random.default_rng(sum(shape))
    for value in [*rng.random((20, *shape)), *rng.integers(0, 3, (20, *shape)).astype(float)]:
        best = max(
            sum(value[r, c] for r, c in enumerate(columns))
            for columns in itertools.permutations(range(shape[1]), shape[0])
        )
        columns = best_assignment(value)
        assert len(set(columns)) == len(columns)
        assert sum(value[r, c] for r, c in enumerate(columns)) == pytest.approx(best)


def obvious_objects(truth, found, void, labels):
    """All pairings of objects and proposals, the best kept: J and F per object and frame."""
    count = max(int(found.max()), len(labels))
    j, f = (
        np.array(
            [
                [
                    [measure(t == label, p == k, v) for t, p, v in zip(truth, found, void)]
                    for k in range(1, count + 1)
                ]
                for label in labels
            ]
        )
        for measure in (obvious_j, obvious_f)
    )
    total = (j.mean(2) + f.mean(2)) / 2
    rows = np.arange(len(labels))
    best = max(
        itertools.permutations(range(count), len(labels)), key=lambda c: total[rows, list(c)].sum()
    )
    return j[rows, list(best)], f[rows, list(best)]


def label_maps(rng, objects, frames=3, hw=(20, 28)):
    labels = np.zeros((frames, *hw), np.uint8)
    for label in range(1, objects + 1):
        for frame in labels:
            frame[blob(rng, hw) & (rng.random() < 0.9)] = label
    return labels


@pytest.mark.parametrize(("objects", "proposals"), [(1, 1), (2, 2), (3, 1), (1, 4), (2, 3), (3, 0)])
def test_objects_equal_the_best_of_all_pairings(objects, proposals):
    rng = np.random.default_rng(10 * objects + proposals)
    truth, found = label_maps(rng, objects), label_maps(rng, proposals)
    void = rng.random(truth.shape) < 0.1
    truth[void] = 0
    labels = list(range(1, objects + 1))
    scored = score_objects(truth, found, void, labels)
    j, f = obvious_objects(truth, found, void, labels)
    np.testing.assert_allclose([s.j for s in scored], j, atol=SAME)
    np.testing.assert_allclose([s.f for s in scored], f, atol=SAME)


def test_swapped_labels_cost_nothing():
    truth = label_maps(np.random.default_rng(3), 2)
    found = np.array([0, 2, 1], np.uint8)[truth]
    scored = score_objects(truth, found, np.zeros(truth.shape, bool), [1, 2])
    assert all((s.j == 1).all() and (s.f == 1).all() for s in scored)


def test_movers_are_one():
    truth = label_maps(np.random.default_rng(4), 3)
    found = (truth > 0).astype(np.uint8) * 7
    (scored,) = score_movers(truth, found, np.zeros(truth.shape, bool))
    assert (scored.j == 1).all() and (scored.f == 1).all()


def test_more_than_20_proposals_are_refused():
    truth = np.ones((2, 8, 8), np.uint8)
    found = np.full((2, 8, 8), 21, np.uint8)
    with pytest.raises(InputError, match="at most 20 proposals"):
        score_objects(truth, found, np.zeros(truth.shape, bool), [1])


def test_two_sequences_of_several_objects_score_as_the_rules_say(tmp_path):
    """Files in, figures out: objects of the first frame, void left out, all frames, best
    pairing, mean over objects.
    """
    rng = np.random.default_rng(8)
    wanted = []
    for name, objects, proposals in (("a", 3, 4), ("b", 2, 1)):
        truth, found = label_maps(rng, objects, frames=5), label_maps(rng, proposals, frames=5)
        truth[0, 0, :objects] = range(1, objects + 1)
        truth[2:, -3:] = objects + 1  # comes later: no object, but no void either
        void = rng.random(truth.shape) < 0.1
        void[0, 0, :objects] = False
        for kind, maps in (("truth", np.where(void, 255, truth)), ("found", found)):
            (tmp_path / kind / name).mkdir(parents=True)
            for t, labels in enumerate(maps):
                (tmp_path / kind / name / f"{t:05d}.png").write_bytes(
                    encode_indexed(labels.astype(np.uint8))
                )
        wanted.append(obvious_objects(truth, found, void, list(range(1, objects + 1))))
    scored = evaluate(
        find_clips(tmp_path / "truth", None), tmp_path / "found", "fine", all_frames=True
    )
    for (j, f), ours in zip(wanted, scored.values()):
        np.testing.assert_allclose([s.j for s in ours], j, atol=SAME)
        np.testing.assert_allclose([s.f for s in ours], f, atol=SAME)
    overall = summarise(scored, "fine", True)["overall"]
    assert overall["J_mean"] == pytest.approx(
        np.mean(np.concatenate([j for j, _ in wanted]).mean(axis=1))
    )
    assert overall["F_recall"] == pytest.approx(
        np.mean((np.concatenate([f for _, f in wanted]) > 0.5).mean(axis=1))
    )
