"""What really happened: visits and actions, in the format that scorers read (``truth.json``)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueAction:
    """One change of who has what. ``kind``: "take", "return" or "hand_over".

    ``facing`` "": the goods were left somewhere without plates, or taken from there.
    """

    at_ns: int
    kind: str
    visit: str
    sku: str
    quantity: int
    facing: str
    to_visit: str | None = None


@dataclass(slots=True, kw_only=True)
class TrueVisit:
    """One party. ``credential`` is the one that the gate accepted; "" while none was.

    ``kind``: "shopper" or "staff"; ``people``: those who came in.
    """

    visit: str
    credential: str = ""
    entered_at_ns: int | None = None
    exited_at_ns: int | None = None
    kind: str = "shopper"
    people: int = 0


@dataclass(slots=True)
class Truth:
    """``actions`` are the shoppers'; what staff do to the shelves is nobody's cart."""

    visits: dict[str, TrueVisit] = field(default_factory=dict)
    actions: list[TrueAction] = field(default_factory=list)

    def visit(self, name: str) -> TrueVisit:
        return self.visits.setdefault(name, TrueVisit(visit=name))

    def lines(self, visit: str) -> dict[str, int]:
        """What the visit holds in the end: SKU -> units, zeros left out."""
        held: Counter[str] = Counter()
        for action in self.actions:
            if action.visit == visit:
                held[action.sku] += action.quantity if action.kind == "take" else -action.quantity
            if action.to_visit == visit:
                held[action.sku] += action.quantity
        return {sku: held[sku] for sku in sorted(held) if held[sku] != 0}

    def document(self) -> dict[str, object]:
        """``truth.json`` as plain values; parties that never came in are left out."""
        inside = [v for v in self.visits.values() if v.entered_at_ns is not None]
        return {
            "visits": [self._visit_row(v) for v in inside],
            "actions": [_action_row(a) for a in sorted(self.actions, key=lambda a: a.at_ns)],
        }

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")

    def _visit_row(self, visit: TrueVisit) -> dict[str, object]:
        lines = self.lines(visit.visit) if visit.kind == "shopper" else {}
        return {
            "visit": visit.visit,
            "credential": visit.credential,
            "kind": visit.kind,
            "people": visit.people,
            "entered_at_s": _seconds(visit.entered_at_ns),
            "exited_at_s": _seconds(visit.exited_at_ns),
            "lines": [{"sku": sku, "quantity": n} for sku, n in lines.items()],
        }


def _action_row(action: TrueAction) -> dict[str, object]:
    return {
        "t_s": _seconds(action.at_ns),
        "kind": action.kind,
        "visit": action.visit,
        "to_visit": action.to_visit,
        "sku": action.sku,
        "quantity": action.quantity,
        "facing": action.facing,
    }


def _seconds(at_ns: int | None) -> float | None:
    return None if at_ns is None else round(at_ns / NS_PER_S, 3)
