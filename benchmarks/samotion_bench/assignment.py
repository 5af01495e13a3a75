"""The assignment problem: partners for every row so that the sum is largest."""

from __future__ import annotations

import numpy as np


def best_assignment(value: np.ndarray) -> list[int]:
    """The column of each row, all different, that maximises the sum of `value` (R,C), R <= C.

    Shortest augmenting paths with potentials (Kuhn 1955; Jonker and Volgenant 1987), R*R*C steps.
    """
    rows, columns = value.shape
    cost = -value
    row_of = np.full(columns + 1, -1)  # the last column is where each new row starts from
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        row_of[columns] = row
        distance, came_from = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, bool)
        column = columns
        while row_of[column] >= 0:
            done[column] = True
            here = row_of[column]
            reduced = cost[here] - row_price[here] - column_price[:-1]
            closer = ~done[:-1] & (reduced < distance)
            distance[closer], came_from[closer] = reduced[closer], column
            following = int(np.argmin(np.where(done[:-1], np.inf, distance)))
            step = distance[following]
            row_price[row_of[done]] += step
            column_price[done] -= step
            distance[~done[:-1]] -= step
            column = following
        while column != columns:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    return [int(np.flatnonzero(row_of[:-1] == row)[0]) for row in range(rows)]
