"""The benchmark's arithmetic, its report and its verdicts, with made-up times: nothing is
measured here.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import resource
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from helpers.fakes import FakeEngines
from rich.console import Console
from samotion.contract import NETS, SIGNATURES, engines_of
from samotion.errors import InputError, UsageError
from samotion.presets import NANO
from samotion.settings import Settings
from samotion_bench import baselines, bench, compare, conditions, machine, session, timing
from samotion_bench.bench_table import curve_lines, print_report, share_of_peak
from samotion_bench.html import to_html
from samotion_bench.recorder import Note, Recorder, items, sizes
from samotion_bench.session import Plan, run_session
from samotion_bench.tables import make_table
from samotion_bench.workload import Run, Workload, spread
from typer.testing import CliRunner

LETTERS = {"T": 4, "N": 3, "B": 2, "H": 28, "W": 28, "GH": 3, "GW": 3, "K": 2, "P": 5}


def arrays(tensors):
    return {
        t.name: np.zeros([d if isinstance(d, int) else LETTERS.get(d, 6) for d in t.dims], t.dtype)
        for t in tensors
    }


class Clock:
    """Stands in for the time: calls take what they are told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def call(self, ms, log=None):
        times = iter(ms) if not isinstance(ms, float) else None

        def run():
            self.now += (ms if times is None else next(times)) / 1000
            if log is not None:
                log.append(ms)

        return run


def test_cheap_calls_get_all_runs_and_expensive_ones_share_the_rest(monkeypatch):
    clock = Clock(monkeypatch)
    found = timing.measure(
        {"cheap": clock.call(1.0), "dear": clock.call(100.0)}, runs=50, budget_s=2.252
    )
    assert len(found["cheap"].values) == 50
    assert len(found["dear"].values) == 20  # 2252 ms less 2 + 200 to warm up, less 50 cheap runs
    assert clock.now <= 2.252 + 1e-9
    assert len(found["cheap"].blocks) == timing.ROUNDS


def test_a_preset_is_for_the_stand_in_alone():
    result = CliRunner().invoke(bench.app, ["--preset", "fast"])
    assert result.exit_code == 2 and "--preset goes with --host" in result.stderr


def test_runs_are_interleaved_and_warm_up_is_left_out(monkeypatch):
    log: list[float] = []
    clock = Clock(monkeypatch)
    calls = {"a": clock.call(1.0, log), "b": clock.call(2.0, log)}
    found = timing.measure(calls, runs=6, budget_s=10, rounds=3)
    assert log == [1, 2, 1, 2, *[1, 1, 2, 2] * 3]
    assert [len(b) for b in found["a"].blocks] == [2, 2, 2]


def test_one_run_at_least_however_short_the_time(monkeypatch):
    clock = Clock(monkeypatch)
    found = timing.measure({"slow": clock.call(5000.0)}, runs=100, budget_s=1)
    assert len(found["slow"].values) == 1 and clock.now == pytest.approx(10)


def test_description_of_samples():
    samples = timing.Samples(9.0, ((1.0, 2.0, 3.0), (4.0, 5.0), (100.0,)))
    found = timing.describe(samples)
    assert (found["runs"], found["median_ms"], found["first_ms"]) == (6, 3.5, 9.0)
    assert found["p90_ms"] == pytest.approx(52.5)
    assert found["noise"] == pytest.approx(np.std(np.log([2, 4.5, 100]), ddof=1))
    assert timing.noise([[1.0], [2.0]]) is None


def test_lines_are_fitted():
    assert timing.fit_line([1, 2, 4], [13, 16, 22]) == pytest.approx((3, 10))


