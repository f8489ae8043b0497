"""A simulated store day in one process, as fast as the machine goes, and what the referee says.

python examples/first_store/one_day.py [SEED] [SECONDS]
"""

from __future__ import annotations

import sys

from sim.first_store import first_store
from sim.in_process import run
from sim.referee import judge, units_of
from sim.world import options


def main(seed: int = 7, duration_s: float = 60.0) -> dict[str, float]:
    """Print every receipt beside the truth; return the figures."""
    day = run(first_store(), options("honest", seed), duration_s=duration_s)
    held = {v.credential: day.truth.lines(v.visit) for v in day.truth.visits.values()}
    for cart in day.carts:
        print(f"{cart.credential}: {cart.state}")
        print(f"  charged {units_of(cart, charged_only=True)}")
        print(f"  held    {held.get(str(cart.credential), {})}")
    figures = judge(day.truth, day.carts).figures()
    for name, value in figures.items():
        print(f"{name:28s} {value:8.3f}")
    return figures


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
