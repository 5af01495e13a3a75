"""Building engines: shapes, the builder's command line, what is rebuilt when, and what failures
say.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
import samotion
from helpers import fake_tensorrt
from helpers.sums_net import sums_request
from onnx.reference import ReferenceEvaluator
from samotion import depth, manifest
from samotion.contract import DYNAMIC, SIGNATURES
from samotion.errors import DeviceError, EngineError
from samotion.presets import NANO, PRESETS, Preset
from samotion.sam2.memory import MemoryWindow, places
from samotion_export import spelling
from samotion_export.export import export
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.trt import build as trt_build
from samotion_export.trt import layer_types, norms
from samotion_export.trt.build import Target
from samotion_export.trt.profiles import Profile, profiles

SIZES = {"C": 64, "C'": 32, "S": 384, "M": 96, "M/2": 48, "G": 24, "L": 576, "D": 64}
SIZES |= {"C0": 16, "C1": 32, "S/8": 48, "S/4": 96, "R": 6}
QUIET = Report(-1)


def dims(engine: str) -> dict[str, list[int | str]]:
    """An engine's inputs as in a manifest."""
    return {
        t.name: [d if isinstance(d, int) or d in DYNAMIC else SIZES[d] for d in t.dims]
        for t in SIGNATURES[engine].inputs
    }


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
@pytest.mark.parametrize("engine", SIGNATURES)
def test_every_engine_has_profiles(preset: Preset, engine: str) -> None:
    """Each has smallest, usual and largest shapes in that order, of all inputs, and one size per
    letter.
    """
    found = profiles(preset, engine, dims(engine))
    assert 1 <= len(found) <= 4
    for profile in found:
        assert list(profile) == [t.name for t in SIGNATURES[engine].inputs]
        for which in range(3):
            sizes: dict[str, int] = {}
            for tensor in SIGNATURES[engine].inputs:
                for letter, size in zip(tensor.dims, profile[tensor.name][which]):
                    assert sizes.setdefault(str(letter), size) == size > 0
        for low, usual, high in profile.values():
            assert all(a <= b <= c for a, b, c in zip(low, usual, high))


def fits(preset: Preset, engine: str, **letters: int) -> bool:
    """Is there a profile for these sizes?"""
    wanted = dims(engine)
    for profile in profiles(preset, engine, wanted):
        ranges = {
            str(d): (low[i], high[i])
            for name, (low, _, high) in profile.items()
            for i, d in enumerate(wanted[name])
            if isinstance(d, str)
        }
        if all(ranges[letter][0] <= size <= ranges[letter][1] for letter, size in letters.items()):
            return True
    return False


def test_profiles_hold_what_runs_bring() -> None:
    from samotion.depth import net_size as depth_size
    from samotion.dino import net_size as dino_size

    fast = PRESETS["fast"]
    sides = (5, 60, 100, 125, 240, 350, 480, 563, 854, 1000)
    clips = [hw for side in sides for hw in ((side, 1000), (1000, side))]
    for preset in (fast, NANO):
        for hw in [*clips, (480, 854), (64, 64), (64, 100)]:
            rows, columns = depth_size(hw, preset.depth.short_side_px)
            assert fits(preset, "depth", B=1, H=rows, W=columns), hw
            rows, columns = dino_size(hw, preset.dino.short_side_px)
            assert fits(preset, "dino", B=1, H=rows, W=columns), hw
    for frames in (1, 24, 32, 33, 100, 128, 129, 320):
        assert fits(fast, "tracks_refine", T=frames, N=1), frames
        assert fits(fast, "tracks_query", T=frames, N=fast.max_tracks), frames
    most = {"N": fast.max_tracks, "T": fast.max_frames}
    assert fits(fast, "motion", **most) and fits(fast, "motion", N=1, T=2)
    assert not fits(fast, "motion", **{**most, "T": fast.max_frames + 1})  # memory no run asks for
    for memories in range(1, 20):
        assert fits(fast, "sam2_track", B=3, K=memories, P=17), memories


