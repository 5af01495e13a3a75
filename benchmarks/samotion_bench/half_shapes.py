"""What half precision costs graphs of the published nets' shapes, with random weights, rounded as a
GPU rounds.

    python -m samotion_bench.half_shapes --preset fast

Writes benchmarks/results/half-PRESET.md. Random nets are harsher than trained ones where they
choose: their heat maps and masks are flat, so that rounding alone may move a maximum. It takes ten
minutes of one core.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from samotion.contract import NETS
from samotion.presets import PRESETS
from samotion_export import half_precision as half
from samotion_export.checkpoints.weights import build_module, net_module
from samotion_export.graph import Graph, export_onnx, run_module
from samotion_export.parity import half as half_parity
from samotion_export.parity.verify import Parity
from samotion_export.spelling import Spelling

from samotion_bench import pages

NOTE = (
    "Random weights show what rounding does at these sizes, every tensor being rounded. Trained"
    " weights have\n"
    "wider ranges and sharper choices: what masks lose is measured on nano (half-nano.md), and"
    " on any weights by\n"
    "`samotion-export all --precision fp16 --verify-clip CLIP`."
)

HEAD = ("graph", "MB float32", "MB half", "output", "measure", "is", "limit")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Row(NamedTuple):
    """One graph: MB in float32 and in half precision, and the figures of each output."""

    name: str
    mb: tuple[float, float]
    parity: Parity


@app.command()
def check(preset: Annotated[str, typer.Option(help="Whose nets' shapes.")] = "fast") -> None:
    """Measure every half-precision graph of a preset's shapes against PyTorch in float32."""
    nets = PRESETS[preset]
    rows = [
        row
        for net in NETS
        if net not in half.KEPT_NETS
        for row in measure_net(net, getattr(nets, net))
    ]
    print(pages.write(pages.RESULTS / f"half-{preset}.md", to_page(preset, rows)))


def measure_net(net: str, config: Any) -> Iterator[Row]:
    """Every graph of one net with random weights."""
    import torch

    torch.manual_seed(0)
    graphs: list[Graph] = net_module(net).graphs(
        config, build_module(net, config).eval(), Spelling.GPU
    )
    while graphs:
        row = measure_graph(graphs.pop(0))
        print(row.name, row.parity, flush=True)
        yield row
        gc.collect()


def measure_graph(graph: Graph) -> Row:
    """Size and parity of one graph before and after it is made half."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{graph.name}.onnx"
        answers = [run_module(graph, example) for example in graph.examples]
        export_onnx(graph, path)
        before = path.stat().st_size
        half.convert(path, graph.name)
        return Row(
            graph.name,
            (before / 1e6, path.stat().st_size / 1e6),
            half_parity.measure(graph, path, answers),
        )


def to_page(preset: str, rows: list[Row]) -> list[str]:
    """The rows as a page of Markdown."""
    cells = []
    for row in rows:
        for output, figures in row.parity.items():
            for key in (key for key in figures if key.endswith("_limit")):
                measure = key.removesuffix("_limit")
                sizes = f"{row.mb[0]:.2f}", f"{row.mb[1]:.2f}"
                found = f"{figures[measure]:.2g}", f"{figures[key]:.2g}"
                cells.append((row.name, *sizes, output, measure, *found))
    full, halved = (sum(row.mb[i] for row in rows) for i in range(2))
    kept = ", ".join(half.KEPT_NETS)
    return [
        f"# Half precision against float32: shapes of {preset}, random weights",
        "",
        f"`python -m samotion_bench.half_shapes --preset {preset}`",
        "",
        NOTE,
        "",
        *pages.table(HEAD, cells),
        "",
        f"All but {kept}, which stays float32: {halved / full:.3f} of float32's size.",
    ]


if __name__ == "__main__":
    app()
