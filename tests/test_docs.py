"""The pages are held to the programs: links lead somewhere, commands parse, what is named
exists.
"""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from samotion import errors
from samotion.commands import exits

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
SOURCES = (
    "runtime/samotion",
    "export/samotion_export",
    "training/samotion_training",
    "benchmarks/samotion_bench",
)
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "training").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        ROOT / "engines" / "README.md",
        *(page for source in SOURCES for page in (ROOT / source).rglob("*.md")),
    }
)
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.M | re.S)
NAMED = re.compile(r"`([^`\n]+)`")
ENVIRONMENT = re.compile(r"^[A-Z_]+=")
TRAINING = re.compile(r"python -m (samotion_training\.\w+) (.+)")
TITLES = re.compile(r"^#{1,6} (.+)$", re.M)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_lists_begin_after_a_blank_line(page: Path) -> None:
    """Else the docs site has their items run on in the paragraph before them."""
    prose = TITLES.sub("\n", _prose(page))
    for block in re.split(r"\n\s*\n", prose):
        first, *others = block.strip("\n").split("\n")
        marked = [line for line in others if re.match(r"[-*] ", line)]
        assert re.match(r" *[-*] |<!--", first) or not marked, f"{first} ... {marked[0]}"


# Links


def _slug(title: str) -> str:
    """The anchor that a title gets."""
    kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
    return kept.replace(" ", "-")


@cache
def _anchors(page: Path) -> set[str]:
    found: set[str] = set()
    for title in TITLES.findall(_prose(page)):
        slug = _slug(title)
        twins = sum(1 for other in found if re.fullmatch(re.escape(slug) + r"(-\d+)?", other))
        found.add(f"{slug}-{twins}" if twins else slug)
    return found


def _dead(page: Path) -> Iterator[str]:
    text = NAMED.sub("", _prose(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Any) -> None:
    assert list(_dead(page)) == []


def test_every_page_of_docs_is_linked() -> None:
    pages = list((ROOT / "docs").glob("*.md"))
    links = (ROOT / "README.md").read_text().replace("](docs/", "](")
    texts = {page: links + "".join(p.read_text() for p in pages if p != page) for page in pages}
    assert [page.name for page, text in texts.items() if f"]({page.name}" not in text] == []


def test_the_site_links_to_the_repository_and_asks_it_nothing() -> None:
    hooks = runpy.run_path(str(ROOT / ".ci" / "docs_links.py"))
    address = "https://github.com/samotion/samotion"
    page = f'<a href="{address}" class="md-source" data-md-component="source"></a>'
    expected = f'<a href="{address}" class="md-source"></a>'
    assert hooks["on_post_page"](page) == hooks["on_post_template"](page) == expected


def test_anchors_are_those_of_the_titles() -> None:
    assert _slug("3. The stages") == "3-the-stages"
    assert _slug("`no NVIDIA GPU is visible`, `x`") == "no-nvidia-gpu-is-visible-x"


# Commands


@cache
def _programs() -> dict[str, str]:
    """The installed commands by name: module and function, as pyproject.toml has them."""
    section = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[1].split("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "([\w.:]+)"', section, re.M))


@cache
def _command(program: str) -> Any:
    module = importlib.import_module(_programs()[program].split(":")[0])
    return typer.main.get_command(module.app)


def _lines(page: Path) -> Iterator[str]:
    """Every command line of a page: of its code blocks, and between backticks where it has
    arguments.
    """
    text = page.read_text()
    for block in FENCE.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (
        name for name in NAMED.findall(FENCE.sub("", text)) if " " in name and "…" not in name
    )


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for line in _lines(page):
            words = line.split("#")[0].split()
            while words and (words[0] == "$" or ENVIRONMENT.match(words[0])):
                words.pop(0)
            if words and words[0] in _programs():
                found.append((_name(page), " ".join(words)))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), _commands())
def test_commands_parse(page: Any, line: Any) -> None:
    program, *arguments = shlex.split(line)
    command = _command(program)
    context = command.context_class(command, info_name=program)
    _, left, _ = command.make_parser(context).parse_args(arguments)
    assert left == []


def test_the_pages_show_every_program() -> None:
    assert {line.split()[0] for _, line in _commands()} == set(_programs())


def test_a_wrong_option_would_be_found() -> None:
    command = _command("samotion-run")
    context = command.context_class(command, info_name="samotion-run")
    with pytest.raises(Exception, match="no-such-option"):
        command.make_parser(context).parse_args(["--no-such-option", "clip.mp4"])


def _training_commands() -> list[tuple[str, str, str]]:
    lines = ((_name(page), TRAINING.match(line)) for page in PAGES for line in _lines(page))
    return [(page, found[1], found[2]) for page, found in lines if found]