def test_recorder_notes_calls_and_keeps_the_largest():
    recorder = Recorder(FakeEngines(depth=lambda frames: {"disparity": frames[..., 0] * 1.0}))
    for count in (1, 3, 2):
        answer = recorder["depth"](frames=np.ones((count, 4, 4, 3), np.uint8))
        assert answer["disparity"].shape == (count, 4, 4)
    note = recorder.in_order()["depth"]
    assert note.calls == 3 and note.inputs["frames"].shape[0] == 3 and note.total_ms > 0


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_engine_has_a_unit(name):
    inputs = arrays(SIGNATURES[name].inputs)
    unit, count = items(name, inputs)
    found = sizes(name, inputs)
    assert unit in ("frames", "tracks", "track-frames", "objects")
    assert count in (
        found.get("T"),
        found.get("N"),
        found.get("B"),
        found.get("N", 0) * found.get("T", 0),
    )


def test_the_reference_tracks_114400_points():
    """docs/method.md, section 8: 100 frames of 854x480, 10 query frames, features 894 times."""
    assert baselines.reference_points((480, 854), 100, 10) == 114_400
    calls = baselines.reference_calls((480, 854), 100, 10, objects=3)
    assert calls["tracks_refine"] == 894 and calls["tracks_features"] == 89_400
    assert calls["sam2_image"] == 300 and calls["sam2_track"] == 297
    assert set(calls) == {name for net in NETS for name in engines_of(net)}


def test_reference_inputs_are_one_object_one_frame_or_128_points():
    notes = {name: Note(1, 1.0, arrays(SIGNATURES[name].inputs)) for name in SIGNATURES}
    notes["tracks_refine"].inputs = {
        k: np.repeat(v, 100, 0) for k, v in notes["tracks_refine"].inputs.items()
    }
    cut = baselines.reference_inputs(notes)
    assert cut["tracks_features"]["frames"].shape[0] == 1 and cut["depth"]["frames"].shape[0] == 1
    assert (
        cut["tracks_refine"]["queries"].shape[0] == 128
        and cut["tracks_refine"]["lowres"].shape[0] == 400
    )
    assert all(a.shape[0] == 1 for a in cut["sam2_track"].values())
    assert cut["motion"]["xy"].shape == notes["motion"].inputs["xy"].shape


