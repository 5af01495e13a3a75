"""Names come when they are asked for: a command that only helps loads no array library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import samotion

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
        samotion.nothing  # noqa: B018


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
