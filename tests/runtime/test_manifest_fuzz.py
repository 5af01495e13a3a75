"""Manifests edited at will: the folder opens, or one line says what is wrong with it. Nothing
else, ever.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import backends, zero_engines
from samotion import commands, manifest
from samotion.backends.engines import open_engines
from samotion.checks.preset_numbers import numbers_of
from samotion.errors import EngineError
from samotion.presets import NANO

ROUNDS = 400
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**40, 10**4000, 1.5, -1e308),
    *("", " ", "a\0b", "\ud800", "x" * 5000, "NaN"),
    *("../depth.onnx", "/dev/zero", ".", "..", "sub/depth.onnx", "manifest.json"),
    *("depth\n.onnx", "\u202edepth.onnx"),
    *([], {}, [[]], [None], {"a": {"a": {"a": 1}}}, ["T", -1], [2**70], list(range(50))),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small engines; the shapes of one are recorded."""
    folder = tmp_path_factory.mktemp("engines")
    backends.onnx_folder(folder)
    data = json.loads((folder / manifest.MANIFEST).read_text())
    data["engines"]["depth"]["inputs"] = {"frames": ["B", "H", "W", 3]}
    data["engines"]["depth"]["parity"] = {"disparity": {"max_abs": 0.0}}
    (folder / manifest.MANIFEST).write_text(json.dumps(data))
    return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """The same, whose manifest a test may change."""
    before = (made / manifest.MANIFEST).read_bytes()
    yield made
    (made / manifest.MANIFEST).write_bytes(before)


def outcome(folder: Path, text: bytes | str) -> str | None:
    """Open a folder whose manifest is `text`, and all its engines: None, or the line that a user
    sees.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (folder / manifest.MANIFEST).write_bytes(data)
    try:
        with open_engines(folder, "cpu", threads=1) as engines:
            for name in engines.manifest.engines:
                assert engines[name]
    except Exception as error:
        code, line = commands.explain(error)
        assert code == EngineError.exit_code, line
        assert len(line) < 1000 and line.isprintable(), line
        return line
    return None


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON tree, the whole first."""
    yield way
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*way, key))


def edited(tree: Any, way: tuple[Any, ...], value: Any, rename: bool) -> Any:
    """The tree with `value` in one place; `rename`: that entry under another name, or gone."""
    if not way:
        return value
    tree = copy.deepcopy(tree)
    inner = tree
    for key in way[:-1]:
        inner = inner[key]
    if not rename:
        inner[way[-1]] = value
    else:
        old = inner.pop(way[-1])
        if isinstance(inner, dict) and isinstance(value, str):
            inner[value] = old
    return tree


def test_any_value_in_any_place_opens_or_ends_in_one_line(folder: Path) -> None:
    chance = random.Random(0)
    tree = json.loads((folder / manifest.MANIFEST).read_text())
    ways = list(places(tree))
    refused = 0
    for _ in range(ROUNDS):
        bad = edited(tree, chance.choice(ways), chance.choice(VALUES), chance.random() < 0.2)
        refused += outcome(folder, json.dumps(bad)) is not None
    assert refused > ROUNDS // 2  # the rest changed what nothing depends on
    assert outcome(folder, json.dumps(tree)) is None


def test_any_value_of_a_number_opens_or_ends_in_one_line(folder: Path) -> None:
    """Each number in turn, with every odd value, and gone."""
    tree = json.loads((folder / manifest.MANIFEST).read_text())
    ways = [("numbers", *way) for way in places(tree["numbers"])]
    assert len(ways) > 50
    for way in ways:
        for value in VALUES:
            line = outcome(folder, json.dumps(edited(tree, way, value, False)))
            assert line is None or "numbers" in line
        if type(way[-1]) is str:
            assert outcome(folder, json.dumps(edited(tree, way, None, True))) is not None


