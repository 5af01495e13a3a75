"""Fixtures for all tests: one seed, the parity data where it is at hand, and a folder of exported random nets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.traced import Traced, write_rendered


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Expected outputs of the original nets; the test is skipped where they are not at hand."""
    folder = Path(os.environ.get("SAMOTION_PARITY", ROOT.parent / "shared" / "parity"))
    if not folder.is_dir():
        pytest.skip(f"no parity data at {folder}; set SAMOTION_PARITY")
    return folder


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All engines of the nano preset with random weights, exported once and not compared. Read only."""
    from helpers import official
    from samotion.contract import NETS
    from samotion.presets import NANO
    from samotion_export.build import Request, export
    from samotion_export.report import Report

    folder = tmp_path_factory.mktemp("engines")
    weights = tmp_path_factory.mktemp("weights")
    files = {net: official.checkpoint(weights, net, getattr(NANO, net)) for net in NETS}
    export(Request(NETS, "nano", folder, checkpoints=files, verify=False), Report(-1))
    return folder


@pytest.fixture(scope="session")
def scene() -> Traced:
    """A traced scene with known tracks. Read only."""
    return Traced()


@pytest.fixture
def rendered(scene: Traced, tmp_path: Path) -> Path:
    """The scene as Movi-F's renderer writes it."""
    return write_rendered(scene, tmp_path / "movi")
