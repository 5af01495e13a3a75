"""nano's labels on the demo clip, bit for bit: a change that only moves or renames code keeps them.

Other processors may round otherwise: there, compare the hashes of the code before and after.
"""

from __future__ import annotations

import hashlib

import pytest
import samotion
from helpers.paths import ROOT

LABELS_SHA256 = "40affc8980396718fbf74ac71ddf712205f9fc76381d2b6a63f25648bc41a36d"


@pytest.mark.slow
def test_labels_of_the_demo_are_the_same_bit_for_bit() -> None:
    with samotion.open_engines(device="cpu") as engines:
        assert engines.preset.name == "nano"
        result = samotion.segment_clip(ROOT / "demo" / "demo.mp4", engines)
    assert result.labels.any()
    assert hashlib.sha256(result.labels.tobytes()).hexdigest() == LABELS_SHA256