@pytest.mark.parametrize(("page", "module", "arguments"), _training_commands())
def test_training_commands_parse(page: Any, module: Any, arguments: Any) -> None:
    parser = importlib.import_module(module).parser()
    assert parser.parse_args(shlex.split(arguments, comments=True))


def test_the_pages_show_every_training_command() -> None:
    sources = (ROOT / "training" / "samotion_training").glob("*.py")
    commands = {f"samotion_training.{p.stem}" for p in sources if "def main(" in p.read_text()}
    assert {module for _, module, _ in _training_commands()} == commands


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M))
    assert {"demo", "test"} <= named <= targets


# Names


def _is_path(name: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+(/|\.(py|md|toml|yml|yaml|cff|json|txt))", name))


def _path_exists(name: str) -> bool:
    return any((ROOT / folder / name).exists() for folder in ("", *SOURCES))


def _module_exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def _names(page: Path) -> set[str]:
    return set(NAMED.findall(_prose(page)))


GENERATED = {"manifest.json", "run.json", "objects.json", "hashes.json", "bench.json", "scene.json"}


def test_files_named_in_the_architecture_exist() -> None:
    names = {name for name in _names(ROOT / "docs" / "architecture.md") if _is_path(name)}
    assert len(names) > 20
    assert sorted(name for name in names - GENERATED if not _path_exists(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_modules_named_in_pages_exist(page: Any) -> None:
    kind = r"samotion(_export|_bench|_training)?(\.\w+)+(\(.*\))?"
    names = {name.split("(")[0] for name in _names(page) if re.fullmatch(kind, name)}
    assert sorted(name for name in names if not _module_exists(name)) == []


def test_sections_of_the_method_that_code_cites_exist() -> None:
    method = (ROOT / "docs" / "method.md").read_text()
    titles = set(re.findall(r"^#{2,3} (?:Stage )?([\d.]+\d|\d)", method, re.M))
    cited = set()
    for path in (
        *(p for s in SOURCES for p in (ROOT / s).rglob("*.py")),
        *(ROOT / "tests").rglob("*.py"),
    ):
        for found in re.findall(
            r"docs/method\.md, ((?:stage|section)s? [\d., and to]*\d)", path.read_text()
        ):
            cited |= set(re.findall(r"\d+(?:\.\d+)?", found))
    assert cited
    assert cited <= titles


# Messages


@cache
def _messages() -> str:
    """All strings of the source on one line each, with what is filled in as `…`."""
    lines = []
    for path in (p for s in SOURCES for p in (ROOT / s).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                lines.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines.append(node.value)
    return "\n".join(" ".join(line.replace("'", "").split()) for line in lines)


def _said(message: str) -> bool:
    """Whether some string of the source says this; `…` in it stands for anything."""
    pieces = [re.escape(piece.strip()) for piece in message.replace("'", "").split("…")]
    return re.search(r"[^\n]*".join(pieces), _messages()) is not None


def _symptoms() -> list[str]:
    titles = re.findall(r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
    own = [message for title in titles for message in NAMED.findall(title)]
    return [
        message for message in own if message not in ("command not found: samotion-run", "Killed")
    ]


@pytest.mark.parametrize("message", _symptoms())
def test_messages_of_the_troubleshooting_are_said(message: Any) -> None:
    assert _said(message.removeprefix("error: ")), "no one string of the source says this"


def test_every_exit_code_is_in_the_tables() -> None:
    kinds = [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.SamotionError)
    ]
    codes = {one.__name__: one.exit_code for one in kinds[1:]}
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    told = dict(re.findall(r"^\| `(\w+Error)` \| (\d+) \|", architecture, re.M))
    assert {name: str(code) for name, code in codes.items()} == told, "docs/architecture.md, Errors"
    every = sorted([exits.INTERNAL, *codes.values(), exits.SOME_FAILED])
    assert every == [*range(1, len(every) + 1)], "each kind has a code of its own"
    troubleshooting = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .* \| .* \|$", troubleshooting, re.M)
    assert rows == [*map(str, every)], "docs/troubleshooting.md, its first table"
    line = (ROOT / "README.md").read_text().partition("Exit codes: 0 done, ")[2].split(".")[0]
    assert re.findall(r"\b\d+(?= )", line)[: len(every)] == rows, "README.md, Exit codes"


def test_a_message_that_nothing_says_would_be_found() -> None:
    assert not _said("no such thing was ever … by anyone")


# Words

PRIVATE = re.compile(r"\b(movers?|nearness|sights?|travellers?|ballots?|second look|loose)\b", re.I)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pages_use_the_words_of_the_field(page: Any) -> None:
    assert PRIVATE.findall(NAMED.sub("", _prose(page))) == []
