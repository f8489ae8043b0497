"""Exact assignment of rows to columns, from scipy.

scipy.optimize takes a third of a daemon's start to import and is needed only once two people are
ambiguous: it is imported at the first call. The daemon calls ``preload`` once it is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from messages.arrays import Floats, Ints


def linear_sum_assignment(cost: Floats) -> tuple[Ints, Ints]:
    """Rows and columns of the assignment of least total cost; see scipy's function of that name."""
    rows, columns = _solver()(cost)
    return rows, columns


def preload() -> None:
    """Import what ``linear_sum_assignment`` needs, so that no step waits for it."""
    _solver()


@cache
def _solver() -> Callable[[Floats], tuple[Ints, Ints]]:
    from scipy.optimize import linear_sum_assignment as solve

    found: Callable[[Floats], tuple[Ints, Ints]] = solve
    return found