def test_any_bytes_are_refused_in_one_line(folder: Path) -> None:
    chance = random.Random(1)
    good = (folder / manifest.MANIFEST).read_bytes()
    for _ in range(ROUNDS // 4):
        start = chance.randrange(len(good))
        assert outcome(folder, good[:start]) is not None
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        outcome(folder, good[:start] + noise + good[start + len(noise) :])


@pytest.mark.parametrize(
    "text, said",
    [
        ("[" * 200_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"schema": 1, "schema": 1}', "a name comes twice"),
        ('{"schema": NaN}', "NaN is no number"),
        ('{"schema": 1e999}', "schema inf, expected 2"),
        ('{"schema": true}', "schema True, expected 2"),
        ('{"schema": 2}', "'numbers' is missing"),
        ('{"schema": 1}', "schema 1, expected 2; export again with this samotion"),
        ("1" * 5000, "damaged"),
        (b"\xff\xfe{", "damaged"),
        ('{"schema": 1}' + " " * (16 << 20), "bytes, expected at most"),
    ],
)
def test_hostile_text_is_named(folder: Path, text: str | bytes, said: str) -> None:
    line = outcome(folder, text)
    assert line is not None and said in line


@pytest.mark.parametrize(
    "entry, said",
    [
        ({"file": "a\0b"}, "expected letters that can be printed"),
        ({"file": "\ud800"}, "expected letters that can be printed"),
        ({"file": "a" * 280}, "leads nowhere that can be read"),
        ({"file": "a" * 5000}, "has 5000 letters, expected at most 300"),
        ({"file": ""}, "leaves the engine folder"),
        ({"file": "."}, "leaves the engine folder"),
        ({"inputs": {"frames": 5}}, "dims of 'depth', 'frames' are 5"),
        ({"inputs": {"frames": None}}, "dims of 'depth', 'frames' are None"),
        ({"inputs": {"frames": ["B", 10**30]}}, "dims of 'depth', 'frames' is a huge number"),
        ({"gpu": 5}, "gpu of 'depth' is 5, expected a string"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
)
def test_hostile_entries_are_named(folder: Path, entry: dict[str, Any], said: str) -> None:
    data = json.loads((folder / manifest.MANIFEST).read_text())
    data["engines"]["depth"] |= entry
    line = outcome(folder, json.dumps(data))
    assert line is not None and said in line


@pytest.mark.parametrize("value", [None, "7", 7.0, True, 0, -1, 10**30, [7]])
def test_numbers_that_a_run_needs_are_whole_numbers(value: Any) -> None:
    with pytest.raises(
        EngineError, match=r"the manifest says memory_frames .*; expected a whole number"
    ):
        manifest.meta_number({"memory_frames": value}, "memory_frames")


def broken(kind: str, path: Path) -> None:
    """Put something in the place of a graph's file."""
    good = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link out":
        (path.parent.parent / "elsewhere").write_bytes(good)
        path.symlink_to(path.parent.parent / "elsewhere")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "dangling link":
        path.symlink_to(path.parent / "gone")
    elif kind != "gone":
        path.write_bytes(
            {"empty": b"", "cut": good[: len(good) // 2], "edited": good[:-1] + b"?"}[kind]
        )


LINKS = ("device", "link out", "link to itself", "dangling link")


@pytest.mark.parametrize("kind", ["folder", "fifo", *LINKS, "gone", "empty", "cut", "edited"])
def test_what_is_no_longer_the_exported_file_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "engines"
    folder.mkdir()
    backends.onnx_folder(folder)
    broken(kind, folder / "depth.onnx")
    line = outcome(folder, (folder / manifest.MANIFEST).read_bytes())
    assert line is not None and "engine 'depth'" in line and "samotion-export depth" in line


def test_graphs_that_onnxruntime_refuses_are_named(tmp_path: Path) -> None:
    """The hash holds, and what it covers is no graph: cut, empty, noise, or text."""
    chance = random.Random(2)
    backends.onnx_folder(tmp_path)
    good = (tmp_path / "depth.onnx").read_bytes()
    noise = bytes(chance.randrange(256) for _ in range(300))
    half = good[: len(good) // 2]
    for data in (b"", b"\0", b"{}", noise, half, good + noise, good[40:], good * 2):
        entry = zero_engines.write_engine(tmp_path, "depth", data)
        manifest.write(tmp_path, manifest.Manifest("nano", {}, {"depth": entry}, numbers_of(NANO)))
        line = outcome(tmp_path, (tmp_path / manifest.MANIFEST).read_bytes())
        assert line is None or "depth" in line
