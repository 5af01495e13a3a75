"""What is told of a run: by -v the engines and where they run, the sizes of a result, and the time
of every stage; in run.json which engines answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samotion.backends.engines import EngineFolder
    from samotion.pipeline import Result


def of_engines(engines: EngineFolder) -> Iterator[str]:
    """A line for the folder and one for each of its engines."""
    made_with = ", ".join(f"{tool} {version}" for tool, version in engines.manifest.tools.items())
    yield (
        f"engines: {engines.folder}, preset {engines.preset.name}, on"
        f" {engines.device}; made with {made_with}"
    )
    for name, entry in engines.manifest.engines.items():
        inputs = ", ".join(f"{key} {_shape(shape)}" for key, shape in entry.inputs.items())
        outputs = ", ".join(f"{key} {_shape(shape)}" for key, shape in entry.outputs.items())
        yield f"  {name} ({entry.precision}): {inputs} -> {outputs}"


def of_result(result: Result) -> Iterator[str]:
    """What was read and found, and how long it took."""
    clip = result.clip
    frames, height, width = result.labels.shape
    source = f"{clip.source_hw[1]}x{clip.source_hw[0]}"
    yield f"{frames} frames of {source} at {clip.fps:.3g} frames/s, worked on at {width}x{height}"
    yield f"{result.track_count} tracks, {len(result.objects)} objects"
    yield "ms: " + ", ".join(f"{stage} {ms:.0f}" for stage, ms in result.timings.items())


def _shape(dims: object) -> str:
    return "x".join(map(str, dims)) if isinstance(dims, list | tuple) else str(dims)


def recorded_engines(engines: EngineFolder) -> dict[str, Any]:
    """What run.json tells of the engines that answered."""
    return {
        "engine_folder": str(engines.folder),
        "preset": engines.preset.name,
        "device": engines.device,
        "engines": {
            name: {
                "file": entry.file,
                "sha256": entry.sha256,
                "precision": entry.precision,
                "data": dict(entry.data),
            }
            for name, entry in engines.manifest.engines.items()
        },
    }
