from __future__ import annotations

from dataclasses import fields

import pytest
from samotion.errors import UsageError
from samotion.presets import MAX_LABELS, MIN_WINDOW, NANO, REFERENCE
from samotion.settings import Numbers, Settings, resolve


def test_open_settings_take_the_presets_numbers():
    assert resolve(Settings(), NANO).max_tracks == NANO.max_tracks
    assert resolve(Settings(), REFERENCE).max_tracks == 5000
    assert resolve(Settings(max_tracks=7), REFERENCE).max_tracks == 7
    assert resolve(Settings(), NANO).min_confidence == NANO.min_confidence
    assert resolve(Settings(min_confidence=1), NANO).min_confidence == 1.0
    assert resolve(Settings(min_confidence=0), REFERENCE).min_confidence == 0.0


def test_limits_may_be_reached():
    Settings(max_frames=2, window_frames=MIN_WINDOW, max_objects=MAX_LABELS)


def test_every_setting_becomes_a_number_of_the_run():
    assert [one.name for one in fields(Numbers)] == [one.name for one in fields(Settings)]


@pytest.mark.parametrize(
    "bad",
    [
        {"step": 0},
        {"max_tracks": -1},
        {"max_frames": 1},
        {"window_frames": MIN_WINDOW - 1},
        {"max_objects": MAX_LABELS + 1},
        {"seed": -1},
        {"min_confidence": 1.5},
        {"min_confidence": float("nan")},
        {"min_confidence": True},
        {"min_confidence": "0.5"},
        {"start_s": -1.0},
        {"start_s": float("nan")},
        {"start_s": "1:00"},
        {"end_s": True},
        {"end_s": 0},
        {"end_s": 3, "start_s": 3},
    ],
)
def test_nonsense_is_refused(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        Settings(**bad)
