"""The command that makes a result again, as a user would type it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samotion.commands.run import Job

# what is typed without being a setting: the option, and what it is left out for
PLAIN = {"out": ("-o", "out"), "device": ("--device", "auto"), "layout": ("--layout", "clip")}


def command_line(job: Job, clip: str) -> str:
    """`samotion-run` with all that was not left out, for one clip of a job, over its result."""
    words = ["samotion-run"]
    if job.engine_dir:
        words += ["--engine-dir", job.engine_dir]
    for name, (option, left_out) in PLAIN.items():
        if (value := getattr(job, name)) != left_out:
            words += [option, value]
    for option, names in (("--save", job.save), ("--overlay", job.overlay)):
        if names is not None:
            words += [option, ",".join(names)]
    words += _settings(job)
    path = f"./{clip}" if clip.startswith("-") else clip
    return shlex.join([*words, "--overwrite", path])


def _settings(job: Job) -> list[str]:
    """The settings that are not the defaults."""
    from samotion.settings import Settings

    words = []
    for (name, value), default in zip(asdict(job.settings).items(), asdict(Settings()).values()):
        if value != default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words
