"""Which modules of the project import which, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from helpers.paths import ROOT

ROOTS = {
    "samotion": "runtime",
    "samotion_export": "export",
    "samotion_training": "training",
    "samotion_bench": "benchmarks",
}
Graph = dict[str, set[str]]


def modules(package: str) -> dict[str, Path]:
    """Files of a package by the name that an import gives them."""
    root = ROOT / ROOTS[package]
    files = {
        ".".join(f.relative_to(root).with_suffix("").parts): f
        for f in root.rglob(f"{package}/**/*.py")
    }
    return {name.removesuffix(".__init__"): file for name, file in files.items()}


def every_module() -> dict[str, Path]:
    return {name: file for package in ROOTS for name, file in modules(package).items()}


def imports(source: str, known: set[str], inside: bool = True) -> set[str]:
    """Those of the `known` modules that a source imports, those for types alone left out.

    `inside`: also what is imported inside functions.
    """
    return {module for node in _run(ast.parse(source), inside) for module in _named(node, known)}


@cache
def graph(inside: bool = True) -> Graph:
    """By module: those that it imports. Read only."""
    files = every_module()
    known = set(files)
    return {name: imports(file.read_text(), known, inside) - {name} for name, file in files.items()}


def circle(edges: Graph) -> list[str]:
    """The modules of one import circle; none, where there is no circle."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _run(node: ast.AST, inside: bool) -> Iterator[ast.AST]:
    """The statements below a node that are run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if not inside and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _run(child, inside)


def _named(node: ast.AST, known: set[str]) -> set[str]:
    """Modules that one import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known
    if not isinstance(node, ast.ImportFrom):
        return set()
    assert not node.level, "imports name the whole module"
    parent = node.module or ""
    parts = {f"{parent}.{alias.name}" for alias in node.names}
    names_of_it = {part for part in parts if part not in known}
    return (parts & known) | ({parent} & known if names_of_it else set())
