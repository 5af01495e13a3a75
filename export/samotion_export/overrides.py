"""`--set NAME=VALUE`: a preset with other numbers than its own, for nets of another size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, get_origin

from samotion.checks.preset_numbers import (
    CHOICES,
    kinds_of,
    numbers_of,
    preset_of,
    without_none,
)
from samotion.errors import UsageError
from samotion.presets import Preset, VitNet

from samotion_export.vit import HEAD_WIDTH

NONE = "none"  # how the value of a number that may be absent says that it is


def parse_overrides(pairs: Iterable[str] | None) -> dict[str, str]:
    """NAME=VALUE options as a table. Raises UsageError for what is none, or comes twice."""
    table: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set takes NAME=VALUE, such as max_tracks=900, not {pair!r}")
        if name in table:
            raise UsageError(f"--set {name} comes twice")
        table[name] = value
    return table


def with_overrides(preset: Preset, overrides: Mapping[str, str]) -> Preset:
    """The preset with other numbers, each under its name in presets.py: `tracks.mixer_width`.

    Raises UsageError for unknown names, wrong values, and numbers of which no net can be made.
    """
    if not overrides:
        return preset
    numbers = numbers_of(preset)
    for name, value in overrides.items():
        _put(numbers, name, value)
    try:
        changed = preset_of(preset.name, numbers)
    except ValueError as error:
        raise UsageError(f"--set: {str(error).removeprefix('numbers.')}") from error
    _check(changed)
    return changed


def _put(numbers: dict[str, Any], name: str, value: str) -> None:
    """Set the number called `name` in the table of a preset."""
    kind: Any = Preset
    *parts, last = name.split(".")
    for count, part in enumerate(parts):
        kind = _kind_in(kind, part, parts[:count], name)
        numbers = numbers.get(part) or {}
        if not is_dataclass(kind) or not numbers:
            raise UsageError(f"--set {name}: this preset has no numbers in {part!r}")
    kind = _kind_in(kind, last, parts, name)
    if is_dataclass(kind):
        inner = ", ".join(_settable(kind, [*parts, last]))
        raise UsageError(f"--set {name}: choose one of its numbers: {inner}")
    numbers[last] = _parse(kind, value)


def _kind_in(record: Any, name: str, parts: list[str], whole: str) -> Any:
    """The type of a number of `record`, of `X | None` where it has no numbers itself."""
    kind = kinds_of(record).get(name)
    if kind is None or (kind is str and name not in CHOICES):
        known = ", ".join(_settable(record, parts))
        raise UsageError(f"--set {whole}: no such number; expected one of {known}")
    return without_none(kind) if is_dataclass(without_none(kind)) else kind


def _settable(record: Any, parts: list[str]) -> list[str]:
    """The names that `--set` takes in a part of the preset; a part's own end with `.*`."""
    kinds = kinds_of(record)
    names = [name for name, kind in kinds.items() if kind is not str or name in CHOICES]
    ends = [".*" if is_dataclass(without_none(kinds[name])) else "" for name in names]
    return [".".join([*parts, name]) + end for name, end in zip(names, ends)]


def _parse(kind: Any, value: str) -> Any:
    """A value as JSON has it; tuples come with commas."""
    if get_origin(without_none(kind)) is tuple:
        return [_parsed(part) for part in value.split(",")] if value else []
    return None if value == NONE and without_none(kind) is not kind else _parsed(value)


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _check(preset: Preset) -> None:
    """Refuse numbers that do not fit together."""
    for name, vit in (("depth", preset.depth.vit), ("dino", preset.dino.vit)):
        _check_vit(name, vit)
    taps, blocks = preset.depth.taps, preset.depth.vit.depth
    if sorted(set(taps)) != list(taps) or max(taps) >= blocks:
        raise UsageError(
            f"--set: depth.taps is {','.join(map(str, taps))}, depth.vit.depth {blocks};"
            f" expected four rising numbers from 0 to {blocks - 1}"
        )
    width, wanted = preset.dino.vit.width, preset.motion.dino_channels
    if width != wanted:
        raise UsageError(
            f"--set: dino.vit.width is {width}, motion.dino_channels {wanted}; expected the same"
        )
    if preset.cues and not preset.motion.maps:
        raise UsageError(
            f"--set: motion.maps is false; preset {preset.name!r} finds objects by these maps,"
            " expected true"
        )


def _check_vit(name: str, vit: VitNet) -> None:
    if vit.width % HEAD_WIDTH:
        raise UsageError(
            f"--set: {name}.vit.width is {vit.width}; expected a multiple of {HEAD_WIDTH}"
        )
