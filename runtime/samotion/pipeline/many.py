"""Several clips, one result after the other."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Generator, Iterable, MutableMapping
from typing import Any

import numpy as np

from samotion import pipeline
from samotion.backends.engines import Engines
from samotion.checks.arguments import instance_of
from samotion.clips.stream import Clip
from samotion.errors import UsageError
from samotion.results.result import Result
from samotion.settings import Settings


def segment_clips(
    clips: Iterable[pipeline.AnyClip],
    engines: Engines,
    settings: Settings | None = None,
    failures: MutableMapping[str, Exception] | None = None,
) -> Generator[Result, None, None]:
    """The result of each clip, whatever `segment_clip` takes, as soon as it is done, in order.

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
    clips: Iterable[pipeline.AnyClip], engines: Engines, settings: Settings | None, failures: Any
) -> Generator[Result, None, None]:
    for number, clip in enumerate(clips):
        try:
            result = pipeline.segment_clip(clip, engines, settings)
        except Exception as error:
            name = f"clip {number}"
            if isinstance(clip, (str, bytes, os.PathLike)):
                name = os.fsdecode(clip)
            _tell(name, _without_variables(error), failures)
            continue
        yield result
        del result  # else the next clip is worked on beside this one's arrays


def _without_variables(error: Exception) -> Exception:
    """The same error, whose stack trace keeps its lines but no variables: those of a clip that
    failed are its frames and all that was made of them, and a table keeps its errors.
    """
    trace = error.__traceback__
    met: BaseException | None = error.with_traceback(trace and trace.tb_next)
    while met is not None:
        traceback.clear_frames(met.__traceback__)
        met = met.__cause__ or met.__context__
    return error


def _tell(clip: str, error: Exception, failures: MutableMapping[str, Exception] | None) -> None:
    if failures is None:
        warnings.warn(f"{clip}: {error}", RuntimeWarning, stacklevel=3)
    else:
        failures[clip] = error
