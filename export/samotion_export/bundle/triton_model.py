"""A clip's frames to masks, as a model of Triton's Python backend. This file becomes model.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

ENGINES = "engines"  # the folder beside this file


class TritonPythonModel:
    """FRAMES (T,H,W,3) uint8 RGB in; IDS (M,), CONFIDENCES (M,) and RLES (M,T) out.

    RLES has COCO's compressed run lengths of each object in each frame, at the frames' own size;
    empty where it is not seen. The parameters of config.pbtxt choose device, max_objects,
    max_tracks and seed.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engines, on the GPU of this instance."""
        import samotion
        from samotion.backends.cuda import make_current

        if args["model_instance_kind"] == "GPU":
            make_current(int(args["model_instance_device_id"]))
        table = json.loads(args["model_config"])["parameters"]
        given = {name: value["string_value"] for name, value in table.items()}
        numbers = {
            name: int(given[name])
            for name in ("max_objects", "max_tracks", "seed")
            if given.get(name)
        }
        self.settings = samotion.Settings(**numbers)
        folder = Path(args["model_repository"], args["model_version"], ENGINES)
        self.engines = samotion.open_engines(folder, given.get("device") or "auto")
        self.engines.open_all()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; one that fails has the error's line as its answer."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Give the engines back."""
        self.engines.close()

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as triton
        from samotion.commands.exits import explain

        frames = triton.get_input_tensor_by_name(request, "FRAMES").as_numpy()
        try:
            answers = self.segment(frames)
        except Exception as error:
            problem = triton.TritonError(explain(error)[1])
            return triton.InferenceResponse(output_tensors=[], error=problem)
        tensors = [triton.Tensor(name, array) for name, array in answers.items()]
        return triton.InferenceResponse(output_tensors=tensors)

    def segment(self, frames: Any) -> dict[str, Any]:
        """The three answers for frames (T,H,W,3) uint8."""
        import samotion
        from samotion.results.material import encode_rles
        from samotion.results.sizes import at_source

        result = samotion.segment_clip(frames, self.engines, self.settings)
        ids = [one.id for one in result.objects]
        size = frames.shape[1], frames.shape[2]
        rles = [encode_rles(at_source(labels, size), ids) for labels in result.labels]
        counts = [[_counts(frame[k]) for frame in rles] for k in range(len(ids))]
        return {
            "IDS": np.array(ids, np.int32),
            "CONFIDENCES": np.array([one.confidence for one in result.objects], np.float32),
            "RLES": np.array(counts, object).reshape(len(ids), len(frames)),
        }


def _counts(rle: dict[str, Any] | None) -> str:
    return rle["counts"] if rle else ""
