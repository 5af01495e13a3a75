"""`samotion-export --list`: which file each net of each preset takes."""

from __future__ import annotations

from samotion.contract import NETS
from samotion.presets import PRESETS, SAM2_SIZES, Weights

from samotion_export.checkpoints import download

_HEADER = ("PRESET", "NET", "FILE", "LICENCE", "CACHED", "FROM")


def table() -> str:
    """One row per preset and net, then the other sizes that --sam2 offers, in aligned columns."""
    rows: list[tuple[str, ...]] = [_HEADER]
    rows += [_row(p.name, net, getattr(p, net).weights) for p in PRESETS.values() for net in NETS]
    rows += [_row(f"--sam2 {config}", "sam2", net.weights) for config, net in SAM2_SIZES.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )


def _row(title: str, net: str, weights: Weights) -> tuple[str, ...]:
    cached = "yes" if download.find(weights) else "no"
    return title, net, weights.file, weights.licence, cached, download.source_of(weights)