@pytest.mark.parametrize("name", PRESETS)
def test_profiles_hold_an_object_that_is_seen_throughout_the_longest_window(name: str) -> None:
    """It is prompted on every n-th frame, on its key frame, and where windows meet."""
    preset = PRESETS[name]
    prompted = sorted({1, 5, *range(0, preset.max_frames, preset.prompting.every_frames)})
    window = MemoryWindow(7, 16, preset.sam2.max_conditioning_frames)
    for frames in (prompted, prompted[1:], prompted[:1]):
        memories, pointers = places({1: frames}, preset.max_frames, window)
        assert fits(preset, "sam2_track", B=8, K=memories, P=pointers), (memories, pointers)


def test_profiles_of_pictures_waste_no_memory() -> None:
    """The largest shapes hold no more pixels than one call brings, or one long strip."""
    for preset in (PRESETS["fast"], NANO):
        side_px = preset.depth.short_side_px
        for profile in profiles(preset, "depth", dims("depth")):
            frames, rows, columns, _ = profile["frames"][2]
            assert rows * columns <= 8 * side_px**2
            assert frames == 1 or frames * rows * columns <= depth.GPU_PX_PER_CALL


def test_profiles_of_depth_are_tuned_for_whole_batches() -> None:
    """What a GPU's run of a common clip brings is the usual size of the first profile it fits."""
    fast = PRESETS["fast"]
    for hw, which in (((480, 854), 0), ((1920, 1080), 1)):
        size = depth.net_size(hw, fast.depth.short_side_px)
        frames = depth.frames_per_call(size, on_gpu=True)
        usual = profiles(fast, "depth", dims("depth"))[which]["frames"][1]
        assert usual[0] == frames == depth.GPU_FRAMES
        assert usual[1:3] == size


GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
depth (float[B, 4] x) => (float[B, 4] y) <float16[1] one = {1}>
{ h = Cast <to = 10> (x) a = Add(h, one) y = Cast <to = 1> (a) }"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "depth.onnx"
    path.write_bytes(onnx.parser.parse_model(GRAPH).SerializeToString())
    return path


@pytest.mark.parametrize(
    ("version", "wanted", "unwanted"),
    [
        ("8.6.1", ["--fp16", "--precision-constraints", "obey"], "--strongly-typed"),
        ("10.13.0", ["--strongly-typed"], "--fp16"),
        ("11.4.0", [], "--fp16"),
        ("11.4.0", [], "--strongly-typed"),
    ],
)
def test_types_are_the_graphs(graph: Path, version: str, wanted: list[str], unwanted: str) -> None:
    shapes: list[Profile] = [{"x": ((1, 4), (2, 4), (3, 4))}, {"x": ((4, 4), (5, 4), (6, 4))}]
    command = trt_build.build_command(
        graph, graph.with_suffix(".engine"), shapes, Target(version, "g"), graph
    )
    assert set(wanted) <= set(command)
    assert unwanted not in command
    for which, sizes in {"min": (1, 4), "opt": (2, 5), "max": (3, 6)}.items():
        option = f"--trt-{which}-shapes"
        given = [command[i + 1] for i, word in enumerate(command) if word == option]
        assert given == [f"x:[{size},4]" for size in sizes]
    tactics = command[command.index("--tactic-sources") :] if "--tactic-sources" in command else []
    assert not [word for word in tactics if "CUBLAS" in word or "CUDNN" in word]
    assert ("--tactic-sources" in command) == version.startswith("8.")


def test_timings_are_read_where_there_are_some(graph: Path, tmp_path: Path) -> None:
    for cache, is_there in ((graph, True), (tmp_path / "none", False)):
        command = trt_build.build_command(graph, graph, [], Target("10.13.0", "g"), cache)
        assert command[command.index("--save-timing-cache") + 1] == str(cache)
        assert ("--load-timing-cache" in command) == is_there


def test_types_of_tensors(graph: Path) -> None:
    assert trt_build.tensor_types(graph) == {"float16": ["h", "a"], "float32": ["y"]}


