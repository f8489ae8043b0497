"""Array types of the vocabulary, and the helper that freezes them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Floats32: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Counts: TypeAlias = NDArray[np.int32]
Readings: TypeAlias = NDArray[np.int32 | np.float32]  # raw counts, or grams
Bytes8: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]


def read_only(*arrays: NDArray[Any] | None) -> None:
    """Make each given array read-only, in place; None is skipped."""
    for array in arrays:
        if array is not None:
            array.setflags(write=False)
