"""What a user may set for a run. None takes the preset's number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from samotion.checks.arguments import instance_of, moment, period, probability, whole_number
from samotion.contract import TRACKER_PX
from samotion.errors import UsageError
from samotion.presets import MAX_LABELS, MIN_WINDOW, REFINE_PX, Preset

Number = TypeVar("Number", int, float)
NEEDED = ("max_objects", "seed")  # no preset has a number for these
Check = Callable[[Any, str], float]
CHECKS: dict[str, Check] = {"min_confidence": probability, "start_s": moment, "end_s": moment}
OTHER_LIMITS = ("seed", "refine_px", *CHECKS)  # than 1 or more


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Points start on every `step`-th frame; at most `max_frames` frames (every k-th; None: all) and
    `max_tracks` tracks are used; frames are scaled down to `long_side_px`; an object is prompted on
    every `prompt_every`-th frame. Clips of more than `window_frames` are worked on in windows of so
    many, with `max_tracks` each. At most `max_objects` are looked for in each. `seed` fixes every
    random choice. Tracks are refined on frames of `refine_px` (512, where the engines are exported
    for it; 256: no larger than they are found on). Objects whose probability of moving is below
    `min_confidence` are left out. Only frames from `start_s` to before `end_s` are looked at, in
    seconds from the clip's first frame (24 frames/s where they carry no times).
    """

    step: int | None = None
    max_frames: int | None = None
    max_tracks: int | None = None
    max_objects: int = 10
    long_side_px: int | None = None
    prompt_every: int | None = None
    seed: int = 0
    refine_px: int | None = None
    window_frames: int | None = None
    min_confidence: float | None = None
    start_s: float | None = None
    end_s: float | None = None

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            check: Check = CHECKS.get(setting.name, whole_number)
            # NumPy's numbers become Python's, which JSON can write
            if value is not None or setting.name in NEEDED:
                object.__setattr__(self, setting.name, check(value, setting.name))
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name not in OTHER_LIMITS and value is not None and value < 1:
                raise UsageError(f"{setting.name} is {value}; expected 1 or more")
        if self.max_frames == 1:
            raise UsageError("max_frames is 1; motion needs at least 2 frames")
        if self.window_frames is not None and self.window_frames < MIN_WINDOW:
            raise UsageError(
                f"window_frames is {self.window_frames}; expected {MIN_WINDOW} or more"
            )
        if self.max_objects > MAX_LABELS:
            raise UsageError(f"max_objects is {self.max_objects}; expected at most {MAX_LABELS}")
        if self.refine_px not in (None, *REFINE_PX):
            raise UsageError(
                f"refine_px is {self.refine_px}; expected one of {', '.join(map(str, REFINE_PX))}"
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected 0 or more")
        period(self.start_s, self.end_s)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a run once settings and preset have met; same names and units as in
    `Settings`.
    """

    step: int
    max_frames: int | None
    max_tracks: int
    max_objects: int
    long_side_px: int
    prompt_every: int
    seed: int
    refine_px: int
    window_frames: int
    min_confidence: float
    start_s: float | None
    end_s: float | None


def resolve(settings: Settings, preset: Preset) -> Numbers:
    """Fill what the user left open with the preset's numbers. Raises UsageError for a
    `refine_px` it lacks.
    """
    instance_of(settings, Settings, "settings", "samotion.Settings(...)")
    if settings.refine_px not in (None, TRACKER_PX, preset.tracks.refine_px):
        raise UsageError(
            f"refine_px is {settings.refine_px}, but these engines refine tracks at"
            f" {preset.tracks.refine_px} px;"
            f" export with: samotion-export tracks --preset {preset.name} --refine-px"
            f" {settings.refine_px}"
        )

    return Numbers(
        step=choose(settings.step, preset.query_step_frames),
        max_frames=settings.max_frames,
        max_tracks=choose(settings.max_tracks, preset.max_tracks),
        max_objects=settings.max_objects,
        long_side_px=choose(settings.long_side_px, preset.long_side_px),
        prompt_every=choose(settings.prompt_every, preset.prompting.every_frames),
        seed=settings.seed,
        refine_px=choose(settings.refine_px, preset.tracks.refine_px),
        window_frames=choose(settings.window_frames, preset.max_frames),
        min_confidence=choose(settings.min_confidence, preset.min_confidence),
        start_s=settings.start_s,
        end_s=settings.end_s,
    )


def choose(value: Number | None, default: Number) -> Number:
    """What the user set, or else the preset's number."""
    return default if value is None else value
