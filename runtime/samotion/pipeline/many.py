"""Several clips, one result after the other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.checks.arguments import instance_of
from samotion.clips.stream import Clip
from samotion.errors import UsageError
from samotion.results.result import Result
from samotion.settings import Settings

Path = str | os.PathLike[str]


def segment_clips(
    clips: Iterable[Path],
    engines: Engines,
    settings: Settings | None = None,
    failures: MutableMapping[str, Exception] | None = None,
) -> Iterator[Result]:
    """The result of each clip (video files, folders of frames) as soon as it is done, in order.

    A clip that fails costs itself alone: its error goes into `failures` under its path, or is a
    RuntimeWarning where there is no such table. `result.clip.path` tells which clip a result is of.
    What is no path, as frames, is called `clip 0` and so on. Raises UsageError for other settings.
    """
    if isinstance(clips, (str, bytes, os.PathLike)):
        raise UsageError(f"clips is the one path {clips!r}; expected a list of paths")
    if isinstance(clips, Clip) or (isinstance(clips, np.ndarray) and clips.ndim != 1):
        raise UsageError("clips is one clip; expected a list of paths")
    instance_of(clips, Iterable, "clips", "a list of paths")
    if failures is not None:
        instance_of(failures, MutableMapping, "failures", "a dict")
    if settings is not None:
        instance_of(settings, Settings, "settings", "samotion.Settings(...)")
    return _each(clips, engines, settings, failures)


def _each(
    clips: Iterable[Path], engines: Engines, settings: Settings | None, failures: Any
) -> Iterator[Result]:
    for number, clip in enumerate(clips):
        try:
            result = pipeline.segment_clip(clip, engines, settings)
        except Exception as error:
            is_path = isinstance(clip, (str, bytes, os.PathLike))
            _tell(os.fsdecode(clip) if is_path else f"clip {number}", error, failures)
            continue
        yield result


def _tell(clip: str, error: Exception, failures: MutableMapping[str, Exception] | None) -> None:
    if failures is None:
        warnings.warn(f"{clip}: {error}", RuntimeWarning, stacklevel=4)
    else:
        failures[clip] = error
