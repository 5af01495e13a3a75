"""Step 1: what arithmetic the card allows, in PyTorch: copies, products, variants of attention, and
every net's modules at official sizes in half precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from samotion.contract import NETS, SIGNATURES
from samotion.presets import FAST, REFERENCE, Preset

from samotion_bench.gpu_plan.steps import Missing, Table, Work
from samotion_bench.host.folder import official_dims

BATCHES = (1, 4, 8)
# dimensions of the clip that all figures are stated for: 100 frames of 854x480, 3 objects
LETTERS = {"T": 100, "N": 256, "B": 1, "K": 14, "P": 23}
PICTURES = {"depth": (518, 924), "dino": (490, 861)}
WIDTH, TOKENS, POINTERS = 256, 4096, 64  # of SAM 2's memory attention
MEMORY_FRAMES = (7, 14)
RUNS, SECONDS = 10, 2.0
MB = 1 << 20


def run(work: Work) -> Iterator[Table]:
    """All of it, on the first GPU."""
    torch = _torch()
    try:
        yield copies(torch, "cuda", 256 * MB)
        yield attention(torch, "cuda", MEMORY_FRAMES, TOKENS)
        for compiled in (False, True):  # compiling takes minutes, so it comes last
            for preset in (FAST, REFERENCE):
                yield from modules(torch, "cuda", preset, compiled)
    finally:  # PyTorch keeps what it has freed, and the next steps need the card
        torch.cuda.empty_cache()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise Missing("PyTorch for CUDA: pip install torch") from error
    if not torch.cuda.is_available():
        raise Missing("an NVIDIA GPU that PyTorch sees")
    return torch


def timed_ms(torch: Any, device: str, call: Callable[[], Any]) -> float:
    """The median of a few runs, ms; the first ones are not counted."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(2):
        call()
    wait()
    spent: list[float] = []
    while len(spent) < RUNS and sum(spent) < 1000 * SECONDS:
        start = time.perf_counter()
        call()
        wait()
        spent.append((time.perf_counter() - start) * 1000)
    return float(np.median(spent))


def copies(torch: Any, device: str, nbytes: int) -> Table:
    """GB/s between host and card and on the card, and TFLOP/s of a product in half precision."""
    there, other = (torch.empty(nbytes, dtype=torch.uint8, device=device) for _ in range(2))
    plain = torch.empty(nbytes, dtype=torch.uint8)
    locked = plain.pin_memory() if device == "cuda" else plain
    pairs = {
        "up, page-locked": (there, locked),
        "up, pageable": (there, plain),
        "down, page-locked": (locked, there),
        "on the card": (other, there),
    }
    rows: list[tuple[object, ...]] = []
    for name, (target, source) in pairs.items():
        ms = timed_ms(torch, device, lambda t=target, s=source: t.copy_(s, non_blocking=True))  # type: ignore[misc]
        rows.append((name, nbytes / ms / 1e6, "GB/s"))
    side = 8192 if device == "cuda" else 256
    x = torch.randn(side, side, dtype=torch.float16, device=device)
    ms = timed_ms(torch, device, lambda: x @ x)
    rows.append((f"product of {side}x{side}, half", 2 * side**3 / ms / 1e9, "TFLOP/s"))
    return Table("Copies and products", ("what", "rate", "unit"), rows)


def attention(torch: Any, device: str, frames: tuple[int, ...], tokens: int) -> Table:
    """One cross-attention of SAM 2's memory attention, one head of 256: ms by variant.

    Heads have a dimension of their own: without it PyTorch leaves its fastest kernels out.
    """
    fused = torch.nn.functional.scaled_dot_product_attention
    rows: list[tuple[object, ...]] = []
    for count in frames:
        for batch in BATCHES:
            keys = count * tokens + POINTERS
            q, k, v = (
                torch.randn(batch, 1, n, WIDTH, dtype=torch.float16, device=device)
                for n in (tokens, keys, keys)
            )
            bias = torch.zeros(batch, 1, 1, keys, dtype=torch.float16, device=device)
            flop = 4 * batch * tokens * keys * WIDTH
            variants: dict[str, Callable[[], Any]] = {
                "fused": lambda: fused(q, k, v),  # noqa: B023 (called at once)
                "fused, with places that hold nothing": lambda: fused(q, k, v, attn_mask=bias),  # noqa: B023
                "in chunks of 512": lambda: [fused(c, k, v) for c in q.split(512, -2)],  # noqa: B023
                "scores in float32": lambda: _unfused(torch, q, k, v),  # noqa: B023
            }
            for name, call in variants.items():
                ms = _or_none(lambda call=call: timed_ms(torch, device, call))  # type: ignore[misc]
                rate = "-" if ms is None else flop / ms / 1e9
                rows.append((name, count, batch, "no memory" if ms is None else ms, rate))
    columns = ("variant", "memory frames", "objects", "ms", "TFLOP/s")
    return Table("Memory attention, one layer", columns, rows)


def _unfused(torch: Any, q: Any, k: Any, v: Any) -> Any:
    scores = (q * WIDTH**-0.5) @ k.transpose(-1, -2)
    return torch.softmax(scores.float(), -1).to(v.dtype) @ v


def modules(torch: Any, device: str, preset: Preset, compiled: bool) -> Iterator[Table]:
    """A table for each net: ms of its modules in half precision, eager or compiled, by batch."""
    from samotion_export.checkpoints.weights import build_module, net_module
    from samotion_export.spelling import Spelling

    for net in NETS:
        config = getattr(preset, net)
        graphs = net_module(net).graphs(config, build_module(net, config).eval(), Spelling.GPU)
        rows: list[tuple[object, ...]] = []
        for graph in graphs:
            module = graph.module.to(device)
            called = torch.compile(module) if compiled else module
            for batch in BATCHES if SIGNATURES[graph.name].rows == "B" else (1,):
                inputs = inputs_of(torch, device, graph.name, preset, batch)
                ms = _or_none(lambda m=called, x=inputs: _half_ms(torch, device, m, x))  # type: ignore[misc]
                rows.append((graph.name, batch, "-" if ms is None else ms))
            graph.module.to("cpu")
        how = "compiled" if compiled else "eager"
        yield Table(f"{preset.name}: {net}, {how}", ("module", "batch", "ms"), rows)


def _half_ms(torch: Any, device: str, module: Any, inputs: list[Any]) -> float:
    with torch.inference_mode(), torch.autocast(device, torch.float16):
        return timed_ms(torch, device, lambda: module(*inputs))


def inputs_of(torch: Any, device: str, engine: str, preset: Preset, batch: int) -> list[Any]:
    """Random inputs of an engine at official sizes; whole numbers are 0, which all of them may be.

    What objects share of one frame is not batched.
    """
    side = preset.sam2.image_size_px
    height, width = PICTURES.get(engine, (side, side))
    letters = {**LETTERS, "B": batch, "H": height, "W": width, "GH": 64, "GW": 112}
    found = []
    for tensor in SIGNATURES[engine].inputs:
        shape = [d if isinstance(d, int) else letters[d] for d in official_dims(tensor, preset)]
        kind = getattr(torch, tensor.dtype)
        if tensor.dtype == "float32":
            found.append(torch.rand(shape, device=device))
        else:
            found.append(torch.zeros(shape, dtype=kind, device=device))
    return found


def _or_none(measure: Callable[[], float]) -> float | None:
    """None where the card has no room, or PyTorch cannot compile it."""
    try:
        return measure()
    except Exception as error:  # of any kind; one figure less
        print(f"left out: {str(error).splitlines()[:1]}", flush=True)
        return None
