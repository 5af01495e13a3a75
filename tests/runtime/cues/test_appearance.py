"""A model tells an object from the rest by colours and places whose evidence is certain."""

from __future__ import annotations

from itertools import combinations_with_replacement

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
    assert not appearance.learn([], []).any()  # of an object that is prompted nowhere


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
    big += np.arange(400)[:, None, None]
    logits = np.full(big.shape[:2], -3.0, np.float32)
    logits[:2] = 3.0
    monkeypatch.setattr(appearance, "fit", lambda *given: given)
    x, y = appearance.learn([big], [logits])
    assert y.sum() == 800 and 0 < (~y).sum() <= appearance.MAX_SAMPLES
    assert x[y].max() == 1 and x[~y].min() == 2 and x[~y].max() == 399  # of all rows


def test_cells_are_mean_colours_in_cielab_and_places() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, ::2] = 255  # stripes, finer than cells
    image[20:, :30], image[20:, 30:] = (255, 0, 0), (0, 0, 255)
    cells = appearance.colour_and_place(image, (4, 6))
    assert cells.shape == (4, 6, 5) and cells.dtype == np.float32
    grey, red, blue = (8 / 128, 0, 0), (8 / 128, 80 / 50, 67 / 50), (-46 / 128, 79 / 50, -108 / 50)
    for cell, colour, x, y in (
        (cells[0, 0], grey, -1, -1),
        (cells[3, 0], red, -1, 1),
        (cells[2, 5], blue, 1, 1 / 3),
    ):
        np.testing.assert_allclose(cell, (*colour, x, y), atol=0.03)


def test_the_fit_is_ridge_regression_on_all_products_of_four_numbers() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (400, 5))
    y = x[:, 0] * x[:, 1] + x[:, 2] ** 3 > 0.3
    with_one = np.column_stack([np.ones(400), x])
    chosen = list(combinations_with_replacement(range(6), 4))
    terms = np.array([with_one[:, four].prod(axis=1) for four in chosen])
    shares = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())
    ridge = 3e-4 * np.diag([any(four) for four in chosen])
    weights = np.linalg.solve((terms * shares) @ terms.T + ridge, terms @ (shares * (2.0 * y - 1)))
    scores = appearance.scores(x, [appearance.fit(x, y)])[0]
    np.testing.assert_allclose(scores, weights @ terms, atol=1e-4)