def test_layers_of_old_tensorrt_are_held_to_the_graphs_types(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = types.SimpleNamespace(CAST=1, CONSTANT=2, SHAPE=3, ELEMENTWISE=4)
    trt = types.SimpleNamespace(float16="half", float32="float", LayerType=kinds)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setenv(layer_types.VARIABLE, str(tmp_path / "types.json"))
    (tmp_path / "types.json").write_text('{"float16": ["a"], "float32": ["y"]}')

    class Layer(types.SimpleNamespace):
        num_outputs, precision = 1, None

        def get_output(self, index: int) -> types.SimpleNamespace:
            return types.SimpleNamespace(name=self.output)

        def set_output_type(self, index: int, kind: str) -> None:
            self.kind = kind

    layers = [Layer(output="a", type=4), Layer(output="y", type=1), Layer(output="helper", type=4)]
    layer_types.keep_types(types.SimpleNamespace(num_layers=3, get_layer=layers.__getitem__))
    assert (layers[0].kind, layers[0].precision) == ("half", "half")
    assert (layers[1].kind, layers[1].precision) == ("float", None)
    assert not hasattr(layers[2], "kind")


NORMED = """<ir_version: 8, opset_import: ["" : 17]>
depth (float[B, 2, H, W] x) => (float[B, 2, H, W] y) <float[2] scale = {1.5, -2}, float[2] bias = {0.25, 3}>
{ a = Relu(x) y = InstanceNormalization <epsilon = 0.01> (a, scale, bias) }"""


def test_norms_are_spelled_for_a_tensorrt_that_has_them_in_a_plugin(
    rng: np.random.Generator,
) -> None:
    x = rng.normal(3, 5, (2, 2, 5, 7)).astype(np.float32)
    model = onnx.parser.parse_model(NORMED)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    model = norms.spelled(model)
    onnx.checker.check_model(model, full_check=True)
    assert "InstanceNormalization" not in {node.op_type for node in model.graph.node}
    # 8.6 takes them for none
    assert all(a.name != "value_ints" for node in model.graph.node for a in node.attribute)
    (got,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=2e-6)


# The whole command, with a child that plays the builder.

BUILDER = """
import json, os, sys
arguments = sys.argv[1:]
print("[I] arguments", *arguments)
{trouble}
def after(option):
    return [arguments[i + 1] for i, word in enumerate(arguments) if word == option]
def shapes(option):
    return [{{n: json.loads(s) for n, s in [word.split(":")]}} for word in after(option)]
rows = [shapes(f"--trt-{{which}}-shapes") for which in ("min", "opt", "max")]
profiles = [{{name: [r[i][name] for r in rows] for name in rows[0][i]}} for i in range(len(rows[0]))]
header = json.dumps({{"version": {version!r}, "profiles": profiles}}).encode()
with open(arguments[1], "rb") as graph, open(after("-o")[0], "wb") as plan:
    plan.write({magic!r} + header + b"\\n" + graph.read())
cache = after("--save-timing-cache")[0]
for path in (cache, cache + ".lock"):
    with open(path, "w") as file:
        file.write("timings")
"""


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """An export of a stand-in for the depth net, for a fake TensorRT."""
    use(monkeypatch, "10.13.0")
    return sums_request(tmp_path, monkeypatch, target="tensorrt")


def use(
    monkeypatch: pytest.MonkeyPatch, version: str, trouble: str = "", gpu: str = "Fake GPU"
) -> None:
    """Install a fake TensorRT and its builder, which runs `trouble` before it builds."""
    fake_tensorrt.install(monkeypatch, version, fake_tensorrt.Gpu(gpu))
    script = BUILDER.format(version=version, trouble=trouble, magic=fake_tensorrt.MAGIC)
    monkeypatch.setattr(trt_build, "POLYGRAPHY", script)
    monkeypatch.setattr(trt_build, "find_spec", lambda name: name == "polygraphy")


def test_engines_are_built_and_run(request_: Request, rng: np.random.Generator) -> None:
    written = export(request_, QUIET)
    assert [p.name for p in written] == ["depth.onnx", "depth.engine", "manifest.json"]
    entry = manifest.read(request_.out).engines["depth"]
    assert (entry.file, entry.tensorrt, entry.gpu) == ("depth.engine", "10.13.0", "Fake GPU")
    assert entry.parity  # that of its graph
    assert entry.onnx_sha256 == manifest.sha256_of(request_.out / "depth.onnx")
    assert {p.name for p in request_.out.iterdir() if not p.name.startswith(".")} == {
        "depth.onnx", "depth.engine", "manifest.json", "timing.cache",
    }  # fmt: skip
    assert export(request_, QUIET) == [], "it is current"
    hw = depth.net_size((480, 854), NANO.depth.short_side_px)
    frames = rng.integers(0, 256, (1, *hw, 3), np.uint8)
    with samotion.open_engines(request_.out) as engines:
        assert engines.device == "tensorrt"
        np.testing.assert_array_equal(
            engines["depth"](frames=frames)["disparity"], frames.sum(-1, dtype=np.float32)
        )


@pytest.mark.parametrize(("version", "spelled"), [("8.6.0", "cpu"), ("10.13.0", "gpu")])
def test_an_old_tensorrt_gets_a_cpus_spelling(
    request_: Request, monkeypatch: pytest.MonkeyPatch, version: str, spelled: str
) -> None:
    """8.6 takes no bfloat16."""
    monkeypatch.setattr(spelling, "SPELLED_NETS", ("depth",))
    use(monkeypatch, version)
    export(request_, QUIET)
    assert manifest.read(request_.out).engines["depth"].spelling == spelled


@pytest.mark.parametrize(("version", "gpu"), [("10.14.0", "Fake GPU"), ("10.13.0", "Other GPU")])
def test_another_tensorrt_or_gpu_rebuilds_the_engine_alone(
    request_: Request, monkeypatch: pytest.MonkeyPatch, version: str, gpu: str
) -> None:
    export(request_, QUIET)
    use(monkeypatch, version, gpu=gpu)
    assert [p.name for p in export(request_, QUIET)] == ["depth.engine", "manifest.json"]
    assert manifest.read(request_.out).engines["depth"].tensorrt == version


def test_an_engine_is_current_until_what_decided_it_changes(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(request_, QUIET)
    entry, target = manifest.read(request_.out).engines["depth"], trt_build.find_target("tensorrt")
    assert str(target) == "TensorRT 10.13.0 on Fake GPU"
    assert trt_build.is_current(entry, "depth", NANO, target)
    for other in (replace(entry, onnx_sha256="0" * 64), replace(entry, meta={})):
        assert not trt_build.is_current(other, "depth", NANO, target)
    assert not trt_build.is_current(entry, "depth", NANO, target._replace(bfloat=False))
    for decides in ("profiles", "type_options"):
        with monkeypatch.context() as patch:
            patch.setattr(trt_build, decides, lambda *given: [])
            assert not trt_build.is_current(entry, "depth", NANO, target), decides


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((10, 0), True)])
def test_bfloat16_comes_with_compute_capability_8(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], has: bool
) -> None:
    use(monkeypatch, "10.13.0")
    fake_tensorrt.install(monkeypatch, "10.13.0", fake_tensorrt.Gpu(capability=capability))
    assert trt_build.find_target("tensorrt").bfloat is has


