"""Fixtures for all tests: Ctrl-C, one seed, the parity data where it is at hand, and a folder
of exported random nets.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.paths import ROOT

if TYPE_CHECKING:  # tests of the runtime go without the training code and its packages
    from helpers.traced import Traced


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection of garbage, of which exports, windows and tests
    ask for many, need look through it.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests are a background job, which ignores it."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """One thread for PyTorch: operators are many and small here, and more cost more than they
    bring, above all on a busy machine.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Expected outputs of the original nets; the test is skipped where they are not at hand."""
    folder = os.environ.get("SAMOTION_PARITY")
    if not folder:
        pytest.skip("SAMOTION_PARITY names no folder of parity data")
    if not Path(folder).is_dir():
        pytest.fail(f"SAMOTION_PARITY: got {folder!r}, expected a folder of parity data")
    return Path(folder)


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All engines of the nano preset with random weights, exported once and not compared. Read
    only.
    """
    from helpers import official
    from samotion.contract import NETS
    from samotion.presets import NANO
    from samotion_export.export import export
    from samotion_export.report import Report
    from samotion_export.request import Request

    folder = tmp_path_factory.mktemp("engines")
    weights = tmp_path_factory.mktemp("weights")
    files = {net: official.checkpoint(weights, net, getattr(NANO, net)) for net in NETS}
    export(Request(NETS, "nano", folder, checkpoints=files, verify=False), Report(-1))
    return folder


@pytest.fixture(scope="session")
def scene() -> Traced:
    """A traced scene with known tracks. Read only."""
    from helpers.traced import Traced

    return Traced()


@pytest.fixture
def rendered(scene: Traced, tmp_path: Path) -> Path:
    """The scene as Movi-F's renderer writes it."""
    from helpers.traced import write_rendered

    return write_rendered(scene, tmp_path / "movi")


# Light tests: those that need neither PyTorch nor what only an export needs, for many Pythons.

HEAVY = ("torch", "onnx", "safetensors", "samotion_export", "samotion_training", "samotion_bench")
HEAVY_IMPORT = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(HEAVY)})\b", re.M)
HEAVY_FIXTURES = {"engine_folder", "scene", "rendered"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--light", action="store_true", help="leave out tests that need PyTorch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --light, leave out files that import PyTorch, ONNX or the exporter, themselves or by
    a helper.
    """
    if not config.getoption("--light") or collection_path.suffix != ".py":
        return None
    return True if _is_heavy(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--light"):
        items[:] = [i for i in items if not HEAVY_FIXTURES & set(getattr(i, "fixturenames", ()))]


def _is_heavy(path: Path) -> bool:
    text = path.read_text()
    helpers = re.findall(r"from helpers\.(\w+) import", text)
    helpers += re.findall(r"from helpers import ([\w, ]+)", text)
    files = [
        ROOT / "tests/helpers" / f"{name.split()[0]}.py"  # it may be imported as something
        for some in helpers
        for name in some.split(",")
    ]
    return bool(HEAVY_IMPORT.search(text)) or any(
        _is_heavy(file) for file in files if file.exists()
    )
