"""nano's labels on the demo clip, bit for bit: a change that only moves or renames code keeps them.

Other processors may round otherwise: there, compare the hashes of the code before and after.
"""

from __future__ import annotations

import hashlib

import pytest
import samotion
from helpers.paths import ROOT

LABELS_SHA256 = "709561fbda7e9106bdc7e2afb86b9dadebf1f01456489bcf7b969c0d558b42b5"


@pytest.mark.slow
def test_labels_of_the_demo_are_the_same_bit_for_bit() -> None:
    with samotion.open_engines(device="cpu") as engines:
        assert engines.preset.name == "nano"
        result = samotion.segment_clip(ROOT / "demo" / "demo.mp4", engines)
    assert result.labels.any()
    assert hashlib.sha256(result.labels.tobytes()).hexdigest() == LABELS_SHA256
