"""What half precision costs the masks of a clip: when that is measured, what is written, and
what is refused.
"""

from __future__ import annotations

import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from samotion import manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.contract import NETS, engines_of
from samotion.errors import ParityError
from samotion.manifest import Entry, Manifest
from samotion.presets import NANO
from samotion_export import export as exporter
from samotion_export import half_precision as half
from samotion_export.parity import clip as half_clip
from samotion_export.report import Report
from samotion_export.request import Request

WHOLE = Request(NETS, "nano", Path("e"), precision="fp16")


def held(**changes: Any) -> Manifest:
    """A manifest of all nano engines in half precision."""
    entries = {
        name: Entry(f"{name}.onnx", "h", f"graph of {name}", "w", precision, {}, {}, {}, "s")
        for net in NETS
        for precision in [half.precision_of(net, "fp16")]
        for name in engines_of(net, getattr(NANO, net))
    }
    return Manifest("nano", {}, {**entries, **changes}, numbers_of(NANO))


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({}, True),
        ({"precision": "fp32"}, False),
        ({"verify": False}, False),
        ({"preset": "fast"}, False),
        ({"preset": "fast", "verify_clip": half_clip.DEMO}, True),
    ],
)
def test_which_exports_compare_masks(changes: dict[str, Any], compared: bool) -> None:
    """Half precision of nets that a CPU runs in a minute, or where a clip is named."""
    assert half_clip.clip_for(replace(WHOLE, **changes)) == (half_clip.DEMO if compared else None)


def test_once_for_the_same_graphs() -> None:
    everything = held()
    assert half_clip.is_wanted(half_clip.DEMO, WHOLE, everything)
    done = replace(everything, masks={"key": half_clip._key(half_clip.DEMO, everything)})
    assert not half_clip.is_wanted(half_clip.DEMO, WHOLE, done)
    other = replace(
        done, engines={**done.engines, "depth": replace(done.engines["depth"], onnx_sha256="other")}
    )
    assert half_clip.is_wanted(half_clip.DEMO, WHOLE, other)
    full = replace(
        everything,
        engines={**everything.engines, "depth": replace(other.engines["depth"], precision="fp32")},
    )
    assert not half_clip.is_wanted(half_clip.DEMO, WHOLE, full)
    without = {name: entry for name, entry in everything.engines.items() if name != "dino"}
    assert not half_clip.is_wanted(half_clip.DEMO, WHOLE, replace(everything, engines=without))


def test_what_keeps_masks_from_being_compared() -> None:
    everything = held()
    assert half_clip.lacking(WHOLE, everything) == []
    full = replace(everything.engines["depth"], precision="fp32")
    engines = {**everything.engines, "depth": full}
    del engines["dino"]
    assert half_clip.lacking(WHOLE, replace(everything, engines=engines)) == ["depth", "dino"]


def result(labels: np.ndarray) -> Any:
    return types.SimpleNamespace(labels=labels, objects=[1])


def test_figures() -> None:
    full, halved = np.zeros((2, 2, 4, 4), np.uint8)
    full[:, 0] = 1  # four pixels in each of two frames
    halved[0, 0], halved[1, 0, :2] = 2, 1
    found = half_clip.figures(result(full), result(halved))
    assert found == {"frames": 2, "objects": 1, "mask_iou": 0.75, "worst_frame_iou": 0.5}
    assert half_clip.figures(result(full * 0), result(full * 0))["mask_iou"] == 1


def test_masks_that_suffer_are_refused() -> None:
    half_clip.judge({"clip": "a.mp4", "mask_iou": 0.98, "limit": 0.98})
    with pytest.raises(
        ParityError, match=r"masks of a\.mp4 .* by 0\.9700, expected 0\.98; use --precision fp32"
    ):
        half_clip.judge({"clip": "a.mp4", "mask_iou": 0.97, "limit": 0.98})


@pytest.mark.parametrize("score", [0.99, 0.5])
def test_the_manifest_holds_the_figure_even_where_it_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    """And the float32 engines it was compared with are of the same weights."""
    everything, requests = held(), []
    monkeypatch.setattr(half_clip, "EngineFolder", lambda folder, device, opener: Path(folder))
    monkeypatch.setattr(half_clip, "segment_clip", lambda clip, folder, settings: folder)
    monkeypatch.setattr(
        half_clip, "figures", lambda full, halved: {"mask_iou": score} if halved == tmp_path else {}
    )
    monkeypatch.setattr(exporter, "find_source", lambda net, *_: SimpleNamespace(net=net))
    monkeypatch.setattr(exporter, "_is_current", lambda request, known, source: True)
    manifest.write(tmp_path, everything)

    nested = exporter.export
    monkeypatch.setattr(exporter, "export", lambda request, report: requests.append(request))
    request = replace(WHOLE, out=tmp_path, target="onnx")
    if score < half_clip.LEAST_IOU:
        for _ in range(2):  # the figure is as bad when it is known
            with pytest.raises(ParityError, match="overlap those of float32"):
                nested(request, Report(-1))
    else:
        assert nested(request, Report(-1)) == [tmp_path / manifest.MANIFEST]
        assert nested(request, Report(-1)) == []
    assert manifest.read(tmp_path).masks["mask_iou"] == score
    (plain,) = requests
    assert (plain.precision, plain.nets, plain.verify) == ("fp32", NETS, False)
    assert plain.out != tmp_path
