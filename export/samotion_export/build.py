"""One net's weights become graphs and engines, compared with their source, in a staging folder
first.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from samotion.checks.json_tables import short_line
from samotion.errors import EngineError
from samotion.manifest import Entry, Manifest, sha256_of

from samotion_export import half_precision, staging_in
from samotion_export.checkpoints import weights
from samotion_export.graph import Graph, export_onnx, run_module, shapes_of
from samotion_export.parity import half as half_parity
from samotion_export.parity import verify
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.source import Source
from samotion_export.spelling import spelling_of
from samotion_export.trt import build as trt_build


def build_net(
    source: Source, request: Request, report: Report
) -> tuple[dict[str, Entry], list[Path]]:
    """Export and compare all graphs of one net in a staging folder, then move them into place
    together.
    """
    report.detail(f"{source.net}: weights {str(source.path)!r} (sha256 {source.weights_sha256})")
    module = load_net(source, request, report)
    with staging_in(request.out) as staging, _numbers_blamed(source.net, request):
        spelling = spelling_of(source.net, request.target)
        make = weights.net_module(source.net).graphs
        graphs: list[Graph] = make(source.config, module.eval(), spelling)
        made, wanted = {graph.name for graph in graphs}, {*request.engines_of(source.net)}
        assert made == wanted, f"graphs of {source.net}: {made}; the contract's: {wanted}"
        entries = {}
        while graphs:
            graph = graphs.pop(0)
            entries[graph.name] = _export_graph(graph, staging, source, request, report)
            del graph
            gc.collect()
        for entry in entries.values():
            os.replace(staging / entry.file, request.out / entry.file)
    return entries, [request.out / entry.file for entry in entries.values()]


def load_net(source: Source, request: Request, report: Report) -> torch.nn.Module:
    """One net with the weights of its source. Raises EngineError for a checkpoint of another
    net.
    """
    with report.working(f"{source.net}: loading weights"):
        with _numbers_blamed(source.net, request):
            module = weights.build_module(source.net, source.config)
        module.load_state_dict(weights.load(source.net, source.config, source.path, module))
    return module


@contextmanager
def _numbers_blamed(net: str, request: Request) -> Iterator[None]:
    """Raises EngineError for the user's numbers where no net can have them."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # PyTorch's, of shapes that do not meet
        if not request.overrides:
            raise
        numbers = " ".join(f"--set {name}={value}" for name, value in request.overrides.items())
        raise EngineError(
            f"{net}: no net can be built with {numbers} ({short_line(error)}); choose other numbers"
        ) from error


def build_engines(
    device: trt_build.Target, net: str, held: Manifest, request: Request, report: Report
) -> tuple[dict[str, Entry], list[Path]]:
    """Build what TensorRT engines of one net are not current, and move them into place together."""
    preset = request.chosen()
    names = request.engines_of(net)
    todo = [
        name for name in names if not trt_build.is_current(held.engines[name], name, preset, device)
    ]
    report.passed(None, len(names) - len(todo))
    with staging_in(request.out) as staging:
        folders = staging, request.out
        entries = {}
        for name in todo:
            graph = request.out / f"{name}.onnx"
            entries[name] = trt_build.build(
                name, held.engines[name], graph, preset, device, folders, report
            )
        for entry in entries.values():
            os.replace(staging / entry.file, request.out / entry.file)
    return entries, [request.out / entry.file for entry in entries.values()]


def _export_graph(
    graph: Graph, staging: Path, source: Source, request: Request, report: Report
) -> Entry:
    start = time.perf_counter()
    path = staging / f"{graph.name}.onnx"
    with report.working(f"{graph.name}: exporting"):
        examples = graph.examples if request.verify else graph.examples[:1]
        answers = [run_module(graph, example) for example in examples]
        inputs, outputs = shapes = shapes_of(graph, answers[0])
        export_onnx(graph, path, shapes)
    with report.working(f"{graph.name}: comparing with PyTorch"):
        parity = verify.compare(graph, path, answers) if request.verify else {}
    precision = half_precision.precision_of(source.net, request.precision)
    if precision == "fp16":
        with report.working(f"{graph.name}: converting to half precision"):
            half_precision.convert(path, graph.name)
            parity = half_parity.compare(graph, path, answers) if request.verify else {}
    os.chmod(path, 0o644)
    sha256 = sha256_of(path)
    report.made(_line(graph, path.stat().st_size, time.perf_counter() - start, parity))
    weights_sha256 = source.weights_sha256
    return Entry(
        path.name,
        sha256,
        sha256,
        weights_sha256,
        precision,
        inputs,
        outputs,
        parity,
        source.key,
        dict(graph.meta),
        spelling=spelling_of(source.net, request.target).value,
    )


def _line(graph: Graph, size: int, seconds: float, parity: verify.Parity) -> str:
    text = f"{graph.name}: exported, {size / 1e6:.1f} MB, {seconds:.1f} s"
    if not parity:
        return text + ", not compared"
    if any("tolerance" not in figures for figures in parity.values()):
        name, measure = half_parity.worst(parity)
        limit = parity[name][f"{measure}_limit"]
        return (
            text
            + f", differs in {name} by {parity[name][measure]:.1g} {measure} (limit {limit:.1g})"
        )
    kind = "relative" if graph.relative else "max_abs"
    name = max(parity, key=lambda output: parity[output][kind] / parity[output]["tolerance"])
    return (
        text + f", differs by {parity[name][kind]:.1g} in {name} (tolerance"
        f" {parity[name]['tolerance']:.1g})"
    )
