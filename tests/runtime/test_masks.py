from __future__ import annotations

import numpy as np
from samotion import masks


def _box(frames: int, top: int, left: int, size: int, count: int = 10) -> np.ndarray:
    mask = np.zeros((count, 40, 40), bool)
    mask[:frames, top : top + size, left : left + size] = True
    return mask


def test_agreement_counts_frames_of_equal_masks():
    assert masks.agreement(_box(10, 0, 0, 10), _box(3, 0, 0, 10)) == 0.3


def test_agreement_takes_a_part_for_the_whole_when_it_is_covered():
    assert masks.agreement(_box(10, 0, 0, 20), _box(10, 5, 5, 5)) == 1.0


def test_frames_where_one_mask_is_empty_do_not_agree():
    assert masks.agreement(_box(10, 0, 0, 10), np.zeros((10, 40, 40), bool)) == 0.0


def test_half_overlap_is_two_objects():
    merged = masks.merge({1: _box(10, 0, 0, 10), 2: _box(10, 0, 5, 10)})
    assert list(merged) == [1, 2]


def test_merge_joins_at_30_percent_of_frames_and_not_below():
    whole = _box(10, 0, 0, 10)
    assert list(masks.merge({1: whole, 2: _box(3, 0, 0, 10)})) == [1]
    assert list(masks.merge({1: whole, 2: _box(2, 0, 0, 10)})) == [1, 2]


def test_merge_follows_chains():
    # 1 and 3 are disjoint; 2 covers both, so all three are one object.
    parts = {1: _box(10, 0, 0, 10), 3: _box(10, 20, 20, 10), 2: _box(10, 0, 0, 30)}
    merged = masks.merge(parts)
    assert list(merged) == [1]
    assert np.array_equal(merged[1], parts[2])


def test_merge_drops_empty_objects():
    assert masks.merge({1: np.zeros((10, 40, 40), bool)}) == {}


def test_labels_put_the_smaller_object_in_front():
    labels = masks.to_labels({4: _box(10, 0, 0, 5), 7: _box(10, 0, 0, 20)}, (10, 40, 40))
    assert labels.dtype == np.uint8
    assert labels[0, 2, 2] == 1 and labels[0, 10, 10] == 2 and labels[0, 30, 30] == 0
