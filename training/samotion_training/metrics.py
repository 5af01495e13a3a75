"""How good nets are: areas under curves, and track accuracy as TAP-Vid defines it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from samotion_bench.track_metrics import THRESHOLDS_PX, area_under_curve


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive (N,) scores above a negative one, ties counting half; NaN without
    both kinds.
    """
    area = area_under_curve(score, positive)
    return float("nan") if area is None else area


def for_json(figures: Any) -> Any:
    """Nested dicts and lists of figures, with None for NaN: JSON has no word for that."""
    if isinstance(figures, dict):
        return {name: for_json(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [for_json(value) for value in figures]
    return None if isinstance(figures, float) and math.isnan(figures) else figures


def tap_vid(
    xy: np.ndarray,
    visible: np.ndarray,
    true_xy: np.ndarray,
    true_visible: np.ndarray,
    asked: np.ndarray,
) -> dict[str, float]:
    """delta_avg, occlusion_accuracy and AJ. Positions (N, T, 2) px of 256; `asked` (N, T): not
    the query's frame.
    """
    error = np.linalg.norm(xy - true_xy, axis=-1)
    shown = true_visible & asked
    near = [(error < t) for t in THRESHOLDS_PX]
    jaccard = []
    for close in near:
        hit = (close & shown & visible).sum()
        wrong = (visible & asked & ~(close & true_visible)).sum()
        jaccard.append(hit / max(1, shown.sum() + wrong))
    return {
        "delta_avg": float(np.mean([(c & shown).sum() / max(1, shown.sum()) for c in near])),
        "occlusion_accuracy": float((visible == true_visible)[asked].mean()),
        "AJ": float(np.mean(jaccard)),
    }
