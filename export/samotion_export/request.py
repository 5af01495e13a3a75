"""What a user asks to be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from samotion import contract
from samotion.errors import UsageError
from samotion.presets import PRESETS, REFINE_PX, SAM2_SIZES, Preset

from samotion_export.overrides import with_overrides
from samotion_export.spelling import Spelling, spelling_of

K = TypeVar("K", str, int)
V = TypeVar("V")


@dataclass(frozen=True)
class Request:
    """What to export and how.

    `sam2`, `refine_px`, `overrides`: another choice than the preset's; `checkpoints`: files given
    by the user.
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
    overrides: Mapping[str, str] = field(default_factory=dict)

    def chosen(self) -> Preset:
        """The preset with all that was chosen instead of its own."""
        preset = choose_preset(self.preset, self.sam2, self.refine_px)
        return with_overrides(preset, self.overrides)

    def engines_of(self, net: str) -> tuple[str, ...]:
        """The names of one net's engines."""
        on_gpu = spelling_of(net, self.target) is Spelling.GPU
        return contract.engines_of(net, getattr(self.chosen(), net), on_gpu)


def choose_preset(name: str, sam2: str | None = None, refine_px: int | None = None) -> Preset:
    """A preset by name, with another SAM 2 (a key of SAM2_SIZES) or another `refine_px` where
    one is asked for. Raises UsageError for what is unknown.
    """
    preset = _known("preset", name, PRESETS)
    if sam2 is not None:
        preset = replace(preset, sam2=_known("SAM 2 size", sam2, SAM2_SIZES))
    if refine_px is not None:
        _known("refine_px", refine_px, dict.fromkeys(REFINE_PX))
        preset = replace(preset, tracks=replace(preset.tracks, refine_px=refine_px))
    return preset


def _known(what: str, name: K, choices: Mapping[K, V]) -> V:
    if name not in choices:
        known = ", ".join(map(str, choices))
        raise UsageError(f"{what} {name!r} is unknown; this samotion knows {known}")
    return choices[name]
