"""The manifest survives a round trip, appears whole or not at all, and is not believed blindly."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import wire
from samotion import manifest
from samotion.backends.engines import EngineFolder
from samotion.checks.preset_numbers import numbers_of, preset_of
from samotion.contract import SIGNATURES
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest
from samotion.presets import FAST, NANO_CUES, PRESETS, SAM2_SIZES, SAM21_SMALL, Preset


def entry(file: str = "depth.onnx", sha256: str = "0" * 64) -> Entry:
    shapes: dict[str, list[int | str]] = {"frames": ["B", "H", "W", 3]}
    parity = {"disparity": {"max_abs": 1e-6, "tolerance": 1e-4}}
    outputs: dict[str, list[int | str]] = {"disparity": ["B", "H", "W"]}
    return Entry(file, sha256, sha256, "1" * 64, "fp32", shapes, outputs, parity, "2" * 64)


def holding(depth: Entry) -> Manifest:
    return Manifest("fast", {"torch": "2.13.0"}, {"depth": depth}, numbers_of(FAST))


def written(folder: Path, **changes: Any) -> Path:
    """A manifest file with some of its top-level values replaced."""
    manifest.write(folder, holding(entry()))
    path = folder / manifest.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_round_trip(tmp_path: Path) -> None:
    original = replace(holding(entry()), sam2="sam2.1_hiera_s", overrides={"max_tracks": "9"})
    original = replace(original, target="onnx-gpu", precision="fp16")
    manifest.write(tmp_path, original)
    assert manifest.read(tmp_path) == original


def test_the_preset_is_that_of_the_folder(tmp_path: Path) -> None:
    """Numbers come from the manifest, whatever this samotion's preset of that name has."""
    own = replace(FAST, sam2=SAM21_SMALL, max_tracks=900, cues=NANO_CUES)
    written(tmp_path, numbers=numbers_of(own))
    with EngineFolder(
        tmp_path, "cpu", lambda name, path, entry: pytest.fail("nothing is opened")
    ) as engines:
        assert engines.preset == own


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_numbers_survive_json(preset: Preset) -> None:
    numbers = json.loads(json.dumps(numbers_of(preset)))
    assert preset_of(preset.name, numbers) == preset


def test_a_preset_that_nobody_knows_runs_with_its_numbers(tmp_path: Path) -> None:
    written(tmp_path, preset="my own")
    held = manifest.read(tmp_path)
    preset = held.get_preset()
    assert (preset.name, preset.licence) == ("my own", "unknown")
    assert numbers_of(preset) == numbers_of(FAST)
    assert "--preset 'my own' --out" in held.command("all", tmp_path)


def test_some_engines_in_half_precision_are_exported_so_again(tmp_path: Path) -> None:
    held = holding(entry())
    assert "--precision" not in held.command("all", tmp_path)
    some = replace(held, engines={**held.engines, "dino": replace(entry(), precision="fp16")})
    assert "--precision fp16" in some.command("all", tmp_path)


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        ("max_tracks", 0, "numbers.max_tracks is 0, expected a whole number, 1 to 65536"),
        ("max_tracks", True, "numbers.max_tracks is True, expected a whole number"),
        ("max_tracks", 10**4000, "numbers.max_tracks is a huge number"),
        ("max_frames", 1, "numbers.max_frames is 1, expected a whole number, 2 to"),
        ("tracks.refine_px", 300, "numbers.tracks.refine_px is 300, expected 256 or 512"),
        ("tracks.causal", 1, "numbers.tracks.causal is 1, expected true or false"),
        ("tracks.channels", [1, 2], "numbers.tracks.channels has 2 numbers, expected 4"),
        ("tracks.channels", [1, 2, 3, "4"], "numbers.tracks.channels is '4', expected a whole"),
        ("tracks", 5, "numbers.tracks is 5, expected a table"),
        ("depth.vit", None, "numbers.depth.vit is None, expected a table"),
        ("motion.disparity", "odd", "is 'odd', expected plain or reference"),
        ("prompting.thresholds", [0.5, 1.5], "thresholds is 1.5, expected a number, 0 to 1"),
        ("prompting.thresholds", 0.5, "thresholds is 0.5, expected a list of up to 64"),
        ("prompting.thresholds", [0.5] * 65, "thresholds has 65 numbers, expected up to 64"),
        ("prompting.min_confidence", "0.5", "min_confidence is '0.5', expected a number"),
        ("cues", [], "numbers.cues is a list of 0, expected a table"),
        ("sam2.config", "a\0", r"config is 'a\x00', expected letters that can be printed"),
        ("sam2.weights", {}, "numbers.sam2 has 'weights', which is no number of a preset"),
        ("nonsense", 1, "numbers has 'nonsense', which is no number of a preset"),
    ],
)
def test_numbers_are_checked(tmp_path: Path, way: str, value: Any, said: str) -> None:
    numbers = numbers_of(FAST)
    *above, last = way.split(".")
    inner = numbers
    for name in above:
        inner = inner[name]
    inner[last] = value
    written(tmp_path, numbers=numbers)
    with pytest.raises(EngineError) as caught:
        manifest.read(tmp_path)
    assert "damaged, or of another samotion" in str(caught.value) and said in str(caught.value)


