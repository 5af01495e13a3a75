"""samotion-run in an empty folder, with engines that open and a segmenter without nets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from helpers import media, zero_engines
from helpers.half_segmenter import half_segmenter
from samotion import pipeline
from samotion.backends import engines as backends
from samotion.backends.engines import EngineFolder, open_engines
from samotion.commands import run as cli
from typer.testing import CliRunner
from typer.testing import Result as Outcome

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zero_engines.write_folder(tmp_path_factory.mktemp("zero") / "engines")


@pytest.fixture(scope="module")
def opened(engines: Path) -> Iterator[EngineFolder]:
    with open_engines(engines) as found:
        found.open_all()
        yield found


@pytest.fixture
def run(
    engines: Path, opened: EngineFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Call samotion-run in an empty folder; the pipeline is replaced by one that finds the brighter
    half.

    The good engines are opened once for all tests (a third of a second each time), others as
    always.
    """

    def open_or_share(
        folder: str, device: str, for_clips: bool
    ) -> AbstractContextManager[EngineFolder]:
        return (
            nullcontext(opened)
            if (folder, device) == (str(engines), "auto")
            else open_engines(folder, device, for_clips=for_clips)
        )

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "segment_clip", half_segmenter)
    monkeypatch.setattr(backends, "open_engines", open_or_share)

    def call(*arguments: str | Path, engine_dir: Path | str = engines) -> Outcome:
        return CliRunner().invoke(cli.app, ["--engine-dir", str(engine_dir), *map(str, arguments)])

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return media.write_video(tmp_path / "clip.mp4", media.quadrants(4))
