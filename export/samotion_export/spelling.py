"""In which operators a net is written: those that suit a CPU, or those that a GPU's compiler fuses.

Both give the same answers. On a CPU, attention goes in chunks and loops, whose scores stay in the
cache. A GPU's compiler makes one kernel of a whole attention, and of chunks and loops hundreds.
"""

from __future__ import annotations

from enum import Enum

# nets whose graphs differ between spellings; others stay as they are for every target
SPELLED_NETS: tuple[str, ...] = ("motion", "sam2")


class Spelling(Enum):
    """How graphs are written. The value is what the manifest says."""

    CPU = "cpu"
    GPU = "gpu"


# targets without engines; onnx-gpu writes the graphs that engines are built from
GRAPHS_ONLY = ("onnx", "onnx-gpu")
SPELLINGS = {
    "onnx": Spelling.CPU,
    "onnx-gpu": Spelling.GPU,
    "tensorrt": Spelling.GPU,
    "tensorrt-8": Spelling.CPU,  # 8.6 takes no bfloat16, which fused attention needs
    "rtx": Spelling.GPU,
}


def spelling_of(net: str, target: str) -> Spelling:
    """How a net's graphs are written for a target of the export."""
    return SPELLINGS[target] if net in SPELLED_NETS else Spelling.CPU