class Fakes(dict[str, Any]):
    """Engines that answer zeros of the contract's shapes at once."""

    preset = NANO
    device = "cpu"

    def __init__(self):
        super().__init__()
        entries = {
            name: SimpleNamespace(
                file=f"{name}.onnx", sha256="a" * 64, weights_sha256="b" * 64, precision="fp32",
                parity={s.outputs[0].name: {"max_abs": 1e-5}}, gpu=None, tensorrt=None,
            )
            for name, s in SIGNATURES.items()
        }  # fmt: skip
        self.manifest = SimpleNamespace(engines=entries)
        for name, signature in SIGNATURES.items():
            self[name] = lambda signature=signature, **inputs: arrays(signature.outputs)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Makes the report of a session in which every stage is made up and every engine a fake."""

    def whole(engines, load):
        for name in ("tracks_features", "tracks_refine", "depth"):
            engines[name](**arrays(SIGNATURES[name].inputs))
        return Run(1000.0, {"video": 100.0, "tracks": 600.0, "masks": 290.0}, 700.0, 10.0, 2, 50)

    def rehearse(engines, load, objects):
        for name, signature in SIGNATURES.items():
            engines[name](**arrays(signature.inputs))

    monkeypatch.setattr(session, "run_whole", whole)
    monkeypatch.setattr(session, "rehearse", rehearse)
    monkeypatch.setattr(session, "segment_clip", lambda frames, engines, settings: None)
    monkeypatch.setattr(session, "follow", lambda engines, load, count: lambda: None)
    monkeypatch.setattr(session, "propagate", lambda engines, frames, objects: lambda: None)
    monkeypatch.setattr(machine, "peak_gflops", lambda device: 100.0)
    load = Workload(
        np.zeros((8, 32, 48, 3), np.uint8), tmp_path / "clip.mp4", Settings(), tmp_path / "out"
    )

    def made(time_limit_s=1.0, engines=None):
        plan, engines = Plan(20, 2, time_limit_s), engines or Fakes()
        return conditions.describe(engines, load, None) | run_session(
            engines, load, plan, lambda line: None
        )

    return made


@pytest.fixture
def report(run):
    return run()


def test_without_time_everything_runs_once_and_curves_are_left_out(run):
    report = run(time_limit_s=0.0)
    assert (
        report["end_to_end"]["wall"]["runs"] == 1 and report["end_to_end"]["wall"]["noise"] is None
    )
    assert {found["runs"] for found in report["engine_times"].values()} == {1}
    assert report["curves"] == {} and "<svg" in to_html(report)
    assert report["left_out"] == ["frames", "tracks", "objects", "megapixels"]
    assert "No time was left for frames, tracks" in to_html(report)
    assert "no time was left for cost against frames" in curve_lines(report)[0]


def test_points_that_were_warmed_up_alone_are_no_points_of_a_curve(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(session.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(session, "timed", lambda call: call())

    def point(seconds):
        def call():
            clock.now += seconds
            return 1000 * seconds

        return call

    points: Any = {4: point(1), 8: point(2), 12: point(4)}
    assert session._curve("what", "frames", points, budget_s=7) is None
    found = session._curve("what", "frames", points, budget_s=8.5)
    assert found and (found["x"], found["median_ms"], found["runs"]) == ([4, 8], [1000, 2000], 1)
    whole = session._curve("what", "frames", points, budget_s=15)
    assert whole and (whole["x"], whole["runs"]) == ([4, 8, 12], 1)


def test_curves_that_lack_points_are_told_of(run, monkeypatch):
    def curve(what, unit, points, budget_s):
        x = list(points)[: -1 if unit == "frames" else None]
        return {"what": what, "unit": unit, "x": x, "median_ms": x, "runs": 1} | {
            "slope_ms": None,
            "intercept_ms": None,
        }

    monkeypatch.setattr(session, "_curve", curve)
    (told,) = run()["left_out"]
    assert re.fullmatch(r"frames \(1 of \d points\)", told)


def test_report_holds_conditions_and_figures(report):
    assert set(report["engine_times"]) == set(SIGNATURES) == set(report["engines"])
    whole = report["end_to_end"]
    assert whole["stage_sum_share"] == pytest.approx(0.99) and whole[
        "frames_per_s"
    ] == pytest.approx(8)
    assert whole["first_mask_ms"] == 700 and whole["steady_mask_ms_per_frame"] == 10
    assert report["engine_times"]["depth"]["in_first_run"]["calls"] == 1
    assert report["engine_times"]["motion"]["in_first_run"] is None
    assert report["engine_times"]["depth"]["transfers_mb"]["to_engine"] == pytest.approx(
        2 * 28 * 28 * 3 / 1e6
    )
    assert set(report["curves"]) == {"frames", "tracks", "objects", "megapixels"}
    assert report["machine"]["versions"]["numpy"] == np.__version__
    json.dumps(report)


def test_gpu_times_stand_beside_those_from_host_to_host(run):
    """Engines that know CUDA events are asked for them; others are not."""

    class Timed(Fakes):
        def __init__(self):
            super().__init__()
            timed: Any = lambda **inputs: arrays(SIGNATURES["depth"].outputs)  # noqa: E731
            timed.device_ms = lambda **inputs: 0.25
            self["depth"] = timed

    report = run(engines=Timed())
    found = report["engine_times"]["depth"]["device"]
    assert (found["runs"], found["median_ms"], found["p99_ms"]) == (20, 0.25, 0.25)
    assert "device" not in report["engine_times"]["dino"]
    console = Console(record=True, width=170, file=io.StringIO())
    print_report(report, console)
    assert "GPU alone ms" in console.export_text() and "GPU alone ms" in to_html(report)


def test_what_pytorch_cannot_compile_is_left_out(monkeypatch):
    """It is said, and the eager figures stay."""
    said: list[str] = []

    @dataclasses.dataclass(frozen=True)
    class Torch:
        compiled: bool = False

        def __getitem__(self, name):
            def call(frames):
                if self.compiled and name == "depth":
                    raise RuntimeError("no compiler\nmore")

            return call

    notes = {name: Note(1, 1.0, {"frames": np.zeros(1)}) for name in ("depth", "dino")}
    plan = Plan(1, 1, 1.0, frozenset({"torch", "torch-compile"}))
    calls = session._torch_calls(cast(Any, Torch()), plan, notes, said.append)
    assert set(calls) == {"depth torch", "dino torch", "dino compiled"}
    assert "PyTorch cannot compile depth: no compiler" in said


@pytest.mark.parametrize("spelling", ["cpu", "gpu"])
def test_pytorch_has_every_engine_of_a_folder(spelling):
    """A GPU's folder has one more, and its step of SAM 2 takes places that hold nothing."""
    engines = SimpleNamespace(
        preset=NANO, device="cpu", entry=lambda name: SimpleNamespace(spelling=spelling)
    )
    graphs = baselines.open_torch(cast(Any, engines)).graphs
    on_gpu = spelling == "gpu"
    names = [name for net in NETS for name in engines_of(net, getattr(NANO, net), on_gpu=on_gpu)]
    assert [*graphs] == names and graphs["sam2_track"].meta.get("pads", False) == on_gpu