@pytest.mark.parametrize("has_polygraphy", [True, False])
def test_looking_for_the_gpu_leaves_nothing_on_it(
    monkeypatch: pytest.MonkeyPatch, has_polygraphy: bool
) -> None:
    use(monkeypatch, "10.13.0")
    gpu = fake_tensorrt.Gpu()
    fake_tensorrt.install(monkeypatch, "10.13.0", gpu)
    if has_polygraphy:
        trt_build.find_target("tensorrt")
    else:
        monkeypatch.setattr(trt_build, "find_spec", lambda name: None)
        with pytest.raises(DeviceError):
            trt_build.find_target("tensorrt")
    assert gpu.streams == gpu.used == 0


def test_back_to_graphs(request_: Request) -> None:
    export(request_, QUIET)
    written = export(replace(request_, target="onnx"), QUIET)
    assert [p.name for p in written] == ["depth.onnx", "manifest.json"]
    assert manifest.read(request_.out).engines["depth"].tensorrt is None


def test_precision_rebuilds_both(request_: Request) -> None:
    export(request_, QUIET)
    written = export(replace(request_, precision="fp16"), QUIET)
    assert [p.name for p in written] == ["depth.onnx", "depth.engine", "manifest.json"]


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        ("sys.exit('[E] Error Code 2: OutOfMemory (Requested 9000000000 bytes)')", DeviceError, "out of memory"),
        ("sys.exit('[!] CUDA initialization failure with error: 35')", DeviceError, "CUDA does not work here"),
        ("sys.exit('[E] In node 3 (importLoop): UNSUPPORTED_NODE')", EngineError, r"cannot build it .*importLoop"),
    ],
)  # fmt: skip
def test_failures_are_told_and_leave_the_graph(
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    kind: type[Exception],
    said: str,
) -> None:
    use(monkeypatch, "10.13.0", trouble)
    with pytest.raises(kind, match=said):
        export(request_, QUIET)
    assert manifest.read(request_.out).engines["depth"].file == "depth.onnx"
    assert not list(request_.out.glob(".samotion-export-*/"))


