"""Which engine folder is taken where none is named."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path

import pytest
import samotion
from samotion import manifest
from samotion.backends.folder import engine_folder
from samotion.checks.preset_numbers import numbers_of
from samotion.errors import EngineError
from samotion.manifest import Manifest
from samotion.presets import NANO


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMOTION_ENGINES", raising=False)
    return tmp_path


def holding_nothing(folder: Path) -> Path:
    folder.mkdir()
    manifest.write(folder, Manifest("nano", {}, {}, numbers_of(NANO)))
    return folder


def test_the_first_of_four(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_folder() == manifest.BUNDLED
    (empty / "engines").mkdir()
    assert engine_folder() == manifest.BUNDLED  # a folder without a manifest is none
    shutil.rmtree("engines")
    holding_nothing(empty / "engines")
    assert engine_folder() == Path("engines")
    named = holding_nothing(empty / "named")
    monkeypatch.setenv("SAMOTION_ENGINES", str(named))
    assert engine_folder() == named
    assert engine_folder("given") == Path("given")
    monkeypatch.setenv("SAMOTION_ENGINES", "")
    assert engine_folder() == Path("engines")


def test_a_bad_variable_is_named(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holding_nothing(empty / "engines")
    monkeypatch.setenv("SAMOTION_ENGINES", "nowhere")
    with pytest.raises(
        EngineError, match="SAMOTION_ENGINES is 'nowhere': no engine folder at 'nowhere'"
    ):
        engine_folder()


def test_an_installation_without_engines_says_so(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "BUNDLED", empty / "nano")
    with pytest.raises(EngineError, match="install samotion again"):
        engine_folder()


def test_engines_open_without_a_folder() -> None:
    with samotion.open_engines(device="cpu") as engines:
        assert engines.folder == manifest.BUNDLED and engines.preset.name == "nano"
        engines["motion_map"]


def test_damaged_bundled_engines_are_not_exported_anew(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(manifest.BUNDLED, empty / "nano")
    monkeypatch.setattr(manifest, "BUNDLED", empty / "nano")
    (empty / "nano" / "motion.safetensors").write_bytes(b"")
    with (
        samotion.open_engines(device="cpu") as engines,
        pytest.raises(
            EngineError, match=r"motion\.safetensors was changed .*; install samotion again"
        ),
    ):
        engines["motion_map"]


def test_engines_that_are_dropped_give_their_sessions_back() -> None:
    engines = samotion.open_engines(manifest.BUNDLED, "cpu")
    held = weakref.ref(engines["motion"])
    del engines
    assert held() is None
