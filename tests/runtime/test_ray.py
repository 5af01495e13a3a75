"""Clips on a real Ray of this machine alone."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import long_scene
from helpers.batch_jobs import NamedJob
from helpers.paths import ROOT
from helpers.scene_jobs import SceneJob
from PIL import Image
from samotion import Settings, segment_clip
from samotion import ray as samotion_ray
from samotion.backends.folder import VARIABLE
from samotion.commands import ray_cluster
from samotion.commands.clip_job import ClipJob
from samotion.commands.ledger import Outcome
from samotion.commands.listing import Item
from samotion.errors import DeviceError, UsageError
from samotion.manifest import BUNDLED
from samotion.results.folder import IN_USE, locate
from samotion.results.record import announce

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


class SceneSegmenter(samotion_ray.ClipSegmenter):
    """Has the engines of the long scene."""

    def __init__(self, out: str, **settings: Any) -> None:
        super().__init__(out, **settings)
        self.job = SceneJob(out, settings=self.job.settings, save=self.job.save)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_lost_worker_loses_no_clip_and_changes_no_mask(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samotion_ray, "ClipSegmenter", SceneSegmenter)
    names = ["c0", "c1", "c2", "dies_once", "bad", *(f"c{k}" for k in range(5, 24))]
    clips = {name: tmp_path / "in" / name for name in names}
    for start, (name, folder) in enumerate(clips.items()):
        if name != "bad":
            long_scene.write_clip(folder, 8, start)
    (tmp_path / "out").mkdir()
    job = SceneJob(str(tmp_path / "out"), settings=Settings(max_tracks=80), save=("masks",))
    items = [Item(str(clips[name]), name) for name in names]
    done = {one.folder: one for one in samotion_ray.run(job, items, "auto", 2)}
    assert set(done) == set(names)
    assert {name for name, one in done.items() if one.status != "done"} == {"bad"}
    assert all(one.clip == str(clips[name]) for name, one in done.items())
    begun = {path.stem: path.read_text().split() for path in tmp_path.glob("out/*.begun")}
    first, second = begun.pop("dies_once")  # by two processes
    assert first != second and {len(processes) for processes in begun.values()} == {1}
    for name in set(names) - {"bad"}:
        alone = segment_clip(str(clips[name]), long_scene.engines(), job.settings)
        files = sorted((tmp_path / "out" / name / "masks").iterdir())
        found = [np.array(Image.open(file)) for file in files]
        assert alone.labels.any() and np.array_equal(found, alone.labels)


class NamedSegmenter(samotion_ray.ClipSegmenter):
    """What happens to a clip is in its name."""

    def __init__(self, out: str, **settings: Any) -> None:
        super().__init__(out, **settings)
        self.job = NamedJob(out)


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_clip_that_ends_its_workers_has_failed_and_each_is_told_at_once(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samotion_ray, "ClipSegmenter", NamedSegmenter)
    items = [Item(str(tmp_path / f"{name}.mp4"), name) for name in ("a", "waits", "dies", "b")]
    done = {}
    for outcome in samotion_ray.run(NamedJob(str(tmp_path)), items, "auto", 1):
        done[outcome.folder] = outcome
        (tmp_path / "told").touch()
    status = {name: one.status for name, one in done.items()}
    assert status == {"a": "done", "waits": "done", "dies": "failed", "b": "done"}
    assert done["dies"].exit_code == 1 and "in 2 attempts" in done["dies"].error
    assert (tmp_path / "dies.begun").read_text() == "2"
    monkeypatch.setattr(samotion_ray, "MOST_BLOCKS", 2)  # so that one goes down with another
    items = [Item(str(tmp_path / f"{name}.mp4"), name) for name in ("c", "d", "dies", "e")]
    some = [*samotion_ray.run(NamedJob(str(tmp_path)), items, "auto", 1)]
    assert len(some) == 4 and {one.folder for one in some if one.status == "failed"} == {"dies"}


def test_workers_get_the_engines_that_are_meant_where_the_batch_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert samotion_ray._engine_dir(ClipJob("out")) is None  # bundled, wherever a worker has it
    assert samotion_ray._engine_dir(ClipJob("out", "mine")) == str(tmp_path / "mine")
    (tmp_path / "engines").symlink_to(BUNDLED)
    assert samotion_ray._engine_dir(ClipJob("out")) == str(tmp_path / "engines")
    (tmp_path / "named").symlink_to(BUNDLED)
    monkeypatch.setenv(VARIABLE, "named")
    assert samotion_ray._engine_dir(ClipJob("out")) == str(tmp_path / "named")


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ({"clip": "a.mp4"}, 3, "'a.mp4' is a relative path"),
        ({"clip": "/x/a\0b.mp4"}, 3, "is no path"),
        ({"clip": "/x/a.mp4", "folder": "../a"}, 2, "'../a' is not below 'out'"),
        ({"clip": "/x/a.mp4", "folder": "/a"}, 2, "'/a' is not below 'out'"),
        ({"clip": "/x/a.mp4", "folder": 5}, 2, "5 is not below 'out'"),
    ],
)
def test_a_row_that_leads_elsewhere_has_failed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: dict[str, Any],
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr(samotion_ray, "_on_ray", lambda: True)
    told = samotion_ray.ClipSegmenter(tmp_path / "out")(row)
    assert (told["status"], told["exit_code"], told["clip"]) == ("failed", code, row["clip"])
    assert words in told["error"] and told["worker"]
    assert list(tmp_path.iterdir()) == []


def test_without_ray_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(samotion_ray, "_on_ray", lambda: False)
    told = samotion_ray.ClipSegmenter("out", engine_dir=BUNDLED)({"clip": "a.mp4"})
    assert "no such file or folder: 'a.mp4'" in told["error"]


def test_a_clip_never_overwrites_its_namesake(tmp_path: Path) -> None:
    """Unless its row names the folder."""
    segmenter = NamedSegmenter(str(tmp_path))
    segmenter.job = NamedJob(str(tmp_path), overwrite=True)
    (tmp_path / "x").mkdir()
    one, two = str(tmp_path / "a" / "x.mp4"), str(tmp_path / "b" / "x.mp4")
    announce(locate(tmp_path, "x"), request={"clip": {"path": one}})
    assert segmenter({"clip": one})["status"] == "done"
    told = segmenter({"clip": two})
    assert (told["status"], told["exit_code"]) == ("failed", 7)
    assert f"another clip, {one!r}; give its row a 'folder'" in told["error"]
    assert segmenter({"clip": two, "folder": "x"})["status"] == "done"


def test_a_clip_that_a_lost_worker_still_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samotion_ray, "PAUSE_S", 0.0)
    held = Outcome("/a.mp4", "a", "failed", exit_code=7, error=f"error: 'out/a' {IN_USE}; wait")
    answers = [held, held, Outcome("/a.mp4", "a", "skipped")]
    segmenter = NamedSegmenter(str(tmp_path))
    monkeypatch.setattr(NamedJob, "do", lambda *_: answers.pop(0))
    assert segmenter({"clip": "/a.mp4"})["status"] == "skipped"
    monkeypatch.setattr(samotion_ray, "PATIENCE_S", -1.0)
    monkeypatch.setattr(NamedJob, "do", lambda *_: held)
    assert segmenter({"clip": "/a.mp4"})["exit_code"] == 7


def test_a_segmenter_can_be_pickled_and_takes_the_names_of_readers(tmp_path: Path) -> None:
    segmenter = pickle.loads(pickle.dumps(samotion_ray.ClipSegmenter(tmp_path, save=["masks"])))
    missing = str(tmp_path / "missing.mp4")
    rows = [segmenter({name: missing}) for name in ("clip", "path", "item")]
    rows.append(segmenter({"clip": Path(missing)}))
    segmenter.close()
    assert {row["status"] for row in rows} == {"failed"}
    assert {row["exit_code"] for row in rows} == {3}
    assert {row["folder"] for row in rows} == {"missing"}
    with pytest.raises(UsageError, match="in 'clip'"):
        segmenter({"url": missing})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"save": ["gif"]}, "cannot save 'gif'"),
        ({"settings": {}}, "settings is {}"),
        ({"out": 5}, "out is 5"),
        ({"out": "out"}, r"give os.path.abspath\('out'\)"),
        ({"engine_dir": "mine"}, r"give os.path.abspath\('mine'\)"),
    ],
)
def test_a_segmenter_is_refused_before_its_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(samotion_ray, "_on_ray", lambda: True)
    with pytest.raises(UsageError, match=words):
        samotion_ray.ClipSegmenter(**{"out": tmp_path, **wrong})


def test_a_segmenter_without_engines_says_so_in_its_row(tmp_path: Path) -> None:
    segmenter = samotion_ray.ClipSegmenter(tmp_path / "out", engine_dir=tmp_path)
    row = segmenter({"clip": "/a.mp4"})
    assert (row["status"], row["exit_code"], row["worker"]) == ("failed", 4, "")
    assert row["error"].startswith("error: ")


def test_paths_are_told_as_they_were_given() -> None:
    error = "error: '/x/in/a.mp4' cannot be read; /x/in/a.mp4 is empty"
    told = samotion_ray._as_given(
        Outcome("/x/in/a.mp4", "a", "failed", error=error), {"/x/in/a.mp4": "in/a.mp4"}
    )
    assert told.clip == "in/a.mp4"
    assert told.error == "error: 'in/a.mp4' cannot be read; in/a.mp4 is empty"


def test_workers_share_the_cores_of_a_cluster() -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 16.0, "GPU": 2.0})
    assert [ray_cluster.threads(ray, workers) for workers in (1, 3, 16, 40)] == [16, 5, 1, 1]
    assert (ray_cluster.room(ray, 0), ray_cluster.room(ray, 0.5)) == (16, 4)
    for resources in ({"CPU": 16.0}, {"CPU": 16.0, "GPU": 0.25}):
        ray.cluster_resources = lambda there=resources: there
        with pytest.raises(DeviceError, match=r"--gpus-per-worker 0\.5, but the Ray cluster"):
            ray_cluster.room(ray, 0.5)


def test_where_nothing_listens_one_line_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data", reason="pip install 'samotion[ray]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for given in (address, f"ray://{address}", "127.0.0.1:99999"):
            with pytest.raises(DeviceError, match=r"no Ray cluster answers at .*; start one with"):
                ray_cluster.connected(given)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(DeviceError, match="no Ray cluster answers at 'auto'"):
            ray_cluster.connected("auto")


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'samotion\[ray\]'"):
        next(samotion_ray.run(NamedJob("out"), [Item("a.mp4", "a")], "local"))
