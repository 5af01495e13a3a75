"""Tracks smoothed with optical flow: nearer to the truth, each alone, and still where nothing is
known.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion.cues import track_flow
from samotion.tracks import RawTracks

SIZE, FRAMES, POINTS = 128, 12, 60
SPEED_PX = np.array([1.3, -0.7])


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A texture that glides by SPEED_PX a frame."""
    wide = cv2.GaussianBlur(
        np.random.default_rng(0).uniform(0, 255, (240, 240, 3)).astype(np.float32), (0, 0), 2
    )
    wide = (wide - wide.min()) / np.ptp(wide) * 255
    shift = [
        np.array([[1, 0, -50 + t * SPEED_PX[0]], [0, 1, -50 + t * SPEED_PX[1]]], np.float32)
        for t in range(FRAMES)
    ]
    return np.stack([cv2.warpAffine(wide, m, (SIZE, SIZE)) for m in shift]).astype(np.uint8)


@pytest.fixture(scope="module")
def flows(frames: np.ndarray) -> list[np.ndarray]:
    return track_flow.optical_flow(frames)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    start = np.random.default_rng(1).uniform(30, 90, (POINTS, 1, 2))
    return start + np.arange(FRAMES)[None, :, None] * SPEED_PX


def noisy(truth: np.ndarray, query: np.ndarray, spread_px: float = 2.0) -> np.ndarray:
    noise = np.asarray(np.random.default_rng(2).normal(0, spread_px, truth.shape))
    noise[np.arange(len(truth)), query] = 0
    return np.asarray(truth + noise, np.float32)


def queries_at(query: np.ndarray, xy: np.ndarray) -> np.ndarray:
    return np.column_stack([query, xy[:, ::-1]])


def test_jitter_goes_and_the_query_stays(flows: list[np.ndarray], truth: np.ndarray) -> None:
    query = np.random.default_rng(3).integers(0, FRAMES, POINTS)
    xy = truth[np.arange(POINTS), query]
    before = noisy(truth, query)
    after = track_flow.smooth(before, np.full(truth.shape[:2], 0.9), queries_at(query, xy), flows)
    error = np.linalg.norm(after - truth, axis=2)
    assert np.median(np.linalg.norm(before - truth, axis=2)) > 1.5
    assert np.median(error) < 0.3 and np.abs(after[np.arange(POINTS), query] - xy).max() < 0.01
    assert np.median(np.abs(np.diff(after, axis=1) - SPEED_PX)) < 0.1


def test_an_outlier_of_the_tracker_loses(flows: list[np.ndarray], truth: np.ndarray) -> None:
    query = np.zeros(POINTS, int)
    before = truth.astype(np.float32)
    before[:, 6] += 20
    queries = queries_at(query, truth[:, 0])
    after = track_flow.smooth(before, np.full(truth.shape[:2], 0.9), queries, flows)
    assert np.quantile(np.linalg.norm(after[:, 6] - truth[:, 6], axis=1), 0.9) < 1


def test_each_track_is_alone(flows: list[np.ndarray], truth: np.ndarray) -> None:
    query = np.zeros(POINTS, int)
    trust = np.random.default_rng(4).random(truth.shape[:2])
    some = np.array([7, 3, 40])
    both = [
        track_flow.smooth(
            noisy(truth, query)[i], trust[i], queries_at(query, truth[:, 0])[i], flows
        )
        for i in (np.arange(POINTS), some)
    ]
    np.testing.assert_allclose(both[0][some], both[1], atol=1e-4)


def test_the_chain_is_the_minimum() -> None:
    """Against the dense normal equations of one track."""
    rng = np.random.default_rng(5)
    measured, steps = rng.normal(0, 5, (1, 6, 2)), rng.normal(0, 2, (1, 5, 2))
    weight, stiffness = rng.uniform(0.1, 2, (1, 6)), rng.uniform(0.1, 9, (1, 5))
    rows = (
        np.concatenate([np.eye(6), np.diff(np.eye(6), axis=0)])
        * np.sqrt(np.r_[weight[0], stiffness[0]])[:, None]
    )
    wanted = (
        np.concatenate([measured[0], steps[0]]) * np.sqrt(np.r_[weight[0], stiffness[0]])[:, None]
    )
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    np.testing.assert_allclose(
        track_flow._solve_chain(measured, weight, steps, stiffness)[0], expected, atol=1e-9
    )


def test_one_frame_or_no_track_is_left_as_it_is(
    frames: np.ndarray, flows: list[np.ndarray]
) -> None:
    one, none = np.ones((3, 1, 2), np.float32), np.ones((0, FRAMES, 2), np.float32)
    queries, flow = np.zeros((3, 3)), track_flow.optical_flow(frames[:1])
    assert track_flow.smooth(one, np.ones((3, 1)), queries, flow) is one
    assert len(track_flow.smooth(none, np.ones((0, FRAMES)), queries[:0], flows)) == 0


def test_tracks_are_fused_and_the_flow_of_the_same_frames_is_found_once(
    frames: np.ndarray, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = np.random.default_rng(3).integers(0, FRAMES, POINTS)
    raw = RawTracks(
        noisy(truth, query), np.full(truth.shape[:2], -4.0), np.full(truth.shape[:2], -4.0)
    )
    monkeypatch.setattr("samotion.tracks.tracking.track", lambda engines, cache, queries: raw)
    cache = track_flow.FlowCache(frames)
    queries = queries_at(query, truth[np.arange(POINTS), query]).astype(np.float32)
    engines: Any = FakeEngines()
    fused = track_flow.track(engines, cache, queries)
    assert np.abs(fused.tracks - truth).mean() < 0.5 * np.abs(raw.tracks - truth).mean()
    assert fused.occlusion is raw.occlusion
    monkeypatch.setattr(track_flow, "optical_flow", None)
    np.testing.assert_array_equal(track_flow.track(engines, cache, queries).tracks, fused.tracks)
