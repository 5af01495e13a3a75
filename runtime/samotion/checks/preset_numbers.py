"""A preset's numbers as JSON, and back again with every value checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from samotion.checks.json_tables import short, table, text
from samotion.contract import NETS, PATCH_PX
from samotion.presets import PRESETS, REFINE_PX, SAM2_SIZES, Preset, Weights

LEFT_OUT = ("name", "licence", "weights")  # of the dataclasses: they are no numbers
UNKNOWN_WEIGHTS = Weights(file="", licence="unknown")
MOST_WHOLE = 1 << 16
MOST_PX = 1 << 13
MOST_IN_A_ROW = 64
CHOICES: Mapping[str, tuple[object, ...]] = {
    "disparity": ("plain", "reference"),
    "refine_px": REFINE_PX,
}
# Smallest and largest, where they are not 1 and MOST_WHOLE. Fractions lie between 0 and 1.
LIMITS = {
    "extra_convs": (0, MOST_WHOLE),
    "fallback_tracks": (0, MOST_WHOLE),
    "features": (2, MOST_WHOLE),
    "image_size_px": (16, MOST_PX),
    "long_side_px": (PATCH_PX, MOST_WHOLE),
    "max_frames": (2, MOST_WHOLE),
    "short_side_px": (PATCH_PX, MOST_PX),
    "taps": (0, MOST_WHOLE),
}


def numbers_of(record: Any) -> dict[str, Any]:
    """The numbers of a preset, or of a part of one, as JSON holds them."""
    return {name: _plain(getattr(record, name)) for name in kinds_of(type(record))}


def preset_of(name: str, numbers: object) -> Preset:
    """The preset `name` with these numbers, its weights those that this samotion knows for it.

    Raises ValueError for a number that is missing, unknown, of a wrong kind or out of range.
    """
    known = PRESETS.get(name)
    values = _values(Preset, numbers, "numbers")
    preset = Preset(name=name, licence=known.licence if known else "unknown", **values)
    origins = {net: getattr(known, net, None) for net in NETS}
    origins["sam2"] = SAM2_SIZES.get(preset.sam2.config, origins["sam2"])
    nets = {
        net: replace(getattr(preset, net), weights=origin.weights)
        for net, origin in origins.items()
        if origin
    }
    return replace(preset, **nets)


def kinds_of(record: type) -> dict[str, Any]:
    """The numbers of a dataclass of presets.py, with their types."""
    hints = get_type_hints(record)
    return {f.name: hints[f.name] for f in fields(record) if f.name not in LEFT_OUT}


def without_none(kind: Any) -> Any:
    """`X` of `X | None`, any other type as it is."""
    if not isinstance(kind, UnionType):
        return kind
    (inner,) = (each for each in get_args(kind) if each is not NoneType)
    return inner


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return numbers_of(value)
    return list(value) if isinstance(value, tuple) else value


def _values(record: type, given: object, where: str) -> dict[str, Any]:
    """The arguments that make a `record` of JSON's table `given`."""
    found, kinds = table(given, where), kinds_of(record)
    if missing := [name for name in kinds if name not in found]:
        raise ValueError(f"{where} lacks {missing[0]!r}")
    if unknown := [name for name in found if name not in kinds]:
        raise ValueError(f"{where} has {short(unknown[0])}, which is no number of a preset")
    return {name: _value(kind, found[name], name, where) for name, kind in kinds.items()}


def _value(kind: Any, value: Any, name: str, where: str) -> Any:
    """One number of type `kind`, from JSON."""
    what = f"{where}.{name}"
    inner = without_none(kind)
    if value is None and inner is not kind:
        return None
    if is_dataclass(inner):
        return _record(inner, value, what)
    if get_origin(inner) is tuple:
        return _row(get_args(inner), value, name, what)
    checked = CHECKS[inner](value, name, what)
    if name in CHOICES and checked not in CHOICES[name]:
        known = " or ".join(map(str, CHOICES[name]))
        raise ValueError(f"{what} is {short(value)}, expected {known}")
    return checked


def _record(record: Any, value: Any, what: str) -> Any:
    values = _values(record, value, what)
    if "weights" in get_type_hints(record):
        values["weights"] = UNKNOWN_WEIGHTS
    return record(**values)


def _row(kinds: tuple[Any, ...], value: Any, name: str, what: str) -> tuple[Any, ...]:
    """A tuple: of a fixed length, or of any up to MOST_IN_A_ROW."""
    free = kinds[-1] is Ellipsis
    expected = f"up to {MOST_IN_A_ROW}" if free else str(len(kinds))
    if not isinstance(value, list):
        raise ValueError(f"{what} is {short(value)}, expected a list of {expected}")
    if len(value) > MOST_IN_A_ROW if free else len(value) != len(kinds):
        raise ValueError(f"{what} has {len(value)} numbers, expected {expected}")
    return tuple(CHECKS[kinds[0]](each, name, what) for each in value)


def _whole(value: Any, name: str, what: str) -> int:
    least, most = LIMITS.get(name, (1, MOST_WHOLE))
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {short(value)}, expected a whole number, {least} to {most}")
    return value


def _fraction(value: Any, name: str, what: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{what} is {short(value)}, expected a number, 0 to 1")
    return float(value)


def _truth(value: Any, name: str, what: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{what} is {short(value)}, expected true or false")
    return value


def _text(value: Any, name: str, what: str) -> str:
    return text(value, what)


CHECKS: Mapping[Any, Callable[[Any, str, str], Any]] = {
    int: _whole,
    float: _fraction,
    bool: _truth,
    str: _text,
}
