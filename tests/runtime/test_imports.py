"""Names come when they are asked for: a command that only helps loads no array library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import samotion
from helpers.paths import ROOT

if TYPE_CHECKING:
    from samotion.backends.engines import Engines

HEAVY = {"numpy", "cv2", "av", "onnxruntime", "torch", "pycocotools", "rich"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    tail = "\nimport sys; sys.stdout.write('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("option", ["--help", "--version", "--nonsense"])
@pytest.mark.parametrize(
    "module", ["samotion.commands.run", "samotion_bench.bench", "samotion_bench.evaluate"]
)
def test_help_loads_nothing_heavy(module: str, option: str) -> None:
    code = f"import sys; sys.argv[1:] = [{option!r}]\nfrom {module} import main\n"
    assert not HEAVY & modules_after(f"{code}try: main()\nexcept SystemExit: pass")


def test_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & modules_after("import samotion; dir(samotion)")


def test_the_runtime_loads_nothing_that_only_an_export_needs() -> None:
    loaded = modules_after("import samotion, samotion.commands.run, samotion.commands.check")
    assert not {"torch", "onnx", "sam2", "safetensors", "samotion_export"} & loaded


def test_a_model_repository_needs_neither_pytorch_nor_onnx() -> None:
    assert not {"torch", "onnx"} & modules_after("import samotion_export.bundle.triton")


def test_every_public_name_is_there() -> None:
    for name in samotion.__all__:
        assert getattr(samotion, name) is not None and name in dir(samotion)
    assert samotion.clips and samotion.errors and samotion.ray and samotion.results
    from samotion import commands, masks, prompts, video

    assert samotion.sam2.propagate and samotion.tracks.track and video.read_clip
    assert commands.run_command and masks.merge and prompts.group
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        samotion.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_name_of_the_api_page_is_there_after_one_import() -> None:
    """Each in a fresh samotion: another name may have imported what it lies in."""
    names = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert "samotion.clips.video.read_clip" in names and len(names) > 20
    code = (
        "import sys\n"
        f"for name in {names}:\n"
        "    for module in [one for one in sys.modules if one.split('.')[0] == 'samotion']:\n"
        "        del sys.modules[module]\n"
        "    import samotion\n"
        "    eval(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("room", ["clips", "results"])
def test_names_that_are_wrong_are_told_in_a_room_too(room: str) -> None:
    with pytest.raises(
        AttributeError, match=f"module 'samotion.{room}' has no attribute 'nothing'"
    ):
        _ = getattr(samotion, room).nothing


def typed(engines: Engines, frames: Any) -> None:
    """What a type checker makes of code of users: it is checked, and never run. What it must tell is
    ignored, and it tells of lines that are ignored for nothing.
    """
    samotion.segment_clp  # type: ignore[attr-defined]  # noqa: B018
    samotion.live.Sesion  # type: ignore[attr-defined]  # noqa: B018
    samotion.errors.InptError  # type: ignore[attr-defined]  # noqa: B018
    session: int = samotion.live.Session(engines)  # type: ignore[assignment]
    clip: int = samotion.clips.video.read_clip("a.mp4")  # type: ignore[assignment]
    result = samotion.segment_clip([frames[0], frames[1]], engines)
    result.save("out", overwrte=True)  # type: ignore[call-arg]
    detections: int = result.to_supervision(0)  # type: ignore[assignment]
    samotion.depth.estimate(engines, result.clip.frames)
    with closing(samotion.segment_windows(frames, engines)) as windows:
        next(windows)
    with closing(samotion.segment_clips(["a.mp4", frames, result.clip], engines)) as results:
        next(results)
    print(session, clip, detections)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_onnxruntime_reports_nothing_unless_the_user_wants_it(
    before: str | None, after: str
) -> None:
    name = "ORT_DISABLE_TELEMETRY"
    env = {key: value for key, value in os.environ.items() if key != name}
    env |= {} if before is None else {name: before}
    code = f"import os, samotion; print(os.environ[{name!r}])"
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == after, done.stderr
