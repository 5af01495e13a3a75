import itertools

import numpy as np
import pytest
from samotion.backends import squares
from samotion.errors import UsageError
from samotion.tracks import resize_for_tracking, sample_queries

HW = (480, 854)
ROUNDED_OTHERWISE = 1e-3  # of pixels: sums that lie between two levels; measured 2e-4
SPACING = 6  # int(sqrt(480 * 854 / 9000))


def test_as_many_queries_as_asked_for_all_different_and_on_the_grid() -> None:
    queries = sample_queries(45, HW, 10, 1003, 0)
    assert queries.shape == (1003, 3) and queries.dtype == np.float32
    assert len(np.unique(queries, axis=0)) == 1003
    assert set(queries[:, 0]) == {0, 10, 20, 30, 40}
    assert not (queries[:, 1:] % SPACING).any()
    assert (queries[:, 1:] < HW).all()


def test_query_frames_and_quarters_of_the_image_have_equal_shares() -> None:
    queries = sample_queries(100, HW, 10, 5000, 3)
    assert set(np.unique(queries[:, 0], return_counts=True)[1]) == {500}
    for frame in range(0, 100, 10):
        on_frame = queries[queries[:, 0] == frame, 1:]
        quarter = (on_frame[:, 0] >= HW[0] / 2) * 2 + (on_frame[:, 1] >= HW[1] / 2)
        counts = np.bincount(quarter, minlength=4)
        assert abs(counts - 125).max() <= 12  # independent draws would stray by 20 now and then


def test_every_grid_point_is_as_likely_as_any_other() -> None:
    hw, draws, share = (40, 60), 400, 300  # a grid of 2400 points, spacing 1
    hits = np.zeros(hw)
    for seed in range(draws):
        _, y, x = sample_queries(1, hw, 10, share, seed).astype(int).T
        hits[y, x] += 1
    expected = draws * share / hits.size  # 50; standard deviation 6.6
    assert hits.min() > expected - 5 * 6.6 and hits.max() < expected + 5 * 6.6


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (sample_queries(30, HW, 10, 500, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_small_image_gives_each_of_its_points_once() -> None:
    queries = sample_queries(12, (8, 8), 10, 5000, 0)
    assert len(queries) == 2 * 64
    assert len(np.unique(queries, axis=0)) == 2 * 64


def test_fewer_tracks_than_query_frames() -> None:
    assert len(sample_queries(100, HW, 10, 3, 0)) == 3
    alone = np.concatenate([sample_queries(1, (8, 8), 10, 1, seed) for seed in range(40)])
    assert {(y < 4, x < 4) for _, y, x in alone} == {*itertools.product([True, False], repeat=2)}


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="max_tracks 0"):
        sample_queries(10, HW, 10, 0, 0)


def test_frames_of_the_trackers_size_stay_as_they_are(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_for_tracking(frames), frames)


@pytest.mark.parametrize("hw", [(480, 854), (100, 90)])
def test_a_ramp_stays_a_ramp(hw: tuple[int, int]) -> None:
    ramp = (
        np.broadcast_to(np.linspace(20, 220, hw[1])[None, :, None], (*hw, 3))
        .round()
        .astype(np.uint8)
    )
    small = resize_for_tracking(ramp[None])[0]
    assert small.shape == (256, 256, 3)
    expected = 20 + 200 * ((np.arange(256) + 0.5) / 256 * hw[1] - 0.5) / (hw[1] - 1)
    inner = slice(8, -8)
    np.testing.assert_allclose(small[128, inner, 0], expected[inner], atol=1.5)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1, 768, 768, 3), np.uint8)
    stripes[:, :, ::2] = 255  # finer than 256 px can show: must become grey
    assert abs(resize_for_tracking(stripes)[0, 20:-20, 20:-20].astype(int) - 127.5).max() < 6


@pytest.mark.parametrize("hw", [(96, 170), (40, 60), (300, 900)])
def test_a_gpus_squares_are_pillows_and_within_a_level_of_the_hosts(
    rng: np.random.Generator, hw: tuple[int, int]
) -> None:
    image = pytest.importorskip("PIL.Image")
    frame = rng.integers(0, 256, (*hw, 3), np.uint8)
    square = squares.resample(frame, 128, squares.LANCZOS)
    theirs = image.fromarray(frame).resize((128, 128), image.LANCZOS)
    np.testing.assert_array_equal(square, np.array(theirs))
    host = resize_for_tracking(frame[None], 128)[0]
    assert np.abs(square.astype(int) - host).max() <= 1
    assert (square != host).mean() < ROUNDED_OTHERWISE
