"""samotion-export: what it builds, skips, rebuilds, refuses and leaves behind. Two small
stand-ins play the nets.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
import samotion
import torch
from helpers import official
from helpers.paths import ROOT
from samotion import manifest
from samotion.contract import NETS, engines_of
from samotion.errors import EngineError
from samotion.presets import NANO, PRESETS
from samotion_export import STAGING, cli, source, spelling
from samotion_export.checkpoints import download, weights
from samotion_export.graph import Graph
from samotion_export.report import Report
from samotion_export.spelling import Spelling
from typer.testing import CliRunner

Run = Callable[..., tuple[int, list[str], str]]


class Mean(torch.nn.Module):
    """Stands in for the depth net: a weighted mean over colours, wrong in the graph when `lies`."""

    lies = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        wrong = 1.0 if self.lies and torch.onnx.is_in_onnx_export() else 0.0
        return (frames.float() * self.scale).mean(-1) + wrong


class Cells(Mean):
    """Stands in for the DINO net: colours of cells of 2 x 2 px."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        pixels = (frames.float() * self.scale).permute(0, 3, 1, 2)
        return torch.nn.functional.avg_pool2d(pixels, 2).permute(0, 2, 3, 1)


def stand_in(name: str) -> types.SimpleNamespace:
    kind, output = {"depth": (Mean, "disparity"), "dino": (Cells, "features")}[name]

    def graphs(
        net: object, module: torch.nn.Module, spelling: Spelling = Spelling.CPU
    ) -> list[Graph]:
        rng = np.random.default_rng(0)
        examples = tuple(
            (rng.integers(0, 256, (*s, 3), np.uint8),) for s in ((1, 8, 12), (2, 10, 6))
        )
        return [Graph(name, module, examples, {output: 1e-3})]

    return types.SimpleNamespace(build_module=lambda net: kind(), graphs=graphs)


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> dict[str, types.SimpleNamespace]:
    table = {name: stand_in(name) for name in ("depth", "dino")}
    monkeypatch.setattr(weights, "net_module", table.__getitem__)
    return table


