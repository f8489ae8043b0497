"""Python's cycle collector, for processes that do nothing but run the engine.

The engine makes no cycles: what it drops is freed at once, by count. The collector would still look
through everything again after each 700 objects; looking seldom saves some three per cent.
"""

from __future__ import annotations

import gc

OBJECTS = 20_000  # made since the last look at the youngest; a minute of steps keeps fewer


def look_seldom() -> None:
    """Look through new objects only when there are many."""
    gc.set_threshold(OBJECTS, 20, 20)