NO_KERNEL = """
if '--fp16' in arguments:
    sys.exit('[E] 10: Could not find any implementation for node {{ForeignNode[a...b]}}.\\n[!] Invalid Engine')
"""


def test_float32_where_old_tensorrt_has_no_kernels_for_half(
    request_: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, "8.6.0", NO_KERNEL.format())
    export(request_, Report(0))
    said = "depth: TensorRT 8.6.0 finds no half-precision kernels for it; float32 instead"
    assert said in capsys.readouterr().err
    entry = manifest.read(request_.out).engines["depth"]
    assert (entry.file, entry.tensorrt) == ("depth.engine", "8.6.0")
    assert export(request_, QUIET) == [], "it is current"


@pytest.mark.parametrize("version", ["8.6.0", "10.13.0"])
def test_no_kernels_at_all_are_told(
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: str,
) -> None:
    use(monkeypatch, version, NO_KERNEL.format().replace("'--fp16' in arguments", "True"))
    with pytest.raises(
        EngineError, match=r"cannot build it .*Could not find any implementation .*ForeignNode"
    ):
        export(request_, Report(0))
    tried_again = "float32 instead" in capsys.readouterr().err
    assert tried_again == version.startswith("8.")


@pytest.mark.parametrize(
    ("version", "operators"),
    [("8.6.0", {"Relu", "Mul", "Add"}), ("10.13.0", {"Relu", "InstanceNormalization"})],
)
def test_an_old_tensorrt_gets_no_plugins_and_the_graphs_types(
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    operators: set[str],
) -> None:
    told = f"print(json.load(open(os.environ[{layer_types.VARIABLE!r}]))['float32'].index('y'))"
    use(monkeypatch, version, told)  # which fails where they are not told
    export(replace(request_, target="onnx"), QUIET)
    entry = manifest.read(request_.out).engines["depth"]
    graph, target = tmp_path / "net.onnx", Target(version, "Fake GPU")
    onnx.save(onnx.parser.parse_model(NORMED), str(graph))
    built = trt_build.build("depth", entry, graph, NANO, target, (tmp_path, tmp_path), QUIET)
    assert built.file
    _, compiled = fake_tensorrt.parts_of((tmp_path / built.file).read_bytes())
    found = {node.op_type for node in onnx.load_from_string(compiled).graph.node}
    assert operators <= found
    assert ("InstanceNormalization" in found) == ("InstanceNormalization" in operators)


def test_an_interrupted_build_takes_its_child_along(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = "import time; print('[I] building', os.getpid(), flush=True); time.sleep(60)"
    use(monkeypatch, "10.13.0", trouble)
    pids: list[int] = []

    def interrupt(self: Report, text: str) -> None:
        if "building" in text and text.split()[-1].isdigit():
            pids.append(int(text.split()[-1]))
            raise KeyboardInterrupt

    monkeypatch.setattr(Report, "detail", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(request_, QUIET)
    assert pids and not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.parametrize(
    ("break_", "said"),
    [
        (lambda patch: patch.setitem(sys.modules, "tensorrt", None), r"TensorRT is not installed .*samotion\[trt\]"),
        (lambda patch: patch.setattr(trt_build, "find_spec", lambda name: None), "polygraphy is not installed"),
        (lambda patch: fake_tensorrt.install(patch, gpu=fake_tensorrt.Gpu(count=0)), "no NVIDIA GPU is visible"),
    ],
)  # fmt: skip
def test_machines_that_cannot_build(
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    break_: Callable[[pytest.MonkeyPatch], object],
    said: str,
) -> None:
    """Said before anything is exported."""
    break_(monkeypatch)
    with pytest.raises(DeviceError, match=said):
        export(request_, QUIET)
    assert not request_.out.exists()
