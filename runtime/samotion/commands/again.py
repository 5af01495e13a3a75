"""How a result was asked for, and the command that makes it again, as a user would type it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from samotion.commands.details import recorded_engines
from samotion.results.record import DEFAULT_LAYERS

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder
    from samotion.commands.clip_job import ClipJob
    from samotion.commands.run import Job
    from samotion.results.record import OutputFolder, Record
    from samotion.settings import Settings

NO_OPTIONS = {"long_side_px", "prompt_every"}  # settings of the Python API alone


def run_info(
    job: Job | ClipJob, clip: str, target: OutputFolder, request: Record, engines: EngineFolder
) -> dict[str, Any]:
    """What run.json tells beyond the result: how it was asked for and which engines answered."""
    return {
        "arguments": asdict(job),
        "command": command_line(job, clip, target),
        **recorded_engines(engines),
        "request": request,
    }


def command_line(job: Job | ClipJob, clip: str, target: OutputFolder) -> str | None:
    """`samotion-run` with all that was not left out, for one clip of a job, over its result in
    `target`. None where it has no option for a setting.
    """
    settings = _given(job.settings)
    if NO_OPTIONS & settings.keys():
        return None
    words = ["samotion-run"]
    if job.engine_dir:
        words += ["--engine-dir", job.engine_dir]
    plain = (("-o", _out(clip, target), "out"), ("--device", job.device, "auto"))
    for option, value, left_out in (*plain, ("--layout", target.layout, "clip")):
        if value != left_out:
            words += [option, value]
    if job.save is not None:
        words += ["--save", ",".join(job.save)]
    if target.overlay != DEFAULT_LAYERS:
        words += ["--overlay", ",".join(target.overlay)]
    for name, number in settings.items():
        option = name.removesuffix("_s").replace("_", "-")  # of times, which may be typed as 1:10
        # 0.00001, which no option takes as 1e-05
        text = f"{Decimal(str(number)):f}" if isinstance(number, float) else str(number)
        words += [f"--{option}", text]
    path = f"./{clip}" if clip.startswith("-") else clip
    return shlex.join([*words, "--overwrite", path])


def _out(clip: str, target: OutputFolder) -> str:
    """The folder of results; a new one for a clip whose name another clip's result has there."""
    from samotion.clips.video import clip_name

    is_own = target.name == clip_name(clip)
    return str(target.tree.parent if is_own else f"{target.tree}-again")


def _given(settings: Settings) -> dict[str, object]:
    """The settings that are not the defaults."""
    default = asdict(type(settings)())
    return {name: value for name, value in asdict(settings).items() if value != default[name]}