def test_terminal_shows_stages_and_engines(report):
    console = Console(record=True, width=150, file=io.StringIO())
    print_report(report, console)
    text = console.export_text()
    assert all(name in text for name in (*SIGNATURES, "video", "99.0 %", "8.00 frames/s"))


class Links(HTMLParser):
    """Collects what a page would fetch, and checks that its elements close in order."""

    VOID = ("meta", "br", "line", "circle", "rect")

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href", "data")]
        self.fetched += [tag] * (tag in ("script", "link", "iframe", "img"))
        self.open += [tag] * (tag not in ("meta", "br"))

    def handle_startendtag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(report):
    page = to_html(report)
    links = Links()
    links.feed(page)
    assert not links.fetched and not links.open
    assert (
        "http" not in page.replace("http-equiv", "")
        and "url(" not in page
        and "@import" not in page
    )
    assert page.count("<svg") == 6 and "nan" not in page.lower().replace("nano", "")


def with_times(report, factor, noise):
    changed = json.loads(json.dumps(report))
    for figures in compare.figures(changed).values():
        found: Any = figures
        found["median_ms"] *= factor
        found["noise"] = noise
    return changed


def test_verdicts_need_more_than_noise(report):
    calm = with_times(report, 1.0, 0.01)
    assert {c.verdict for c in compare.compare(calm, calm)} == {"no difference beyond noise"}
    faster = {c.verdict for c in compare.compare(calm, with_times(report, 0.5, 0.01))}
    slower = {c.verdict for c in compare.compare(calm, with_times(report, 2.0, 0.01))}
    assert faster == {"2.00x faster"} and slower == {"2.00x slower"}
    assert {c.verdict for c in compare.compare(calm, with_times(report, 0.5, 0.4))} == {
        "no difference beyond noise"
    }
    assert {c.verdict for c in compare.compare(calm, with_times(report, 0.5, None))} == {
        "too few runs to tell"
    }


def test_bound_is_two_deviations_of_the_ratio():
    before, after = ({"median_ms": 1.0, "noise": noise} for noise in (0.03, 0.04))
    (change,) = [compare._change("x", before, after)]
    assert change.bound == pytest.approx(math.exp(0.1))


def test_other_conditions_are_named(report):
    other = with_times(report, 1.0, 0.01)
    other["machine"]["cores"] = 128
    other["engines"]["depth"]["sha256"] = "c" * 64
    assert not compare.caveats(report, report)
    notes = "; ".join(compare.caveats(report, other))
    assert "cores differs" in notes and "engines differ: depth" in notes and "tracks" not in notes


