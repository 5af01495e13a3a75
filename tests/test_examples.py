"""The programs in examples/ and the notebook run, on a few frames and the bundled engines."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import samotion
from helpers import media
from helpers.paths import ROOT
from samotion import live as samotion_live
from samotion import pipeline

EXAMPLES = ROOT / "examples"
FRAMES, HW = 6, (96, 128)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright patch that crosses a textured ground."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 255, (24, 32, 3), np.uint8), HW[::-1])
    patch = cv2.resize(rng.integers(100, 255, (6, 6, 3), np.uint8), (24, 24))
    frames = ground[None].repeat(FRAMES, 0)
    for t, frame in enumerate(frames):
        frame[30:54, 20 + 12 * t : 44 + 12 * t] = patch
    return media.write_video(tmp_path_factory.mktemp("clips") / "patch.mp4", frames)


@pytest.fixture(scope="module")
def segmented(clip: Path) -> Any:
    """What the bundled engines find in it."""
    with samotion.open_engines(device="cpu") as engines:
        return samotion.segment_clip(clip, engines)


@pytest.fixture
def once(segmented: Any, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip is not segmented again for each program; others are tried."""
    segment = pipeline.segment_clip

    def found(source: Any, *rest: Any) -> Any:
        return segmented if str(source) == str(clip) else segment(source, *rest)

    monkeypatch.setattr(pipeline, "segment_clip", found)


def example(name: str) -> Any:
    """A program of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("once")
def test_batch(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clip.parent / "broken.mp4").write_text("no video")
    example("batch").main(str(clip.parent), str(tmp_path))
    said = capsys.readouterr()
    assert re.fullmatch(r"patch: \d+ objects, \d+ of them sure\n", said.out)
    assert "broken.mp4" in said.err and said.err.count("\n") == 1
    coco = json.loads((tmp_path / "patch" / "coco.json").read_text())
    assert len(coco["images"]) == FRAMES


def test_live(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed = []

    class Session(samotion_live.Session):
        """One that is told in every frame of an object in its left half."""

        def push(self, frame: Any, time_s: float | None = None) -> samotion_live.LiveResult:
            pushed.append((frame.shape, time_s))
            labels = np.zeros(HW, np.uint8)
            labels[:, : HW[1] // 2] = 1
            known = [samotion_live.LiveObject(1, 0.9, 0.8, 0)]
            return samotion_live.LiveResult(len(pushed), time_s or 0, labels, known, 0.1)

    live = example("live")
    monkeypatch.setattr(live, "Session", Session)
    live.main(str(clip))
    said = capsys.readouterr()
    assert [shape for shape, _ in pushed] == [(*HW, 3)] * FRAMES
    assert said.out.count("object 1 at 32,48") == FRAMES and said.err == "0 frames dropped\n"


@pytest.mark.usefixtures("once")
def test_colmap(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = tmp_path / "a scene" / "patch"
    example("colmap").main(str(clip), str(scene.parent))
    said = capsys.readouterr().out
    assert said.count("colmap ") == 3 and shlex.split(said).count(f"{scene}/database.db") == 3
    images, masks = (scene / name for name in ("images", "colmap_masks"))
    assert {f"{p.name}.png" for p in images.iterdir()} == {p.name for p in masks.iterdir()}


@pytest.mark.usefixtures("once")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_supervision(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("supervision")
    example("count_with_supervision").main(str(clip), str(tmp_path / "counted.mp4"))
    assert "to the left" in capsys.readouterr().out
    assert (tmp_path / "counted.mp4").stat().st_size > 0


def test_every_example_is_tested() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"batch", "live", "colmap", "count_with_supervision"}


NOTEBOOK = json.loads((EXAMPLES / "samotion.ipynb").read_text())


def test_notebook_is_valid() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(ids) == len(set(ids)) > 5
    for cell in NOTEBOOK["cells"]:
        extra = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | extra
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.usefixtures("once")
def test_cells_of_the_notebook_run(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Jupyter: lines for the shell are left out, pictures are not shown."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"display": lambda *_: None}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = "".join(cell["source"]).splitlines()
        code = "\n".join(line for line in lines if line[:1] not in "!%")
        exec(code.replace('CLIP = ""', f"CLIP = {str(clip)!r}"), names)
    assert len(names["result"].labels) == FRAMES
    assert (tmp_path / "out" / "patch" / "overlay.mp4").is_file()
