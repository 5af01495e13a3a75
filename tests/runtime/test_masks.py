from __future__ import annotations

import numpy as np
import pytest
from samotion import masks


def box(frames: int, top: int, left: int, size: int, count: int = 10) -> np.ndarray:
    mask = np.zeros((count, 40, 40), bool)
    mask[:frames, top : top + size, left : left + size] = True
    return mask


EMPTY = np.zeros((10, 40, 40), bool)


def test_objects_are_one_whose_masks_are_equal_in_three_frames_of_ten():
    assert masks.same_pairs({1: box(10, 0, 0, 10), 2: box(3, 0, 0, 10)}) == [(1, 2)]
    assert masks.same_pairs({1: box(10, 0, 0, 10), 2: box(2, 0, 0, 10)}) == []


def test_a_part_is_the_whole_where_it_is_covered_in_three_frames_of_ten():
    assert masks.same_pairs({1: box(10, 0, 0, 20), 2: box(3, 5, 5, 5)}) == [(1, 2)]
    assert masks.same_pairs({1: box(10, 0, 0, 20), 2: box(2, 5, 5, 5)}) == []


@pytest.mark.parametrize(("side", "shift", "are_one"), [(10, 1, 1), (10, 2, 0), (1, 0, 1)])
def test_ninety_percent_of_the_smaller_are_enough(side, shift, are_one):
    given = {1: box(10, 0, 0, side), 2: box(10, 0, shift, side)}
    assert len(masks.same_pairs(given)) == are_one


def test_frames_where_one_mask_is_empty_do_not_agree():
    assert masks.same_pairs({1: box(10, 0, 0, 10), 2: EMPTY, 3: EMPTY}) == []


def test_merge_drops_empty_objects():
    assert masks.merge({1: EMPTY}) == {} and masks.merge({}) == {}


def bridged() -> dict[int, np.ndarray]:
    """1 and 2 are disjoint, 3 covers both: the pairs are 1-3 and 2-3."""
    return {1: box(10, 0, 0, 10), 2: box(10, 20, 20, 10), 3: box(10, 0, 0, 30)}


def test_1_3_and_2_3_stay_two_objects():
    merged = masks.merge(bridged())
    assert list(merged) == [1, 2]
    assert np.array_equal(merged[1], bridged()[3]) and np.array_equal(merged[2], bridged()[2])


def test_1_2_and_2_3_are_one_object():
    one, three, two = bridged().values()
    merged = masks.merge({1: one, 2: two, 3: three})
    assert list(merged) == [1] and np.array_equal(merged[1], two)


def test_a_single_mask_is_not_copied_and_several_stay_as_they_are():
    one, two, three = box(9, 0, 0, 5), box(9, 10, 0, 5), box(9, 0, 20, 5)
    before = one.copy()
    assert masks.union([one]) is one
    assert np.array_equal(masks.union([one, two, three]), one | two | three)
    assert np.array_equal(one, before)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(1, 3), (2, 3)], [[1, 3]]),
        ([(1, 2), (2, 3)], [[1, 2, 3]]),
        ([(1, 4), (2, 3)], [[1, 4], [2, 3]]),
        ([(1, 2), (1, 3), (2, 3)], [[1, 2, 3]]),
        ([], []),
    ],
)
def test_groups_of_pairs(pairs, expected):
    assert masks.groups(pairs) == expected


def test_groups_come_first_and_then_single_objects():
    single, double = box(10, 0, 0, 10), box(10, 20, 20, 10)
    merged = masks.merge({5: single, 7: double, 8: double})
    assert list(merged) == [7, 5]


def test_the_lower_number_wins():
    large, small = box(10, 0, 0, 20), box(10, 0, 0, 5)
    labels = masks.to_labels({4: large, 7: small}, (10, 40, 40))
    assert labels.dtype == np.uint8 and np.unique(labels).tolist() == [0, 1]
    labels = masks.to_labels({7: small, 4: large}, (10, 40, 40))
    assert labels[0, 2, 2] == 1 and labels[0, 10, 10] == 2 and labels[0, 30, 30] == 0


def test_the_smaller_object_is_in_front_where_that_is_asked_for():
    large, small = box(10, 0, 0, 20), box(10, 0, 0, 5)
    labels = masks.to_labels({7: large, 4: small}, (10, 40, 40), smallest_in_front=True)
    assert labels.dtype == np.uint8
    assert labels[0, 2, 2] == 2 and labels[0, 10, 10] == 1 and labels[0, 30, 30] == 0