def test_compare_from_the_command(report, tmp_path):
    for name, factor in (("a", 1.0), ("b", 2.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(with_times(report, factor, 0.01)))
    result = CliRunner().invoke(
        bench.app, ["--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    )
    assert result.exit_code == 0 and "slower" in result.stdout
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InputError, match="not a report"):
        compare.read_report(tmp_path / "c.json")
    result = CliRunner().invoke(
        bench.app, ["--compare", str(tmp_path / "a.json"), str(tmp_path / "c.json")]
    )
    assert result.exit_code == 3


def test_sizes_and_missing_engines():
    assert bench.parse_size("854x480") == (480, 854)
    for wrong in ("854", "854x", "0x0", "8x8", "axb"):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
            bench.parse_size(wrong)
    assert CliRunner().invoke(bench.app, ["--engine-dir", "nowhere"]).exit_code == 4
    assert spread(10) == [2, 5, 10] and spread(4, (0, 0.5, 1.0)) == [1, 2, 4] and spread(1) == [1]


def test_torch_is_imported_for_baselines_only():
    code = "import sys, samotion_bench.session, samotion_bench.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("system, unit", [("linux", 2**10), ("darwin", 1)])
def test_peak_memory_is_in_mib_on_each_system(
    system: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    used = SimpleNamespace(ru_maxrss=512 * 2**20 // unit)
    monkeypatch.setattr(resource, "getrusage", lambda who: used)
    assert machine.host_memory_mib()[1] == 512


def test_the_peak_is_measured_on_onnxruntime(monkeypatch):
    monkeypatch.setitem(machine.PEAK_SIDE, "cpu", 32)
    assert 0 < (machine.peak_gflops("cpu") or 0) < 1e6
    assert machine.peak_gflops("tensorrt") is None, "a GPU's share is not told against a CPU's peak"


def test_the_peak_of_a_gpu_is_that_of_float32_as_engines_compute(monkeypatch):
    import onnxruntime

    asked = []

    def session(graph, options, providers):
        asked.extend(providers)
        raise RuntimeError("no GPU")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(RuntimeError, match="no GPU"):
        machine.peak_gflops("cuda")
    assert asked == [("CUDAExecutionProvider", {"use_tf32": "0"})]


def test_no_peak_is_told_of_a_gpu_that_onnxruntime_does_not_reach(monkeypatch):
    """Where its CUDA libraries are missing it takes the CPU, and says so in its providers alone."""
    import onnxruntime

    there = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: there)
    assert machine.peak_gflops("tensorrt") is None


def test_the_product_in_half_precision():
    (node,) = (
        graph := onnx.load_from_string(machine.MATMUL.replace(machine.FLOAT, machine.HALF)).graph
    ).node
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {
        onnx.TensorProto.FLOAT16
    }
    assert node.op_type == "MatMul"


def test_share_of_the_peak_is_that_of_the_precision(report):
    """Half precision on a CPU has no peak of its own."""
    report["engine_times"]["depth"]["gflops"] = 50.0
    assert share_of_peak(report, "depth") == "50 %"
    report["engines"]["depth"]["precision"] = "fp16"
    assert share_of_peak(report, "depth") == "50 %"
    report["machine"]["peak_half_gflops"] = 200.0
    assert share_of_peak(report, "depth") == "25 %"
    report["machine"] |= {"peak_half_gflops": None, "peak_gflops": None}
    assert share_of_peak(report, "depth") == share_of_peak(report, "dino") == "-"
    assert "GFLOP/s" not in to_html(report)


@pytest.mark.parametrize("width", [60, 80, 130])
def test_nothing_of_a_table_is_cut_off_on_a_narrow_terminal(width):
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, color_system=None, width=width)
    names = ["engine", "runs", "median ms", "noise", "per second", "GFLOP/s", "PyTorch ms", "ratio"]
    table = make_table("engines", names, console)
    row = ["tracks_features", "100", "123.45", "3 %", "12.3 frames", "23.4", "1200.00", "1.60"]
    table.add_row(*row)
    console.print(table)
    lines = [line.split("│") for line in said.getvalue().splitlines() if line.startswith("│")]
    cells = ["".join(part.strip() for part in column) for column in zip(*lines)][1:-1]
    assert [cell.replace(" ", "") for cell in cells] == [cell.replace(" ", "") for cell in row]
    assert max(map(len, said.getvalue().splitlines())) <= width
    assert "…" not in said.getvalue()
