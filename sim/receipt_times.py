"""How long a shopper waits: exit passage -> provisional receipt -> cart closed -> receipt.

Read after the run from the store's own files. The passage is the gate controller's signal in the
journal, the cart is closed when its row is committed for the second systems, and the receipt is
final (paid, or nothing to pay) when the sync process wrote it down. A cart that waited for a
question to be answered is told apart: it waits on purpose.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloud_sync import views
from cloud_sync.metrics import quantiles
from edge.journal import unpacked
from messages import codec
from messages.events import CartClosed, ReviewRequested, ReviewResolved
from messages.ids import VisitId
from messages.observations import GateSignal, GateSignalKind

# A passage is judged once the images of its instant are in (0.3 s) and a step has run (0.1 s).
# Of several people who went out within this, the first is taken: never too short a time.
JUDGED_WITHIN_NS = 500_000_000
NS = 1e9
NEVER_NS = 2**63
FINAL = ("paid", "free")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTimes:
    """One receipt. ``passage_to_cart_s`` None: no gate saw this visit's exit."""

    visit: str
    state: str
    in_review: bool
    passage_to_provisional_s: float | None
    passage_to_cart_s: float | None
    cart_to_receipt_s: float

    @property
    def passage_to_receipt_s(self) -> float | None:
        if self.passage_to_cart_s is None:
            return None
        return self.passage_to_cart_s + self.cart_to_receipt_s


def receipt_times(journal: Path, sync: Path) -> list[ReceiptTimes]:
    """The final receipts of a run, in order of exit; none where a file is missing."""
    if not (journal.exists() and sync.exists()):
        return []
    receipts = [row for row in views.receipts(sync) if row["state"] in FINAL]
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        carts = _closed_carts(db)
        exits = _exits(db)
        questions = _questions_until(db)
    return [
        _times(*carts[row["visit"]], row, exits, questions)
        for row in receipts
        if row["visit"] in carts
    ]


def summary(times: Sequence[ReceiptTimes]) -> dict[str, Any]:
    """For ``--json``: each receipt, and count, p50, p99 and max of each span.

    ``passage_to_cart_s`` and ``passage_to_receipt_s`` leave out the receipts under review.
    """
    plain = [one for one in times if not one.in_review]
    return {
        "each": [asdict(one) | {"passage_to_receipt_s": one.passage_to_receipt_s} for one in times],
        "in_review": len(times) - len(plain),
        "passage_to_provisional_s": quantiles(
            _known(one.passage_to_provisional_s for one in times)
        ),
        "passage_to_cart_s": quantiles(_known(one.passage_to_cart_s for one in plain)),
        "cart_to_receipt_s": quantiles(one.cart_to_receipt_s for one in times),
        "passage_to_receipt_s": quantiles(_known(one.passage_to_receipt_s for one in plain)),
    }


def span_text(figures: Mapping[str, float]) -> str:
    """``p50 2.1 s, p99 2.3 s, max 2.3 s of 12``."""
    if not figures["count"]:
        return "none"
    parts = (f"{name} {figures[name]:.2f} s" for name in ("p50", "p99", "max"))
    return f"{', '.join(parts)} of {figures['count']}"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _times(
    cart: CartClosed,
    committed_wall_ns: int,
    receipt: Mapping[str, Any],
    exits: Mapping[str, Sequence[int]],
    questions_until: Mapping[VisitId, int],
) -> ReceiptTimes:
    passed_ns = _passage_ns(exits.get(str(cart.exit_gate), ()), cart.ended_at_ns)
    waited = None if passed_ns is None else (cart.at_ns - passed_ns) / NS
    return ReceiptTimes(
        visit=str(cart.visit),
        state=receipt["state"],
        in_review=questions_until.get(cart.visit, 0) > cart.ended_at_ns,
        passage_to_provisional_s=_provisional_s(cart, passed_ns, receipt),
        passage_to_cart_s=waited,
        cart_to_receipt_s=(receipt["issued_wall_ns"] - committed_wall_ns) / NS,
    )


def _provisional_s(
    cart: CartClosed, passed_ns: int | None, receipt: Mapping[str, Any]
) -> float | None:
    """From the passage to the receipt that was told at once; None where there was none."""
    told_ns = receipt["provisional_wall_ns"]
    if passed_ns is None or not told_ns:
        return None
    return (told_ns - cart.ended_at_wall_ns + cart.ended_at_ns - passed_ns) / NS


def _passage_ns(signals_ns: Sequence[int], ended_ns: int) -> int | None:
    """The passage behind which a visit ended; store time."""
    end = bisect_right(signals_ns, ended_ns)
    if not end:
        return None
    return signals_ns[min(bisect_left(signals_ns, ended_ns - JUDGED_WITHIN_NS), end - 1)]


def _closed_carts(db: sqlite3.Connection) -> dict[str, tuple[CartClosed, int]]:
    rows = db.execute("SELECT body, created_wall_ns FROM outbox WHERE kind='cart_closed'")
    read = [(codec.decode(body), wall_ns) for body, wall_ns in rows]
    return {str(c.visit): (c, wall_ns) for c, wall_ns in read if isinstance(c, CartClosed)}


def _exits(db: sqlite3.Connection) -> dict[str, list[int]]:
    """Passages outwards by gate, in order."""
    found: dict[str, list[int]] = {}
    for (block,) in db.execute("SELECT block FROM step ORDER BY step"):
        for seen in codec.decode_many(unpacked(block)):
            if isinstance(seen, GateSignal) and seen.kind is GateSignalKind.EXIT:
                found.setdefault(str(seen.gate), []).append(seen.received_at_ns)
    return {gate: sorted(at_ns) for gate, at_ns in found.items()}


def _questions_until(db: sqlite3.Connection) -> dict[VisitId, int]:
    """The instant at which the last question about a visit was answered."""
    query = "SELECT body FROM event WHERE type IN ('ReviewRequested','ReviewResolved') ORDER BY seq"
    asked, until = dict[str, ReviewRequested](), dict[VisitId, int]()
    for (body,) in db.execute(query):
        match codec.decode(body):
            case ReviewRequested() as question:
                asked[str(question.review)] = question
                until |= dict.fromkeys(question.visits, NEVER_NS)
            case ReviewResolved() as answer if str(answer.review) in asked:
                question = asked.pop(str(answer.review))
                still = {visit for one in asked.values() for visit in one.visits}
                until |= {visit: answer.at_ns for visit in question.visits if visit not in still}
    return until
