"""Every module computes where its inputs are, which a machine without a GPU can tell too: under
PyTorch's fake tensors a constant that was left on the CPU is an error.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from samotion.presets import NANO
from samotion_bench.gpu_plan.arithmetic import inputs_of
from samotion_export.checkpoints.weights import build_module, net_module
from samotion_export.graph import Graph
from samotion_export.spelling import Spelling
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call


def run_elsewhere(graph: Graph) -> None:
    """Run a graph's module with weights and inputs on a device that is not the CPU."""
    module = graph.module
    with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
        state = {
            name: torch.empty(x.shape, dtype=x.dtype, device="meta")
            for name, x in [*module.named_parameters(), *module.named_buffers()]
        }
        functional_call(module, state, tuple(inputs_of(torch, "meta", graph.name, NANO, 2)))


@pytest.mark.parametrize("spelling", Spelling)
@pytest.mark.parametrize("net", ["tracks", "motion", "sam2"])  # torch.tensor in the others: no fake
def test_no_constant_stays_on_the_cpu(net: str, spelling: Spelling) -> None:
    config = getattr(NANO, net)
    for graph in net_module(net).graphs(config, build_module(net, config).eval(), spelling):
        run_elsewhere(graph)


def test_one_that_stays_is_found() -> None:
    class Left(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(x.shape[-1])

    config = NANO.tracks
    graph = net_module("tracks").graphs(config, build_module("tracks", config).eval())[0]
    with pytest.raises(RuntimeError, match="same device"):
        run_elsewhere(replace(graph, module=Left()))
