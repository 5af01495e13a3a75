"""What a user asks to be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samotion import contract, manifest
from samotion.presets import Preset


@dataclass(frozen=True)
class Request:
    """What to export and how.

    `sam2`, `refine_px`: another choice than the preset's; `checkpoints`: files given by the user.
    """

    nets: tuple[str, ...]
    preset: str
    out: Path
    sam2: str | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    precision: str = "fp32"
    verify: bool = True
    offline: bool = False
    force: bool = False
    target: str = "onnx"
    verify_clip: Path | None = None
    refine_px: int | None = None
    accept_hash: bool = False

    def chosen(self) -> Preset:
        """The preset with the changes that were asked for."""
        return manifest.choose_preset(self.preset, self.sam2, self.refine_px)

    def engines_of(self, net: str) -> tuple[str, ...]:
        """The names of one net's engines."""
        return contract.engines_of(net, getattr(self.chosen(), net))
