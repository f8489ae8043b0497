"""Exact assignment of rows to columns, and the problems it falls apart into, from scipy.

scipy.optimize takes a third of a daemon's start to import and is needed only once two people are
ambiguous: it is imported at the first call. The daemon calls ``preload`` once it is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from messages.arrays import Floats, Ints


def linear_sum_assignment(cost: Floats) -> tuple[Ints, Ints]:
    """Rows and columns of the assignment of least total cost; see scipy's function of that name."""
    rows, columns = _solver()(cost)
    return rows, columns


def components(row: Ints, column: Ints) -> Ints:
    """(k,) number of the problem that each pair of a row and a column belongs to, by rows and
    columns shared."""
    graph, connected = _graph()
    columns = row.max() + 1 + column
    size = int(columns.max()) + 1
    _, label = connected(graph((np.ones(len(row)), (row, columns)), (size, size)), directed=False)
    found: Ints = label[row].astype(np.int64)
    return found


def preload() -> None:
    """Import what these need, so that no step waits for it."""
    _solver()
    _graph()


@cache
def _graph() -> tuple[Any, Any]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    return coo_array, connected_components


@cache
def _solver() -> Callable[[Floats], tuple[Ints, Ints]]:
    from scipy.optimize import linear_sum_assignment as solve

    found: Callable[[Floats], tuple[Ints, Ints]] = solve
    return found
