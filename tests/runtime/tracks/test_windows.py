import itertools

import numpy as np
import pytest
from samotion.tracks import windows as window_schedule
from samotion.tracks.windows import NO_FRAME


@pytest.mark.parametrize(
    "frames, window, overlap", [(1, 8, 2), (8, 8, 2), (9, 8, 2), (50, 8, 3), (1001, 320, 32)]
)
def test_windows_cover_the_clip_and_overlap(frames: int, window: int, overlap: int) -> None:
    parts = window_schedule.split(frames, window, overlap)
    assert parts[0].start == 0 and parts[-1].stop == frames
    assert all(part.stop - part.start == min(window, frames) for part in parts)
    for before, after in itertools.pairwise(parts):
        both = window_schedule.shared_frames(before, after)
        assert both.stop - both.start >= overlap
        assert {*range(frames)[both]} == {*range(frames)[before]} & {*range(frames)[after]}


def test_every_track_passes_every_window_once_from_one_it_is_known_in() -> None:
    starts = np.array([0, 1, 2, 3, 1])
    passed: list[set[int]] = [set() for _ in starts]
    for one in window_schedule.schedule(4):
        for track in window_schedule.rows_in(one, starts):
            known = passed[track]
            assert one.window not in known
            assert one.source in known if one.source is not None else not known
            known.add(one.window)
    assert all(windows == {0, 1, 2, 3} for windows in passed)


def test_queries_start_in_the_window_around_them() -> None:
    parts = [slice(0, 10), slice(6, 16)]
    starts = window_schedule.start_windows(parts, np.array([0, 6, 9, 15]))
    assert starts.tolist() == [0, 0, 1, 1]


def test_tracks_go_on_from_the_surest_frame_and_hidden_ones_without_a_frame() -> None:
    tracks = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    certainty = np.array([[0.1, 0.9, 0.6], [0.1, 0.2, 0.3]])
    queries = window_schedule.continued_queries(tracks, certainty, 5)
    assert queries[0].tolist() == [6, 3, 2]  # t, y, x
    assert queries[1, 0] == NO_FRAME
