"""A model tells an object from the rest by colours and places whose evidence is certain."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.overlap import iou
from samotion.cues import appearance

GRID = (45, 80)
BOX = (slice(15, 30), slice(25, 45))


def _image(tint: int = 60) -> np.ndarray:
    """Noise with a redder box."""
    image = np.random.default_rng(0).integers(90, 120, (*GRID, 3)).astype(np.uint8)
    image[BOX[0], BOX[1], 0] += tint
    return image


def _evidence(inside: float = 0.5) -> np.ndarray:
    """Surely not the object all around the box; on it, `inside`, but for a corner that is surely
    the object.
    """
    logits = np.full(GRID, -3.0, np.float32)
    logits[BOX] = inside
    logits[15:19, 25:29] = 3.0
    return logits


def _iou(scores: np.ndarray) -> float:
    truth = np.zeros(GRID, bool)
    truth[BOX] = True
    return iou(scores > 0, truth)


def test_a_sure_corner_shows_the_whole_object_where_its_colour_differs() -> None:
    cells = appearance.colour_and_place(_image(), GRID)
    model = appearance.learn([cells, cells], [_evidence(), _evidence()])
    assert appearance.scores(cells, [model])[0].shape == GRID
    assert _iou(appearance.scores(cells, [model])[0]) > 0.8


def test_place_counts_where_colours_are_alike() -> None:
    cells = appearance.colour_and_place(_image(tint=0), GRID)
    model = appearance.learn([cells], [_evidence(inside=3.0)])
    assert _iou(appearance.scores(cells, [model])[0]) > 0.4


def test_unsure_cells_teach_nothing() -> None:
    cells = appearance.colour_and_place(_image(), GRID)
    changed = cells.copy()
    changed[_evidence() == 0.5] += 1
    one, other = (
        appearance.learn([cells], [_evidence()]),
        appearance.learn([changed], [_evidence()]),
    )
    np.testing.assert_array_equal(one, other)


def test_one_class_alone_gives_no_model() -> None:
    cells = appearance.colour_and_place(_image(), GRID)
    for logits in (3.0, -3.0, 0.0):
        assert not appearance.learn([cells], [np.full(GRID, logits, np.float32)]).any()


def test_both_classes_weigh_the_same_however_many_they_are() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(0, 0.1, (5, 5)), rng.normal(1, 0.1, (500, 5))]).astype(
        np.float32
    )
    model = appearance.fit(x, np.arange(505) < 5)
    ends = np.repeat(np.array([[0], [1]], np.float32), 5, axis=1)
    (first,), (other,) = np.split(appearance.scores(ends, [model])[0], 2)
    assert first > 0.5 and other < -0.5


def test_at_most_so_many_samples_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.zeros((400, 400, 5), np.float32)
    logits = np.full(big.shape[:2], -3.0, np.float32)
    logits[:2] = 3.0
    monkeypatch.setattr(appearance, "fit", lambda x, y: np.array([y.sum(), (~y).sum()]))
    positive, negative = appearance.learn([big], [logits])
    assert positive == 800 and 0 < negative <= appearance.MAX_SAMPLES
