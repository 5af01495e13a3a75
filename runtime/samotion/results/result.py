"""What a run found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samotion.checks.arguments import path_of
from samotion.clips.video import Clip
from samotion.prompts import ObjectPrompt
from samotion.results import write
from samotion.results.evidence import Evidence
from samotion.settings import Numbers
from samotion.tracks.records import Tracks

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ObjectResult:
    """A moving object: its label in the masks, the mean motion score of its tracks, and the
    probability that it moves by itself.
    """

    id: int
    score: float
    confidence: float


@dataclass(frozen=True)
class Result:
    """What a run found.

    `labels` (T,H,W) uint8, 0 = static, at the size of `clip.frames`; `scores` (N,) in [0,1], one
    per track; `timings` in ms per stage; `settings` are the numbers that made it; `evidence` is
    what a report shows of the way to it; `confidence` is the probability that anything moves.
    """

    labels: Array
    objects: list[ObjectResult]
    tracks: Tracks
    scores: Array
    timings: dict[str, float]
    clip: Clip
    settings: Numbers
    warnings: list[str] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    confidence: float = 0.0

    def save(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write masks, overlay, objects, tracks and run.json; options as in
        `samotion.results.write.write`.
        """
        write.write(self, path_of(folder, "the folder for results"), **options)


@dataclass(frozen=True)
class Found:
    """What a method found in a clip, the published one or that of samotion/cues.

    `scores` (N,) are of `tracks`; `labels` (T,H,W) uint8, in which the k-th of `objects` is k + 1;
    `confidence` is the probability that anything moves.
    """

    tracks: Tracks
    scores: Array
    objects: list[ObjectPrompt]
    labels: Array
    evidence: Evidence = field(default_factory=Evidence)
    confidence: float = 0.0

    def scored(self) -> list[ObjectResult]:
        """The objects with the mean motion score of their tracks, and their confidence."""
        results = []
        for label, one in enumerate(self.objects, start=1):
            score = float(self.scores[one.members].mean())
            confidence = score if one.confidence is None else one.confidence
            results.append(ObjectResult(label, score, confidence))
        return results
