"""Tracks belong to the object they were found with, or to the one whose mask is under them."""

from __future__ import annotations

import numpy as np
from helpers import standing_tracks
from helpers.made_result import make_result
from samotion.prompts import ObjectPrompt
from samotion.results.owners import owners
from samotion.tracks.records import Tracks


def tracks_at(*xy: tuple[float, float]) -> Tracks:
    """Tracks that stay where they are over four frames; the last is never visible."""
    tracks = standing_tracks.tracks_at(np.array(xy), 4)
    tracks.visible[-1] = False
    return tracks


def test_prompts_say_whose_a_track_is() -> None:
    tracks = tracks_at((0, 0), (1, 1), (2, 2), (3, 3))
    prompts = [ObjectPrompt(4, 0, np.array([2])), ObjectPrompt(9, 0, np.array([0, 2]))]
    labels = np.zeros((4, 30, 41), np.uint8)
    assert owners(tracks, labels, [1, 2], prompts).tolist() == [2, 0, 1, 0]


def test_ids_need_not_count_from_one() -> None:
    tracks = tracks_at((0, 0), (1, 1))
    labels = np.zeros((4, 30, 41), np.uint8)
    prompt = ObjectPrompt(9, 0, np.array([1]))
    assert owners(tracks, labels, [7], [prompt]).tolist() == [0, 7]


def test_without_prompts_it_is_the_mask_under_most_points() -> None:
    labels = make_result().labels
    in_one, in_two, static, outside = (10.4, 6), (35, 25), (20, 28), (-9, 99)
    assert labels[:, 25, 35].tolist() == [0, 2, 2, 0]  # as often static: the lower label
    labels[0, 25, 35], labels[2, 6, 10] = 2, 1
    tracks = tracks_at(in_one, in_two, static, outside, in_one)
    assert owners(tracks, labels, [1, 2]).tolist() == [1, 2, 0, 0, 0]
