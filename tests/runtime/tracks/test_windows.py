import itertools

import numpy as np
import pytest
from samotion.tracks import windows as track_windows
from samotion.tracks.windows import NO_FRAME


@pytest.mark.parametrize(
    "frames, window, overlap", [(1, 8, 2), (8, 8, 2), (9, 8, 2), (50, 8, 3), (1001, 320, 32)]
)
def test_windows_cover_the_clip_and_overlap(frames: int, window: int, overlap: int) -> None:
    parts = track_windows.windows(frames, window, overlap)
    assert parts[0].start == 0 and parts[-1].stop == frames
    assert all(part.stop - part.start == min(window, frames) for part in parts)
    for before, after in itertools.pairwise(parts):
        both = track_windows.shared(before, after)
        assert both.stop - both.start >= overlap


def test_every_track_visits_every_window_once_from_a_window_it_has_visited() -> None:
    where = np.array([0, 1, 2, 3, 1])
    seen: list[set[int]] = [set() for _ in where]
    for index, source in track_windows.visits(4):
        for track in track_windows.travellers(where, index, source):
            assert index not in seen[track]
            assert source in seen[track] if source is not None else not seen[track]
            seen[track].add(index)
    assert all(visited == {0, 1, 2, 3} for visited in seen)


def test_queries_start_in_the_window_around_them() -> None:
    parts = [slice(0, 10), slice(6, 16)]
    assert track_windows.home(parts, np.array([0, 6, 9, 15])).tolist() == [0, 0, 1, 1]


def test_handover_takes_the_surest_frame_and_leaves_hidden_tracks_to_their_looks() -> None:
    tracks = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    certainty = np.array([[0.1, 0.9, 0.6], [0.1, 0.2, 0.3]])
    queries = track_windows.handover(tracks, certainty, 5)
    assert queries[0].tolist() == [6, 3, 2]  # t, y, x
    assert queries[1, 0] == NO_FRAME
