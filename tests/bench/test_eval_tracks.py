"""TAP-Vid's measures by hand, the area under the curve by its definition, and the held-out set
end to end.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers.fakes import FakeEngines
from samotion import pipeline, tracks
from samotion.clips import video
from samotion.presets import FAST, NANO
from samotion.settings import resolve
from samotion_bench import synthetic
from samotion_bench.scenes.data import open_library
from samotion_bench.track_metrics import area_under_curve, track_scores


def test_tracks_by_hand():
    """One track, four frames, its query in the first: 0.5 px off, 5 px off, and hidden but said
    to be seen.
    """
    truth = np.zeros((1, 4, 2))
    found = np.array([[[0, 0], [0.5, 0], [3, 4], [0, 0]]], float)
    true_visible = np.array([[True, True, True, False]])
    visible = np.ones((1, 4), bool)
    scores = track_scores(found, visible, truth, true_visible, np.arange(4)[None] > 0)
    assert scores.delta_avg == pytest.approx((3 * 0.5 + 2 * 1) / 5)
    assert scores.occlusion_accuracy == pytest.approx(2 / 3)
    # at 1, 2, 4 px: 1 hit, 2 to be found, 2 false; at 8 and 16 px: 2 hits, 2 to be found, 1 false
    assert scores.average_jaccard == pytest.approx((3 * 1 / 4 + 2 * 2 / 3) / 5)


def test_tracks_that_drift_off():
    truth, shown = np.zeros((1, 6, 2), np.float32), np.ones((1, 6), bool)
    found = truth.copy()
    found[0, :, 0] = (0, 0.5, 1.5, 3, 6, 12)
    scores = track_scores(found, shown, truth, shown, np.arange(6)[None] > 0)
    assert scores.delta_avg == pytest.approx(np.mean([1, 2, 3, 4, 5]) / 5)
    assert scores.occlusion_accuracy == 1.0
    assert scores.average_jaccard == pytest.approx(
        np.mean([k / (5 + 5 - k) for k in (1, 2, 3, 4, 5)])
    )


def test_perfect_tracks_and_query_frames():
    rng = np.random.default_rng(0)
    truth, visible = rng.uniform(0, 255, (5, 6, 2)), rng.random((5, 6)) < 0.7
    query = rng.integers(0, 6, 5)
    counts = np.arange(6) != query[:, None]
    found = truth.copy()
    found[~counts] += 100  # the query frame does not count
    assert track_scores(found, visible, truth, visible, counts) == (
        perfect := track_scores(truth, visible, truth, visible, counts)
    )
    assert (perfect.average_jaccard, perfect.delta_avg, perfect.occlusion_accuracy) == (1, 1, 1)


def test_area_under_curve_is_the_chance_to_be_ahead():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, 60) / 5, rng.random(60) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    assert area_under_curve(scores, np.zeros(60, bool)) is None
    truth = np.array([False, False, True, True])
    assert area_under_curve(np.array([0.1, 0.2, 0.3, 0.4]), truth) == 1.0
    assert area_under_curve(np.array([0.1, 0.3, 0.2, 0.4]), truth) == 0.75
    assert area_under_curve(np.zeros(4), truth) == 0.5


def test_a_perfect_pipeline_gets_perfect_figures(monkeypatch):
    """Stages that answer with the truth: what is left is the measuring itself."""
    made = list(synthetic.examples(4, 4, open_library(None, held_out=True), short_side_px=48))
    assert [e.kind.movers for e in made] == [True, True, True, False]
    current: list[synthetic.Example] = []

    def segment(frames, engines, settings):
        clip = current[0].clip
        ids = [i for i in np.unique(clip.labels[clip.masks])]
        labels = np.where(clip.masks, np.searchsorted([0, *ids], clip.labels), 0).astype(np.uint8)
        query = current[0].tyx
        found = tracks.Tracks(
            xy=current[0].truth.xy,
            visible=current[0].truth.visible,
            visibility=current[0].truth.visible,
            confidence=current[0].truth.visible,
            query_frame=query[:, 0].astype(int),
            query_xy=query[:, :0:-1],
        )
        source = video.read_clip(frames, max_frames=settings.max_frames, long_side_px=None)
        scores = current[0].truth.moving.astype(np.float32)
        return pipeline.Result(labels, [], found, scores, {}, source, resolve(settings, NANO))

    def track(engines, frames, queries):
        truth, hw = current[0].truth, current[0].clip.frames.shape[1:3]
        logits = np.where(truth.visible, -9.0, 9.0)
        return tracks.RawTracks(
            synthetic.geometry.xy_to_grid(truth.xy, hw), logits, np.full(logits.shape, -9.0)
        )

    def estimate(engines, frames):
        return synthetic.depth.to_unit_range(current[0].clip.disparity)

    monkeypatch.setattr(synthetic, "segment_clip", segment)
    monkeypatch.setattr(synthetic.tracks, "track", track)
    monkeypatch.setattr(synthetic.depth, "estimate", estimate)
    measured = []
    for example in made:
        current[:] = [example]
        measured.append(synthetic.measure(FakeEngines(FAST), example))
    report = synthetic.summarise(measured)
    for figures in (*report["movers"].values(), report["objects"]):
        assert figures["J_mean"] == 1 and figures["F_mean"] == 1
    assert report["delta_avg"] == report["average_jaccard"] == report["occlusion_accuracy"] == 1
    assert report["depth_error"] == 0 and report["false_alarms"] == 0 and report["motion_auc"] == 1


def test_the_set_is_the_same_every_time():
    library = open_library(None, held_out=True)
    first, second = (next(synthetic.examples(1, 3, library, short_side_px=32)) for _ in range(2))
    np.testing.assert_array_equal(first.clip.frames, second.clip.frames)
    np.testing.assert_array_equal(first.truth.xy, second.truth.xy)


def test_another_first_seed_gives_other_scenes():
    library = open_library(None, held_out=True)
    usual, other = (
        next(synthetic.examples(1, 3, library, short_side_px=32, seed=seed))
        for seed in (synthetic.FIRST_SEED, 13_000_000)
    )
    assert other.seed >= 13_000_000 and usual.seed < 13_000_000
    first, second = usual.clip.frames, other.clip.frames
    assert first.shape != second.shape or (first != second).any()