def test_every_number_is_needed(tmp_path: Path) -> None:
    for name in numbers_of(FAST):
        numbers = numbers_of(FAST)
        del numbers[name]
        written(tmp_path, numbers=numbers)
        with pytest.raises(EngineError, match=f"numbers lacks '{name}'"):
            manifest.read(tmp_path)


def test_an_old_folder_says_how_to_export_it_again(tmp_path: Path) -> None:
    """A folder of before the numbers keeps its preset and its options in the command."""
    path = written(tmp_path)
    old = json.loads(path.read_text())
    del old["numbers"], old["overrides"]
    old |= {"schema": 1, "sam2": "sam2.1_hiera_s", "refine_px": 512}
    old["engines"]["depth"]["precision"] = "fp16"
    path.write_text(json.dumps(old))
    with pytest.raises(EngineError) as caught:
        manifest.read(tmp_path)
    assert str(caught.value) == (
        f"{path}: schema 1, expected 2; export again: samotion-export depth --preset fast"
        f" --sam2 sam2.1_hiera_s --refine-px 512 --precision fp16 --out '{tmp_path}'"
    )


def test_a_folder_with_other_numbers_says_how_to_export_it_again(tmp_path: Path) -> None:
    """Each samotion has numbers of its own: a folder of another one is no loss."""
    numbers = numbers_of(FAST)
    del numbers["tracks"]["causal"]
    path = written(tmp_path, numbers=numbers, refine_px=512)
    with pytest.raises(EngineError) as caught:
        manifest.read(tmp_path)
    assert str(caught.value) == (
        f"{path} is damaged, or of another samotion (numbers.tracks lacks 'causal'); export again:"
        f" samotion-export depth --preset fast --refine-px 512 --out '{tmp_path}'"
    )


def test_a_folder_with_sizes_of_another_samotion_is_not_run(tmp_path: Path) -> None:
    """The channels of nano's motion residuals grow in number, and nothing else tells."""
    net = replace(entry("motion_map.onnx"), inputs={"residual": ["B", "GH", "GW", 3]}, outputs={})
    numbers = numbers_of(PRESETS["nano"])
    manifest.write(tmp_path, Manifest("nano", {"torch": "2.13.0"}, {"motion_map": net}, numbers))
    with pytest.raises(EngineError) as caught:
        manifest.read(tmp_path)
    (channels,) = SIGNATURES["motion_map"].inputs[0].dims[3:]
    assert str(caught.value) == (
        f"{tmp_path / manifest.MANIFEST} is damaged, or of another samotion (residual of motion_map"
        f" is not (B, GH, GW, {channels})); export again: samotion-export motion --preset nano"
        f" --out '{tmp_path}'"
    )


def test_every_sam2_size_is_offered_under_its_own_name() -> None:
    names = "sam2.1_hiera_t sam2.1_hiera_s sam2.1_hiera_b+ sam2.1_hiera_l sam2_hiera_l"
    assert list(SAM2_SIZES) == names.split()
    assert len({net.weights.sha256 for net in SAM2_SIZES.values()}) == 5


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"schema": 3}, "schema 3, expected 2; export again: samotion-export depth --preset"),
        ({"engines": []}, "damaged"),
        ({"engines": {"depth": {}}}, "damaged"),
        ({"engines": {"depth": {**vars(entry()), "file": 5}}}, "damaged"),
        ({"engines": {"colour": vars(entry())}}, "unknown engines colour"),
        ({"tools": None}, "damaged"),
    ],
)
def test_damaged_content_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    written(tmp_path, **changes)
    with pytest.raises(EngineError, match=said):
        manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\0", '{"schema": 2}'])
def test_damaged_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / manifest.MANIFEST).write_text(text)
    with pytest.raises(EngineError, match="damaged"):
        manifest.read(tmp_path)


def test_a_file_is_no_engine_folder(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with pytest.raises(EngineError, match=r"clip\.mp4' is a file; expected a folder") as raised:
        manifest.read(clip)
    assert "--out" not in str(raised.value)


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
    written(tmp_path, engines={"depth": {**vars(entry()), "data": data}})
    with pytest.raises(EngineError, match="damaged"):
        manifest.read(tmp_path)


def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    os.close(free := os.dup(0))
    manifest.write_atomically(path, b"old")
    os.close(still_free := os.dup(0))
    assert still_free == free  # or thousands of masks would use all up
    assert path.stat().st_mode & 0o777 == 0o644

    def full(*arguments: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        manifest.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("operation", "content"), [("touch", b"old"), ("replace", b"new")])
def test_an_interrupt_between_two_steps_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, content: bytes
) -> None:
    """Right after the temporary file was made, or has its new name; nothing else is left."""
    path = tmp_path / "file"
    manifest.write_atomically(path, b"old")
    owner: Any = {"touch": Path, "replace": os}[operation]
    real = getattr(owner, operation)

    def interrupted(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, operation, interrupted)
    with pytest.raises(KeyboardInterrupt):
        manifest.write_atomically(path, b"new")
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]
