"""Clips on a real Ray of this machine alone."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.batch_jobs import NamedJob
from helpers.paths import ROOT
from samotion import ray as samotion_ray
from samotion.commands.listing import Item
from samotion.errors import DeviceError, UsageError

SOURCES = [str(ROOT / name) for name in ("runtime", "tests")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two workers, which find the same sources as this process."""
    ray = pytest.importorskip("ray", reason="pip install 'samotion[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    paths = [*SOURCES, *(path for path in sys.path if path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


class NamedSegmenter(samotion_ray.ClipSegmenter):
    """Does what the clips' names say, without engines."""

    def __init__(self, out: str, **settings: Any) -> None:
        super().__init__(out, **settings)
        self.job = NamedJob(out)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_lost_worker_loses_no_clip(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samotion_ray, "ClipSegmenter", NamedSegmenter)
    items = [Item(f"/in/c{k}.mp4", f"c{k}") for k in range(24)]
    items[3] = Item("/in/dies_once.mp4", "dies_once")
    items[4] = Item("/in/bad.mp4", "bad")
    done = {o.folder: o for o in samotion_ray.run(NamedJob(str(tmp_path)), items, "auto", 2)}
    assert set(done) == {item.folder for item in items}
    assert {name for name, one in done.items() if one.status != "done"} == {"bad"}
    begun = {path.stem: int(path.read_text()) for path in tmp_path.glob("*.begun")}
    assert begun.pop("dies_once") == 2 and set(begun.values()) == {1}
    assert all(one.clip == item.clip for item in items for one in [done[item.folder]])


def test_a_segmenter_can_be_pickled_and_takes_the_names_of_readers(tmp_path: Path) -> None:
    segmenter = pickle.loads(pickle.dumps(samotion_ray.ClipSegmenter(tmp_path, save=["masks"])))
    missing = str(tmp_path / "missing.mp4")
    rows = [segmenter({name: missing}) for name in ("clip", "path", "item")]
    segmenter.close()
    assert {row["status"] for row in rows} == {"failed"}
    assert {row["exit_code"] for row in rows} == {3}
    assert {row["folder"] for row in rows} == {"missing"}
    with pytest.raises(UsageError, match="in 'clip'"):
        segmenter({"url": missing})


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'samotion\[ray\]'"):
        next(samotion_ray.run(NamedJob("out"), [Item("a.mp4", "a")], "local"))
