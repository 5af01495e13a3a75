"""The road of the published method, from frames to labels, on engines that answer with the
truth.
"""

from __future__ import annotations

import subprocess
import sys

import samotion
from helpers import long_scene
from helpers.paths import ROOT
from samotion.results.evidence import spread_frames


def test_the_square_is_found_and_nothing_else() -> None:
    result = samotion.segment_clip(
        long_scene.frames(12), long_scene.engines(), samotion.Settings(max_tracks=600)
    )
    truth = long_scene.masks(12)
    found = result.labels > 0
    union = (found | truth).sum(axis=(1, 2))
    assert [one.id for one in result.objects] == [1]
    assert abs(result.objects[0].score - 0.99) < 1e-6
    assert ((found & truth).sum(axis=(1, 2)) / union > 0.95).all()
    assert result.tracks.visible.all() and not result.warnings
    evidence = result.evidence
    assert sorted(evidence.depth) == spread_frames(len(found)) and not evidence.motion
    assert [one.object_id for one in evidence.prompts] == [1] and evidence.prompts[0].clicks
    assert evidence.threshold is not None and evidence.threshold < 0.99
    stages = ["video", "tracks", "depth", "dino", "motion", "prompts", "masks"]
    assert list(result.timings) == stages


def test_the_published_method_imports_nothing_of_the_cues() -> None:
    """Whoever runs the published weights has nothing of nano's method in the way."""
    code = (
        "import sys, samotion; from helpers import long_scene;"
        "result = samotion.segment_clip(long_scene.frames(12), long_scene.engines(), samotion.Settings(max_tracks=600));"
        "assert result.labels.any();"
        "print(sorted(name for name in sys.modules if name.startswith('samotion.cues')))"
    )
    paths = [*sys.path, str(ROOT / "tests")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr
