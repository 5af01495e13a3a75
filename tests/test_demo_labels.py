"""nano's labels on the demo clip, bit for bit: a change that only moves or renames code keeps them.

Other processors may round otherwise: there, compare the hashes of the code before and after.
"""

from __future__ import annotations

import hashlib

import pytest
import samotion
from helpers.paths import ROOT

LABELS_SHA256 = "77b6774cc9987b7f99a9b5e25860dc375cd03a88c3546f5a32e7de73b3df1e40"


@pytest.mark.slow
def test_labels_of_the_demo_are_the_same_bit_for_bit() -> None:
    with samotion.open_engines(device="cpu") as engines:
        assert engines.preset.name == "nano"
        result = samotion.segment_clip(ROOT / "demo" / "demo.mp4", engines)
    assert result.labels.any()
    assert hashlib.sha256(result.labels.tobytes()).hexdigest() == LABELS_SHA256
