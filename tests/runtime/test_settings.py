from __future__ import annotations

import pytest
from samotion.errors import UsageError
from samotion.presets import NANO, REFERENCE
from samotion.settings import Settings, resolve


def test_open_settings_take_the_presets_numbers():
    assert resolve(Settings(), NANO).max_tracks == NANO.max_tracks
    assert resolve(Settings(), REFERENCE).max_tracks == 5000
    assert resolve(Settings(max_tracks=7), REFERENCE).max_tracks == 7


@pytest.mark.parametrize(
    "bad", [{"step": 0}, {"max_tracks": -1}, {"max_frames": 1}, {"max_objects": 300}, {"seed": -1}]
)
def test_nonsense_is_refused(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        Settings(**bad)