def test_targets_choose_the_spelling(
    run: Run, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another target rebuilds the nets whose graphs it writes otherwise, and those alone."""
    monkeypatch.setattr(spelling, "SPELLED_NETS", ("depth",))
    command = [*given(files, "depth", "dino"), "--out", tmp_path, "--target"]

    def spelled(target: str) -> dict[str, str]:
        code, lines, _ = run(*command, target)
        assert code == 0
        written.append({Path(line).stem for line in lines} - {"manifest"})
        return {name: e.spelling for name, e in manifest.read(tmp_path).engines.items()}

    written: list[set[str]] = []
    assert spelled("onnx") == {"depth": "cpu", "dino": "cpu"}
    assert spelled("onnx-gpu") == {"depth": "gpu", "dino": "cpu"}
    assert "--target onnx-gpu" in manifest.read(tmp_path).command("all", tmp_path)
    assert spelled("onnx-gpu") == {"depth": "gpu", "dino": "cpu"}
    assert spelled("auto") == {"depth": "cpu", "dino": "cpu"}
    assert "--target" not in manifest.read(tmp_path).command("all", tmp_path)
    assert written == [{"depth", "dino"}, {"depth"}, set(), {"depth"}]


def test_what_is_next_keeps_options_that_the_first_nets_do_not_show(
    run: Run, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samotion_export.half_precision.KEPT_NETS", ("depth",))
    command = [*given(files, "depth"), "--out", tmp_path]
    assert run(*command)[0] == 0
    for options in (["--target", "onnx-gpu"], ["--precision", "fp16"]):
        assert run(*command, *options)[:2] == (0, [str(tmp_path / "manifest.json")])
        said = manifest.read(tmp_path).command("sam2", tmp_path)
        assert " ".join(options) in said and said == cli.next_command(tmp_path).replace(
            "tracks dino motion sam2", "sam2"
        )
    assert run(*command)[0] == 0
    assert "--target" not in (said := cli.next_command(tmp_path)) and "--precision" not in said


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, lines of stdout, stderr less its first line and
    the advice at its end.
    """

    def call(*arguments: object) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["samotion-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        lines = [
            x
            for x in said.err.splitlines(keepends=True)
            if not x.startswith(("samotion 0.", "next: "))
        ]
        return int(ended.value.code or 0), said.out.splitlines(), "".join(lines)

    return call


@pytest.fixture
def files(tmp_path: Path, nets: object) -> dict[str, Path]:
    """A checkpoint for each stand-in."""
    state = {"scale": torch.tensor([0.2, 0.5, 0.3])}
    return {
        name: official.write(tmp_path / f"{name} weights.pt", name, state)
        for name in ("depth", "dino")
    }


def given(files: dict[str, Path], *names: str) -> list[str]:
    return [*names, *(f"--checkpoint={name}={files[name]}" for name in names)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder that `export` writes to."""
    return tmp_path / "e"


@pytest.fixture
def export(run: Run, files: dict[str, Path], out: Path) -> Run:
    """The command for some of the stand-ins, and options."""

    def call(*arguments: object) -> tuple[int, list[str], str]:
        names = [str(name) for name in arguments if name in files]
        options = [option for option in arguments if option not in files]
        return run(*given(files, *names), "--out", out, *options)

    return call


def visible(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.name != ".samotion-export.lock"}


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in visible(out)}


def test_exports_compares_and_reports(tmp_path: Path, run: Run, files: dict[str, Path]) -> None:
    out = tmp_path / "my engines/é"
    code, written, said = run(*given(files, "dino", "depth"), "--out", out)
    assert code == 0
    assert written == [str(out / "depth.onnx"), str(out / "dino.onnx"), str(out / "manifest.json")]
    assert [line.split(":")[0] for line in said.splitlines()] == ["depth", "dino"]
    assert visible(out) == {"depth.onnx", "dino.onnx", "manifest.json"}
    held = manifest.read(out)
    assert (held.preset, held.sam2) == ("nano", None)
    assert held.tools["torch"] == torch.__version__
    entry = held.engines["dino"]
    assert entry.weights_sha256 == manifest.sha256_of(files["dino"])
    assert entry.outputs == {"features": ["B", "GH", "GW", 3]}
    assert entry.parity["features"]["max_abs"] <= entry.parity["features"]["tolerance"] == 1e-3
    assert entry.parity["features"]["range"] > 1


def test_exported_engine_answers_as_the_weights_say(out: Path, export: Run) -> None:
    export("depth")
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    with samotion.open_engines(out, "cpu") as engines:
        got = engines["depth"](frames=frames)["disparity"]
    np.testing.assert_allclose(
        got, (frames * np.array([0.2, 0.5, 0.3], np.float32)).mean(-1), rtol=1e-5
    )


def test_second_run_skips_and_force_does_not(export: Run) -> None:
    export("depth", "dino")
    code, written, said = export("depth", "dino")
    assert (code, written) == (0, [])
    assert said == "depth: up to date (1 of 2 graphs)\ndino: up to date (2 of 2 graphs)\n"
    assert len(export("depth", "dino", "--force")[1]) == 3


def test_a_changed_checkpoint_rebuilds_just_that(
    out: Path, export: Run, files: dict[str, Path]
) -> None:
    export("depth", "dino")
    official.write(files["dino"], "dino", {"scale": torch.tensor([1.0, 2.0, 3.0])})
    _, written, said = export("depth", "dino")
    assert written == [str(out / "dino.onnx"), str(out / "manifest.json")]
    assert "depth: up to date" in said


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"edited")])
def test_a_missing_or_edited_engine_is_rebuilt(
    out: Path, export: Run, damage: Callable[[Path], object]
) -> None:
    export("depth", "dino")
    before = contents(out)
    damage(out / "depth.onnx")
    assert export("depth", "dino")[1] == [str(out / "depth.onnx"), str(out / "manifest.json")]
    assert contents(out) == before


def test_an_engine_that_was_not_compared_is_not_current_for_a_run_that_compares(
    export: Run,
) -> None:
    assert "not compared" in export("depth", "--no-verify")[2]
    assert export("depth", "--no-verify")[1] == []
    assert len(export("depth")[1]) == 2
    assert export("depth", "--no-verify")[1] == []


def test_changed_code_rebuilds_the_nets_that_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    shutil.copytree(
        Path(source.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("weights", "__pycache__"),
    )
    monkeypatch.setattr(source, "__file__", str(package / "source.py"))

    def hashes(precision: str) -> dict[str, str]:
        return {net: source.code_hash(net, precision) for net in NETS}

    def changed_by(file: str, precision: str = "fp32") -> set[str]:
        before = hashes(precision)
        path = package / file
        path.write_text(path.read_text() + "\n# edited\n")
        return {net for net, value in hashes(precision).items() if value != before[net]}

    assert changed_by("vit.py") == {"depth", "dino"}
    assert changed_by("checkpoints/download.py") == set()
    assert changed_by("tracks/layers.py") == {"tracks"}
    assert changed_by("sam2/hiera.py") == {"sam2"}
    assert changed_by("motion/camera.py") == {"motion"}
    assert changed_by("half_precision.py") == set()
    assert changed_by("half_precision.py", "fp16") == set(NETS)
    assert changed_by("graph.py") == set(NETS)


def test_switching_the_preset_keeps_what_both_share(out: Path, export: Run) -> None:
    export("depth", "dino", "--preset", "fast")
    _, written, said = export("depth", "dino", "--preset", "reference")
    assert written == [str(out / "depth.onnx"), str(out / "manifest.json")]
    assert "dino: up to date" in said
    assert manifest.read(out).preset == "reference"


def test_tells_what_begins_how_far_it_is_and_what_to_type_next(
    tmp_path: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my engines"
    outcome = CliRunner().invoke(cli.app, [*given(files, "depth", "dino"), "--out", str(out)])
    lines = outcome.stderr.splitlines()
    assert lines[0].endswith(f": exporting depth, dino of preset nano to {str(out)!r}")
    assert re.search(r" \(1 of 2 graphs, about \d+ s left\)$", lines[1]) and lines[2].endswith(
        " (2 of 2 graphs)"
    )
    assert lines[3] == f"next: samotion-export tracks motion sam2 --preset nano --out {str(out)!r}"


def test_a_terminal_has_the_count_in_its_bar_and_a_log_in_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for animated in (False, True):
        monkeypatch.setattr(Report, "animated", animated)
        report = Report()
        report.plan(3, "graphs")
        report.passed("tracks: up to date", 2)
        report.made("depth: exported")
    assert capsys.readouterr().err.splitlines() == [
        *("tracks: up to date (2 of 3 graphs)", "depth: exported (3 of 3 graphs)"),
        *("tracks: up to date", "depth: exported"),
    ]


def test_what_is_next_after_a_whole_export(engine_folder: Path) -> None:
    assert cli.next_command(engine_folder) == f"samotion-run --engine-dir {engine_folder} clip.mp4"


def test_what_is_next_with_a_causal_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    held = types.SimpleNamespace(get_preset=lambda: PRESETS["live"], missing_nets=tuple)
    monkeypatch.setattr("samotion.manifest.read", lambda _: held)
    assert cli.next_command(Path("e")) == "samotion-live --engine-dir e clip.mp4"


def test_a_preset_that_shares_all_takes_over_without_a_rebuild(out: Path, export: Run) -> None:
    export("depth", "--preset", "fast")
    code, written, said = export("depth", "--preset", "balanced")
    assert (code, written) == (0, [str(out / "manifest.json")])
    assert said == "depth: up to date\nmanifest.json: now preset 'balanced'\n"
    assert manifest.read(out).preset == "balanced"


def test_larger_refinement_is_recorded_and_changes_the_tracker_alone(
    out: Path, export: Run
) -> None:
    export("depth", "--preset", "fast")
    code, written, said = export("depth", "--preset", "fast", "--refine-px", "512")
    assert (code, written) == (0, [str(out / "manifest.json")])
    assert said == "depth: up to date\nmanifest.json: now preset 'fast' with refine_px 512\n"
    with samotion.open_engines(out, "cpu") as engines:
        assert engines.preset.tracks.refines_large
        assert "--preset fast --refine-px 512" in engines.manifest.command("tracks", out)
        with pytest.raises(EngineError, match="--refine-px 512"):
            engines["tracks_refine_large"]


def test_presets_are_never_mixed(out: Path, export: Run) -> None:
    export("depth", "dino", "--preset", "fast")
    before = contents(out)
    code, written, said = export("dino", "--preset", "nano")
    assert (code, written) == (2, [])
    assert "holds preset 'fast', whose depth differ from those of preset 'nano'" in said
    assert contents(out) == before


def test_another_sam2_size_is_recorded(out: Path, export: Run) -> None:
    export("depth", "--preset", "fast", "--sam2", "sam2.1_hiera_b+")
    with samotion.open_engines(out, "cpu") as engines:
        assert engines.preset.name == "fast"
        assert engines.preset.sam2.config == "sam2.1_hiera_b+"


def test_a_damaged_manifest_is_built_anew(out: Path, export: Run) -> None:
    out.mkdir()
    (out / "manifest.json").write_text("{")
    code, written, said = export("depth")
    assert (code, len(written)) == (0, 2)
    assert "damaged" in said and "building anew" in said


def test_a_graph_that_differs_is_refused_and_nothing_changes(
    out: Path, export: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    export("depth")
    before = contents(out)
    monkeypatch.setattr(Mean, "lies", True)
    code, written, said = export("depth", "--force")
    assert (code, written) == (6, [])
    assert said == (
        "error: depth: output 'disparity' differs from PyTorch by 1, tolerance 0.001; nothing was written for it\n"
    )
    assert contents(out) == before
    assert visible(out) == {"depth.onnx", "manifest.json"}
    assert export("depth", "--force", "--no-verify")[0] == 0


def test_weights_that_are_not_numbers_are_refused(export: Run, files: dict[str, Path]) -> None:
    official.write(files["depth"], "depth", {"scale": torch.tensor([1.0, float("nan"), 1.0])})
    code, _, said = export("depth")
    assert code == 6
    assert "not finite: the weights are damaged, or too large for half precision" in said


def test_foreign_files_stay_and_leftovers_go(out: Path, export: Run) -> None:
    (out / f"{STAGING}dead").mkdir(parents=True)
    mine = {"notes.txt", "depth.onnx.bak", "other.onnx"}
    for name in mine:
        (out / name).write_text("mine")
    assert export("depth")[0] == 0
    assert visible(out) == mine | {"depth.onnx", "manifest.json"}
    assert (out / "other.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    "name, text", [("manifest.json", '{"name": "my app"}'), ("depth.onnx", "")]
)
def test_files_of_others_in_the_way_are_refused_and_stay(
    out: Path, export: Run, name: str, text: str
) -> None:
    out.mkdir()
    (out / name).write_text(text)
    code, _, said = export("depth")
    assert code == 7 and f"holds {name!r}, which samotion-export did not write" in said
    assert visible(out) == {name} and (out / name).read_text() == text


def test_graphs_of_an_export_that_broke_off_are_built_anew(
    out: Path, export: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = manifest.write

    def full(folder: Path, held: manifest.Manifest) -> None:
        if held.engines:
            raise OSError(errno.ENOSPC, "full")
        write(folder, held)

    with monkeypatch.context() as patched:
        patched.setattr(manifest, "write", full)
        assert export("depth")[0] == 7
    assert visible(out) == {"depth.onnx", "manifest.json"}
    assert export("depth")[0] == 0


def test_weights_and_numbers_do_not_change_in_silence(
    out: Path, tmp_path: Path, export: Run, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    export("depth", "--set", "max_tracks=900")
    published = tmp_path / "published.safetensors"
    official.write(published, "depth", {"scale": torch.tensor([1.0, 2.0, 1.0])})
    sha256 = manifest.sha256_of(published)
    monkeypatch.setattr(download, "fetch", lambda *_, **__: (published, sha256))
    code, _, said = run("depth", "--out", out)
    assert code == 0
    assert "depth: was built from other weights (" in said and "--checkpoint depth=FILE" in said
    export("depth", "-q")
    said_quietly = run("depth", "--out", out, "-q")[2]
    assert said_quietly.startswith("depth: was built from other weights (")
    assert "manifest.json: now preset 'nano'; it was preset 'nano' with max_tracks=900" in said


@pytest.mark.parametrize("option", [["--preset", "fast"], ["--set", "max_tracks=9"]])
def test_triton_takes_no_option_that_builds_engines(
    tmp_path: Path, run: Run, option: list[str]
) -> None:
    code, _, said = run("triton", *option, "--out", tmp_path / "models")
    assert code == 2 and "triton serves engines as they are" in said
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("more", [[], ["--precision", "fp16", "--no-verify"]])
def test_a_clip_that_would_not_be_compared_is_refused(
    tmp_path: Path, run: Run, more: list[str]
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    code, _, said = run("all", "--verify-clip", clip, *more, "--out", tmp_path / "e")
    assert code == 2 and "--verify-clip has nothing to compare here" in said
    assert not (tmp_path / "e").exists()


def test_a_folder_in_use_is_refused(out: Path, export: Run) -> None:
    out.mkdir()
    with filelock.FileLock(out / ".samotion-export.lock"):
        code, _, said = export("depth")
    assert code == 7
    assert "another samotion-export is writing" in said


def test_an_out_that_is_a_file_is_refused(out: Path, export: Run) -> None:
    out.write_text("")
    code, _, said = export("depth")
    assert code == 7
    assert "choose another --out" in said


@pytest.mark.parametrize("place", ["x" * 300, "loop/e", "locked"])
def test_an_out_that_cannot_be_made_or_written_is_refused(
    out: Path,
    tmp_path: Path,
    run: Run,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "loop").symlink_to("loop")
    if place == "locked":
        monkeypatch.setattr("tempfile.mkdtemp", denied)
    code, written, said = run(*given(files, "depth"), "--out", tmp_path / place)
    assert (code, written) == (7, [])
    assert said.startswith(f"error: cannot write to {str(tmp_path / place)!r}: ")
    assert said.endswith("; choose another --out\n") and said.count("\n") == 1


@pytest.mark.parametrize(
    "cause, code",
    [
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "full"), 7),
        (ZeroDivisionError("oops"), 1),
        (None, 143),
    ],
)
def test_an_interrupted_export_leaves_nothing_half_written(
    out: Path, export: Run, monkeypatch: pytest.MonkeyPatch, cause: BaseException | None, code: int
) -> None:
    def interrupted(*arguments: object) -> None:
        if cause is not None:
            raise cause
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr("samotion_export.parity.verify.compare", interrupted)
    got, written, said = export("depth")
    assert (got, written) == (code, [])
    assert len(said.splitlines()) == 1
    assert visible(out) == set()


def test_a_wrong_checkpoint_is_named(out: Path, tmp_path: Path, run: Run, nets: object) -> None:
    torch.save(
        {"image_encoder.patch_embed.proj.weight": torch.zeros(1)}, tmp_path / "sam_vit_h.pth"
    )
    code, _, said = run("dino", f"--checkpoint=dino={tmp_path / 'sam_vit_h.pth'}", "--out", out)
    assert code == 4
    assert "this is SAM 1, expected" in said
    code, _, said = run("dino", "--checkpoint=dino=/dev/null", "--out", out)
    assert code == 4
    assert said == "error: checkpoint '/dev/null' is a folder or device, expected a file\n"


@pytest.mark.parametrize("has_file", [False, True])
def test_a_checkpoint_of_no_use_is_told_before_anything_is_replaced(
    out: Path, tmp_path: Path, export: Run, run: Run, files: dict[str, Path], has_file: bool
) -> None:
    other = tmp_path / "other.pt"
    export("depth", "dino")
    before = contents(out)
    if has_file:
        torch.save({"scale": torch.zeros(5)}, other)
    official.write(files["depth"], "depth", {"scale": torch.tensor([1.0, 2.0, 3.0])})
    arguments = given({**files, "dino": other}, "depth", "dino")
    code, written, said = run(*arguments, "--out", out)
    assert (code, written) == (4, [])
    assert said.count("\n") == 1 and "other.pt" in said
    assert contents(out) == before


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        ([], 2, "name what to export"),
        (["colour"], 2, "colour is not one of all, tracks"),
        (["all", "--preset", "huge"], 2, "'huge' is not one of nano, fast"),
        (["all", "--sam2", "sam3"], 2, "'sam3' is not one of sam2.1_hiera_t"),
        (["depth", "--checkpoint", "depth"], 2, "'depth' is not NET=FILE"),
        (["depth", "--checkpoint", "colour=a.pt"], 2, "'colour=a.pt' is not NET=FILE"),
        (
            ["depth", "--checkpoint", "depth=a", "--checkpoint", "depth=b"],
            2,
            "depth has two checkpoints",
        ),
        (["depth", "--checkpoint", "dino=a"], 2, "dino is not exported"),
        (["all", "--frobnicate"], 2, "--frobnicate"),
        (["all", "--target", "tensorrt"], 5, "TensorRT is not installed"),
    ],
)
def test_misuse(run: Run, arguments: list[str], code: int, said: str) -> None:
    got, written, err = run(*arguments)
    assert (got, written) == (code, [])
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_missing_packages_are_named(
    export: Run, nets: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(net: object) -> None:
        raise ModuleNotFoundError("No module named 'sam2'", name="sam2")

    nets["depth"] = types.SimpleNamespace(build_module=absent)
    code, _, said = export("depth")
    assert code == 5
    assert "pip install --no-deps --no-build-isolation sam2==1.1.0" in said
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "onnx" else name)
    code, _, said = export("depth")
    assert code == 5
    assert said == "error: exporting needs onnx; install with: pip install 'samotion[export]'\n"


def test_quiet_and_verbose(tmp_path: Path, run: Run, files: dict[str, Path]) -> None:
    assert run(*given(files, "depth"), "--out", tmp_path / "a", "-q")[2] == ""
    assert str(files["depth"]) in run(*given(files, "depth"), "--out", tmp_path / "b", "-v")[2]
    (tmp_path / "file").write_text("")
    assert "Traceback" in run(*given(files, "depth"), "--out", tmp_path / "file", "-v")[2]


def test_all_stands_for_every_net_and_order_is_the_contracts() -> None:
    assert cli.parse_nets(["all", "depth"]) == NETS
    assert cli.parse_nets(["sam2", "tracks"]) == ("tracks", "sam2")


def test_weights_over_the_limit_of_onnx_fail_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samotion_export import graph

    monkeypatch.setattr(graph, "MAX_ONNX_BYTES", 11)
    tiny = stand_in("depth").graphs(None, Mean())[0]
    with pytest.raises(EngineError, match="an ONNX file holds"):
        graph.export_onnx(tiny, tmp_path / "depth.onnx")
    monkeypatch.setattr(graph, "MAX_ONNX_BYTES", 12)
    graph.export_onnx(tiny, tmp_path / "depth.onnx")


def test_relative_tolerance_is_of_the_range(tmp_path: Path) -> None:
    from samotion.errors import ParityError
    from samotion_export import graph
    from samotion_export.parity import verify

    tiny = replace(stand_in("depth").graphs(None, Mean())[0], relative=True)
    graph.export_onnx(tiny, tmp_path / "depth.onnx")
    answers = [graph.run_module(tiny, example) for example in tiny.examples]
    off = [{"disparity": answer["disparity"] + 0.1} for answer in answers]
    assert verify.compare(tiny, tmp_path / "depth.onnx", off)["disparity"]["relative"] < 1e-3
    with pytest.raises(ParityError, match="of its range"):
        verify.compare(
            tiny, tmp_path / "depth.onnx", [{"disparity": a["disparity"] * 1.01} for a in answers]
        )


def test_every_engine_of_nano_opens(engine_folder: Path) -> None:
    with samotion.open_engines(engine_folder, "cpu", threads=1) as engines:
        assert engines.preset == NANO
        engines.open_all()
        assert set(engines.manifest.engines) == {
            name for net in NETS for name in engines_of(net, getattr(NANO, net))
        }
        assert engines.entry("sam2_track").meta == {"memory_frames": 7, "max_pointers": 16}


@pytest.mark.parametrize(
    "place, banned",
    [("runtime/samotion/x.py", [1, 2, 3, 4]), ("export/samotion_export/x.py", [])],
)
def test_ruff_bans_torch_in_the_runtime(place: str, banned: list[int]) -> None:
    lines = (
        "import torch\n"
        "from torch import nn\n"
        "from samotion_export import graph\n"
        "from runtime import samotion\n"
    )
    options = ["--select", "TID251", "--output-format", "concise", "--stdin-filename", place, "-"]
    command = [sys.executable, "-m", "ruff", "check", *options]
    result = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=ROOT)
    told = re.findall(r"x\.py:(\d+):\d+: TID251", result.stdout)
    assert [int(line) for line in told] == banned, result.stdout + result.stderr


def test_a_missing_sam2_is_told_before_any_work(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "sam2" else name)
    code, written, said = run("all", "--out", tmp_path / "e")
    assert (code, written) == (5, [])
    assert "error: exporting needs sam2; install with: pip install --no-deps" in said
    assert not (tmp_path / "e").exists()
