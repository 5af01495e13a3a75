"""The manifest survives a round trip, appears whole or not at all, and is not believed blindly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import wire
from samotion import manifest
from samotion.backends.engines import Engines
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest
from samotion.presets import FAST, SAM2_SIZES, SAM21_SMALL


def entry(file: str = "depth.onnx", sha256: str = "0" * 64) -> Entry:
    shapes: dict[str, list[int | str]] = {"frames": ["B", "H", "W", 3]}
    parity = {"disparity": {"max_abs": 1e-6, "tolerance": 1e-4}}
    return Entry(
        file,
        sha256,
        sha256,
        "1" * 64,
        "fp32",
        shapes,
        {"disparity": ["B", "H", "W"]},
        parity,
        "2" * 64,
    )


def holding(depth: Entry) -> Manifest:
    return Manifest("fast", {"torch": "2.13.0"}, {"depth": depth})


def written(folder: Path, **changes: Any) -> Path:
    """A manifest file with some of its top-level values replaced."""
    manifest.write(folder, holding(entry()))
    path = folder / manifest.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_round_trip(tmp_path: Path) -> None:
    original = Manifest("fast", {"torch": "2.13.0"}, {"depth": entry()}, sam2="sam2.1_hiera_s")
    manifest.write(tmp_path, original)
    assert manifest.read(tmp_path) == original


def test_another_sam2_size_changes_the_preset(tmp_path: Path) -> None:
    written(tmp_path, sam2="sam2.1_hiera_s")
    assert manifest.read(tmp_path).get_preset() == replace(FAST, sam2=SAM21_SMALL)
    with Engines(
        tmp_path, "cpu", lambda name, path, entry: pytest.fail("nothing is opened")
    ) as engines:
        assert engines.preset.sam2.config == "sam2.1_hiera_s"


def test_every_sam2_size_is_offered_under_its_own_name() -> None:
    assert list(SAM2_SIZES) == [
        "sam2.1_hiera_t",
        "sam2.1_hiera_s",
        "sam2.1_hiera_b+",
        "sam2.1_hiera_l",
        "sam2_hiera_l",
    ]
    assert len({net.weights.sha256 for net in SAM2_SIZES.values()}) == 5


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"preset": "huge"}, "preset 'huge' is unknown; this samotion knows nano, fast"),
        ({"sam2": "sam3"}, "SAM 2 size 'sam3' is unknown"),
    ],
)
def test_unknown_choices_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    written(tmp_path, **changes)
    with pytest.raises(EngineError, match=said):
        manifest.read(tmp_path).get_preset()


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"engines": []}, "damaged"),
        ({"engines": {"depth": {}}}, "damaged"),
        (
            {"engines": {"depth": {**json.loads(json.dumps(entry().__dict__)), "file": 5}}},
            "damaged",
        ),
        (
            {"engines": {"colour": json.loads(json.dumps(entry().__dict__))}},
            "unknown engines colour",
        ),
        ({"tools": None}, "damaged"),
    ],
)
def test_damaged_content_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    written(tmp_path, **changes)
    with pytest.raises(EngineError, match=said):
        manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\0", '{"schema": 1}'])
def test_damaged_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.MANIFEST).write_text(text)
    with pytest.raises(EngineError, match="damaged"):
        manifest.read(tmp_path)


def test_missing_folder_and_file_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no engine folder .* samotion-export all"):
        manifest.read(tmp_path / "absent")
    with pytest.raises(EngineError, match=r"no manifest\.json .* samotion-export all"):
        manifest.read(tmp_path)


def test_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "depth.onnx").write_bytes(b"graph")
    good = holding(entry(sha256=manifest.sha256_of(tmp_path / "depth.onnx")))
    assert manifest.checked_file(tmp_path, "depth", good) == (tmp_path / "depth.onnx").resolve()
    with pytest.raises(EngineError, match="changed since its export") as caught:
        manifest.checked_file(tmp_path, "depth", replace(holding(entry()), sam2="sam2.1_hiera_s"))
    assert f"samotion-export depth --preset fast --sam2 sam2.1_hiera_s --out '{tmp_path}'" in str(
        caught.value
    )
    (tmp_path / "depth.onnx").unlink()
    with pytest.raises(EngineError, match="is missing"):
        manifest.checked_file(tmp_path, "depth", good)


@pytest.mark.parametrize("file", ["../depth.onnx", "/etc/passwd", "sub/depth.onnx"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(EngineError, match="leaves the engine folder"):
        manifest.checked_file(tmp_path, "depth", holding(entry(file=file)))


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    (tmp_path / "elsewhere.onnx").write_bytes(b"graph")
    (folder / "depth.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    held = holding(entry(sha256=manifest.sha256_of(tmp_path / "elsewhere.onnx")))
    with pytest.raises(EngineError, match="leaves the engine folder"):
        manifest.checked_file(folder, "depth", held)


def pointing_to(folder: Path, location: str, **data: str) -> Manifest:
    """A graph in `folder` whose one tensor lies at `location`, and a manifest that lists `data`."""
    graph = folder / "depth.onnx"
    graph.write_bytes(wire.graph_pointing_to(location))
    return holding(replace(entry(sha256=manifest.sha256_of(graph)), data=data))


def test_files_that_a_graph_points_to_are_checked(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1234")
    held = pointing_to(tmp_path, "weights", weights=manifest.sha256_of(tmp_path / "weights"))
    manifest.write(tmp_path, held)
    assert manifest.read(tmp_path) == held
    assert manifest.checked_file(tmp_path, "depth", held) == (tmp_path / "depth.onnx").resolve()
    (tmp_path / "weights").write_bytes(b"0000")
    with pytest.raises(
        EngineError,
        match=r"weights was changed since its export.*export again: samotion-export depth",
    ):
        manifest.checked_file(tmp_path, "depth", held)
    (tmp_path / "weights").unlink()
    with pytest.raises(EngineError, match="weights is missing"):
        manifest.checked_file(tmp_path, "depth", held)


def test_files_that_the_manifest_does_not_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1234")
    with pytest.raises(EngineError, match="points to 'weights', which the manifest does not list"):
        manifest.checked_file(tmp_path, "depth", pointing_to(tmp_path, "weights"))


@pytest.mark.parametrize("location", ["../weights", "/etc/passwd", "link", "circle", "a\0b"])
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    (tmp_path / "weights").write_bytes(b"1234")
    (folder / "link").symlink_to(tmp_path / "weights")
    (folder / "circle").symlink_to(folder / "circle")
    held = pointing_to(folder, location, **{location: manifest.sha256_of(tmp_path / "weights")})
    with pytest.raises(EngineError, match=r"leaves the engine folder|leads nowhere|is missing"):
        manifest.checked_file(folder, "depth", held)


@pytest.mark.parametrize("data", [["weights"], {"weights": 5}, None])
def test_hashes_of_data_are_texts(tmp_path: Path, data: Any) -> None:
    written(tmp_path, engines={"depth": {**json.loads(json.dumps(entry().__dict__)), "data": data}})
    with pytest.raises(EngineError, match="damaged"):
        manifest.read(tmp_path)


def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    manifest.write_atomically(path, b"old")

    def full(*arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        manifest.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
