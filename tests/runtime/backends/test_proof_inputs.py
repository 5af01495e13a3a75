"""Fixed inputs of every engine: of the contract's names, types and the asked sizes, and good enough
for the nano graphs to answer with something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import samotion
from samotion.backends.engines import EngineFolder
from samotion.backends.proof.inputs import fixed_inputs
from samotion.backends.proof.run import usual_sizes
from samotion.contract import DYNAMIC, NETS, SIGNATURES, engines_of
from samotion.manifest import BUNDLED, Entry
from samotion.presets import NANO

SMALL = {"T": 2, "N": 3, "B": 2, "K": 2, "P": 2, "H": 28, "W": 42, "GH": 9, "GW": 8}
NAMES = [name for net in NETS for name in engines_of(net, getattr(NANO, net))]


@pytest.fixture(scope="module")
def nano() -> Iterator[EngineFolder]:
    with samotion.open_engines(BUNDLED, "cpu", threads=1) as engines:
        yield engines


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_contracts(nano: EngineFolder, name: str) -> None:
    def run(engine: str, **inputs: Any) -> dict[str, np.ndarray]:
        return nano[engine](**{n: inputs[n] for n in SIGNATURES[engine].input_names})

    inputs = fixed_inputs(name, nano.entry(name), SMALL, run)
    dims = nano.entry(name).inputs
    for tensor in SIGNATURES[name].inputs:
        wanted = tuple(d if isinstance(d, int) else SMALL[d] for d in dims[tensor.name])
        assert (inputs[tensor.name].dtype, inputs[tensor.name].shape) == (tensor.dtype, wanted)
    answer = nano[name](**inputs)
    assert all(np.ptp(array) > 0 for array in answer.values() if array.size > 1)
    again = fixed_inputs(name, nano.entry(name), SMALL, run)
    assert all(np.array_equal(inputs[key], again[key]) for key in inputs), "the same every time"


def answers(name: str, entry: Entry, shape: Any) -> dict[str, np.ndarray]:
    """Zeros of an engine's outputs, for the letters that `shape` knows."""
    return {
        t.name: np.zeros([shape.get(d, d) if isinstance(d, str) else d for d in t.dims], t.dtype)
        for t in SIGNATURES[name].outputs
    }


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name not in NAMES])
def test_inputs_of_engines_that_no_bundled_net_has(name: str) -> None:
    """Their graphs are played by zeros."""
    letters = {**SMALL, "C": 6, "C'": 4, "S": 32, "S/8": 4, "S/4": 8, "R": 2, "D": 5}
    dims = {
        t.name: [d if isinstance(d, int) or d in DYNAMIC else letters[d] for d in t.dims]
        for t in SIGNATURES[name].inputs
    }
    entry = Entry("f", "0", "0", "0", "fp16", dims, {}, {}, "0")
    sizes = {**SMALL, "T": 1} if name == "tracks_online" else SMALL

    def run(engine: str, **inputs: Any) -> dict[str, np.ndarray]:
        assert set(SIGNATURES[engine].input_names) <= set(inputs)
        frames = inputs["frames"].shape[0] if "frames" in inputs else sizes["T"]
        return answers(engine, entry, {**letters, **sizes, "T": frames})

    inputs = fixed_inputs(name, entry, sizes, run)
    for tensor in SIGNATURES[name].inputs:
        wanted = tuple(d if isinstance(d, int) else sizes[d] for d in dims[tensor.name])
        assert inputs[tensor.name].shape == wanted, tensor.name


def test_profiles_are_run_at_sizes_that_a_cpu_can_follow() -> None:
    shape = {"frames": ((1, 14, 14, 3), (8, 518, 924, 3))}

    class Engine:
        name = "depth"

        def usual_shapes(self) -> Any:
            return [shape, {"frames": ((4, 14, 14, 3), (8, 14, 14, 3))}]

    engine: Any = Engine()
    assert usual_sizes(engine) == [{"B": 2, "H": 518, "W": 924}, {"B": 4, "H": 14, "W": 14}]
