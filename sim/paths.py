"""Where everybody was, five times a second: for the report, never for the store."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.shoppers import Person

NS = 1_000_000_000
SAMPLE_NS = 200_000_000  # 5 Hz: a walker takes about 25 cm between two points
POINTS_MAX = 3_000_000  # a day of the rush; after that nothing more is kept


@dataclass(slots=True)
class Path:
    """One body's way, columns of equal length."""

    t_s: array[float] = field(default_factory=lambda: array("d"))
    x_m: array[float] = field(default_factory=lambda: array("f"))
    y_m: array[float] = field(default_factory=lambda: array("f"))


@dataclass(slots=True)
class Paths:
    by_person: dict[tuple[str, int], Path] = field(default_factory=dict)
    next_ns: int = 0
    points: int = 0

    def sample(self, now_ns: int, people: Sequence[Person]) -> None:
        """Note where everybody is, when it is time."""
        if now_ns < self.next_ns or self.points >= POINTS_MAX:
            return
        self.next_ns = now_ns + SAMPLE_NS
        for person in people:
            path = self.by_person.setdefault((person.shopper, person.index), Path())
            path.t_s.append(now_ns / NS)
            path.x_m.append(person.position[0])
            path.y_m.append(person.position[1])
        self.points += len(people)

    def document(self) -> list[dict[str, object]]:
        """One row a body, seconds and centimetres rounded."""
        return [
            {
                "visit": visit,
                "member": member,
                "t_s": [round(t, 2) for t in path.t_s],
                "x_m": [round(x, 2) for x in path.x_m],
                "y_m": [round(y, 2) for y in path.y_m],
            }
            for (visit, member), path in self.by_person.items()
        ]
