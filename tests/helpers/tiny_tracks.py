"""Engine folders with a tiny tracker of random weights, and that tracker in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import samotion
import torch
from samotion.backends.engines import Engines
from samotion.presets import FAST, NANO, PRESETS, TracksNet
from samotion_export.checkpoints import weights
from samotion_export.export import export
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.tracks import tapir

from helpers import official

TINY = replace(
    NANO.tracks,
    stem=8,
    channels=(8, 8, 16, 16),
    blocks_per_group=2,
    extra_convs=1,
    guess_convs=True,
    mixer_width=16,
    mixer_blocks=2,
    iterations=2,
)


@contextmanager
def opened(net: TracksNet, folder: Path) -> Iterator[tuple[Engines, tapir.Tapir]]:
    """The engines of a preset whose tracker is `net`, and the same net in PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", replace(FAST, name="tiny", tracks=net))
        checkpoint = official.checkpoint(folder, "tracks", net)
        module = weights.build_module("tracks", net)
        module.load_state_dict(torch.load(checkpoint, weights_only=True))
        export(
            Request(("tracks",), "tiny", folder, checkpoints={"tracks": checkpoint}, verify=False),
            Report(-1),
        )
        assert isinstance(module, tapir.Tapir)
        with samotion.open_engines(folder, "cpu", threads=1) as engines:
            yield engines, module.eval()
