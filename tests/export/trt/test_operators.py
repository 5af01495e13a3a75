"""No graph holds what TensorRT's parser refuses; and the check would notice if one did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from helpers import graphs
from samotion.contract import NETS, engines_of
from samotion.presets import (
    BOOTSTAPIR,
    DEPTH_LARGE,
    DEPTH_SMALL,
    DINO_BASE,
    MOSEG,
    SAM20_LARGE,
    SAM21_BASE_PLUS,
    SAM21_TINY,
    VitNet,
)
from samotion_export.checkpoints.weights import build_module, net_module
from samotion_export.graph import export_onnx
from samotion_export.spelling import SPELLED_NETS, Spelling
from samotion_export.trt import operators

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
SHALLOW = replace(BOOTSTAPIR, blocks_per_group=1, extra_convs=1, mixer_blocks=1, iterations=1)
# The official nets with the layers that only repeat taken out: the kinds of nodes stay. The larger
# ones of SAM 2 on small frames.
OFFICIAL: dict[str, tuple[str, Any]] = {
    "tracks": ("tracks", SHALLOW),
    "depth": ("depth", replace(DEPTH_SMALL, vit=VitNet(384, 4), taps=(0, 1, 2, 3))),
    "depth_large": ("depth", replace(DEPTH_LARGE, vit=VitNet(1024, 4), taps=(0, 1, 2, 3))),
    "dino": ("dino", replace(DINO_BASE, vit=VitNet(768, 2))),
    "motion": ("motion", MOSEG),
    "sam2.1_hiera_t": ("sam2", SAM21_TINY),
    "sam2.1_hiera_b+": ("sam2", replace(SAM21_BASE_PLUS, image_size_px=256)),
    "sam2_hiera_l": ("sam2", replace(SAM20_LARGE, image_size_px=256)),
}


@pytest.mark.parametrize("name", [name for net in NETS for name in engines_of(net)])
def test_graphs_of_nano(engine_folder: Path, name: str) -> None:
    graphs.check_for_tensorrt(onnx.load(str(engine_folder / f"{name}.onnx")), name, Spelling.CPU)


def test_nets_with_graphs_for_a_gpu_are_known() -> None:
    """Those are checked where they are compared with PyTorch: motion/test_net.py, sam2/test_build.py."""
    assert set(SPELLED_NETS) == {"motion", "sam2"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_graphs_of_the_official_nets(tmp_path: Path, name: str) -> None:
    net, config = OFFICIAL[name]
    for graph in net_module(net).graphs(config, build_module(net, config).eval()):
        path = tmp_path / f"{graph.name}.onnx"
        export_onnx(graph, path)
        graphs.check_for_tensorrt(onnx.load(str(path)), graph.name, Spelling.CPU)


REFUSED = {
    "Einsum": (
        "(float[2] x) => (float y) { y = Einsum <equation = 'i->'> (x) }",
        "not in the table",
    ),
    "Clip of integers": (
        "(int64[2] x, int64 low) => (int64[2] y) { y = Clip(x, low) }",
        "takes INT64",
    ),
    "uint8 inside": (
        "(uint8[2, 3] x) => (float[3, 2] y) { t = Transpose(x) y = Cast <to = 1> (t) }",
        "takes UINT8",
    ),
    "uint8 to integer": (
        "(uint8[2] x) => (int64[2] y) { y = Cast <to = 7> (x) }",
        "uint8 must become float",
    ),
    "uint8 of integers": (
        "(int64[2] x) => (uint8[2] y) { y = Cast <to = 2> (x) }",
        "uint8 comes of floats",
    ),
    "uint8 that goes on": (
        "(float[2] x) => (float[2] y) { t = Cast <to = 2> (x) y = Cast <to = 1> (t) }",
        "uint8 is for network inputs and outputs",
    ),
    "bfloat16 sums": (
        "(bfloat16[2] x) => (bfloat16[2] y) { y = Add(x, x) }",
        "takes BFLOAT16",
    ),
    "GridSample in 3-D": (
        "(float[1, 1, 4, 4, 4] x, float[1, 2, 2, 2, 3] at) => (float[1, 1, 2, 2, 2] y) { y = GridSample(x, at) }",
        "rank 5, expected 4",
    ),
    "cubic Resize": (
        "(float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) <int64[4] size = {1, 1, 8, 8}>"
        " { y = Resize <mode = 'cubic'> (x, , , size) }",
        "mode cubic",
    ),
    "axes from outside": (
        "(float[2] x, int64[1] axis) => (float y) { y = ReduceSum(x, axis) }",
        "not a constant",
    ),
    "Loop without a state": (
        "(int64 n, bool go) => (float[m] y) <float one = {1}> { y = Loop(n, go) <body = b (int64 i, bool on)"
        " => (bool next, float z) { next = Identity(on) z = Identity(one) }> }",
        "no value is carried",
    ),
    "statistics of a norm": (
        "(float[2, 4] x) => (float[2, 4] y, float[2, 1] mean) <float[4] w = {1, 1, 1, 1}>"
        " { y, mean, deviation = LayerNormalization(x, w) }",
        "only the first output",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_taken_is_found(what: str) -> None:
    text, said = REFUSED[what]
    model = onnx.parser.parse_model(HEADER + "net " + text.replace("'", '"'))
    assert any(said in problem for problem in operators.problems(model, "10"))


def test_newer_opsets_and_foreign_domains_are_found() -> None:
    body = "net (float[2] x) => (float[2] y) { y = Relu(x) }"
    newer = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "ai.foreign" : 1]>' + body
    )
    assert operators.problems(newer, "8.6") == [
        "opset 18 of ai.onnx; at most 17",
        "opset 1 of ai.foreign; at most 17",
    ]


def test_the_table_is_whole() -> None:
    """Every operator has an entry for every version, and every version a source."""
    table = operators.table()
    assert set(table["sources"]) == set(table["opset"]) == set(operators.VERSIONS)
    for name, kinds in table["operators"].items():
        assert set(kinds) == set(operators.VERSIONS), name
        assert all(letters and set(letters) <= set("FIBUH") for letters in kinds.values()), name
