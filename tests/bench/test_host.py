"""samotion-bench --host: the runtime over a stand-in GPU. Counts, no times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samotion.presets import FAST, PRESETS
from samotion_bench import bench
from samotion_bench.host import run as hosting
from samotion_bench.host.meter import COUNTED, Meter, StageMeter
from samotion_bench.host.scene import Scene, read_number
from typer.testing import CliRunner

SMALL = hosting.HostLoad(frames=10, hw=(96, 160), objects=2, max_tracks=400)
COUNTS = {
    "uploads": 84,
    "downloads": 49,
    "device_copies": 72,
    "waits": 30,
    "launches": 5,
    "recordings": 1,
    "steps": 12,
}
KEYS = {
    *("host_cpu_s", "feeding_thread_s", "wall_s", "upload_gb", "download_gb", "peak_host_mb"),
    *COUNTED,
}


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return hosting.measure(FAST, SMALL)


def test_the_method_prompts_every_object_of_the_scene(small: dict[str, Any]) -> None:
    assert small["objects"] == SMALL.objects
    assert small["tracks"] == SMALL.max_tracks


def test_every_stage_is_reported_and_totals_are_their_sums(small: dict[str, Any]) -> None:
    stages, totals = small["stages"], small["totals"]
    assert [*stages] == ["video", "tracks", "depth", "dino", "motion", "prompts", "masks"]
    assert all(stage.keys() == KEYS for stage in (*stages.values(), totals))
    for name in COUNTED:
        assert totals[name] == sum(stage[name] for stage in stages.values()), name
    assert 0 < totals["feeding_thread_s"] <= totals["host_cpu_s"]


def test_what_the_runtime_asks_of_a_gpu_does_not_grow(small: dict[str, Any]) -> None:
    """A change that makes the host copy, wait or record more has to say so here."""
    assert {name: small["totals"][name] for name in COUNTED} == COUNTS


def test_a_bar_code_is_read_at_any_size() -> None:
    frames = Scene(3).frames(40, (120, 200))
    assert [read_number(frame) for frame in frames] == [*range(40)]
    assert [read_number(frame[::2, ::3]) for frame in frames] == [*range(40)]


def test_boxes_stay_in_their_lanes_and_are_found_under_points() -> None:
    scene = Scene(4)
    for t in range(0, 300, 7):
        centres = scene.centres(t)
        assert scene.under(t, centres).tolist() == [1, 2, 3, 4]
        assert (centres[:, 0] > 0.1).all() and (centres[:, 0] < 0.9).all()
    assert scene.under(0, np.array([[0.5, 0.02]])).tolist() == [0]


def test_what_is_aside_counts_for_nobody() -> None:
    meter = Meter()
    stages = StageMeter(meter)
    stages("depth", 0, 1)
    with meter.aside(), meter.aside():
        sum(range(2_000_000))
    meter.count("uploads", 2)
    stages("depth", 1, 1)
    before = meter.read()
    sum(range(2_000_000))
    spent = meter.read().since(before)["host_cpu_s"]
    assert stages.stages["depth"]["host_cpu_s"] < spent / 2
    assert stages.stages["depth"]["uploads"] == 2


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("fast", "nano")])
def test_official_presets_run(preset: str, tmp_path: Path) -> None:
    load = hosting.HostLoad(frames=4, hw=(64, 96), objects=1, max_tracks=40)
    assert hosting.measure(PRESETS[preset], load)["objects"] == 1


def test_the_command_prints_a_table_and_writes_the_report(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    options = "--host --frames 4 --size 96x64 --objects 1 --max-tracks 40 --json"
    answer = CliRunner().invoke(bench.app, [*options.split(), str(file)])
    assert answer.exit_code == 0, answer.output
    assert "feeding_thread_s" in answer.stdout and "prompts" in answer.stdout
    report = json.loads(file.read_text())
    assert report["kind"] == hosting.KIND and report["totals"].keys() == KEYS
