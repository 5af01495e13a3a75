"""What stands around the code: workflow, hooks, templates, citation and changelog fit the
project.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import samotion
from helpers.paths import ROOT

yaml = pytest.importorskip("yaml")

FILES = [
    *(ROOT / ".github").rglob("*.yml"),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]
CI = ROOT / ".github" / "workflows" / "ci.yml"


def _steps() -> list[dict[str, Any]]:
    jobs = yaml.safe_load(CI.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_yaml_files_parse(file: Any) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_actions_are_pinned_by_major_version() -> None:
    used = [step["uses"] for step in _steps() if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", name)] == []


def test_the_matrix_begins_at_the_lowest_python() -> None:
    lowest = re.search(r'requires-python = ">=([\d.]+)', (ROOT / "pyproject.toml").read_text())
    matrix = yaml.safe_load(CI.read_text())["jobs"]["light"]["strategy"]["matrix"]["python"]
    assert lowest is not None
    assert matrix[0] == lowest.group(1)
    assert matrix == sorted(matrix, key=lambda version: int(version.split(".")[1]))


def test_light_tests_need_only_what_their_job_installs() -> None:
    steps = yaml.safe_load(CI.read_text())["jobs"]["light"]["steps"]
    (install,) = (step["run"] for step in steps if step.get("run", "").startswith("pip install"))
    ours = {"click": "click", "onnx": "onnx", "pillow": "PIL", "ray": "ray", "torch": "torch"}
    absent = [module for package, module in ours.items() if package not in install.split()]
    program = (
        f"import sys; sys.modules |= dict.fromkeys({absent}); import pytest; pytest.console_main()"
    )
    collect = ["tests/runtime", "--light", "--collect-only", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-c", program, *collect], cwd=ROOT, capture_output=True, text=True
    )
    assert "ModuleNotFoundError" not in done.stdout and done.returncode == 0, done.stdout[-2000:]


def test_make_targets_of_the_workflow_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = {
        name
        for step in _steps()
        for name in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.M)
    }
    assert {"check"} <= used <= targets


def test_hooks_run_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text()
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert all(f"/{tool}" in lint for tool in tools)


def test_forms_have_what_a_form_needs() -> None:
    forms = list((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 3
    for form in forms:
        fields = yaml.safe_load(form.read_text())
        ids = [field["id"] for field in fields["body"] if field["type"] != "markdown"]
        assert fields["name"] and fields["description"] and len(ids) == len(set(ids)) > 0


def test_citation_and_changelog_name_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == samotion.__version__
    assert citation["license"] == "Apache-2.0"
    assert samotion.__version__ in (ROOT / "CHANGELOG.md").read_text()
