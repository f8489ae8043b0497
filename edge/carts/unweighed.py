"""What no plate weighs: hands that met, and hands that went down to the floor.

Looked for every 0.3 s in what was known of people; gives the lines that become doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.carts.handing import FLOOR, PICKED, REASON, Handed, handed, left_behind, picked_up
from edge.carts.meetings import (
    APART_NS,
    LOOK_EVERY_NS,
    LOOK_NS,
    Meeting,
    after_look,
    hands_met,
    likely_visits,
    somebody,
)
from edge.carts.state import CartTrackerState
from edge.carts.stoops import USUAL_NS, Stoop, stooped, where
from edge.carts.who import Window
from messages.arrays import Floats, Ints
from messages.events import Evidence, VisitKind
from messages.ids import VisitId

STOOP_NS = 2_500_000_000  # looks that follow each other see one stoop
STOOPS_MAX = 64  # places where something may lie; the oldest are forgotten first

Doubtful = list[tuple[Handed, Evidence]]


class People(Protocol):
    """The person tracker, as far as carts need it."""

    def between(self, start_ns: int, end_ns: int) -> Window: ...
    def covered_until_ns(self) -> int: ...
    def looks_the_same(self, visit: VisitId, since_ns: int) -> bool: ...


def looked(
    state: CartTrackerState,
    people: People,
    plates_m: Floats,
    charge_min: float,
    *,
    strangers: int = 0,
) -> Doubtful:
    """Look when it is time; what is over by now makes lines doubtful.

    Args:
        state: its meetings, stoops and time of the last look are brought up to date.
        plates_m: (p, 2) centres of all plates.
        strangers: people inside who came through a gate without a credential.
    """
    until_ns, doubtful = people.covered_until_ns(), Doubtful()
    if until_ns - state.looked_at_ns >= LOOK_EVERY_NS and state.visits:
        state.looked_at_ns = until_ns
        inside = list(state.visits)
        before = people.between(until_ns - USUAL_NS, until_ns)
        doubtful += _left(state, before, inside, plates_m, until_ns, charge_min)
        window = _since(before, until_ns - LOOK_NS)
        near = hands_met(window)
        if len(near.row) or state.meetings:
            whose = likely_visits(window, inside)
            unknown = somebody(window, inside, strangers)
            state.meetings = after_look(state.meetings, near, whose, until_ns, unknown)
    held_ns = min((h.started_at_ns for h in state.held), default=until_ns)  # hands may be there
    over = [m for m in state.meetings if until_ns - m.at_ns >= APART_NS and m.at_ns < held_ns]
    return doubtful + passed_on(state, over, charge_min)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lately:
    """The last samples of a ``Window``."""

    at_ns: Ints
    track_id: Ints
    position_store_m: Floats
    position_sd_m: Floats
    wrists_store_m: Floats
    wrists_along: Floats
    visits: tuple[VisitId, ...]
    identity: Floats


def _since(window: Window, start_ns: int) -> Window:
    """The part of a window that begins at an instant; its newest sample where there is none."""
    first = min(int(np.searchsorted(window.at_ns, start_ns)), max(len(window.at_ns) - 1, 0))
    return _Lately(
        at_ns=window.at_ns[first:],
        track_id=window.track_id,
        position_store_m=window.position_store_m[first:],
        position_sd_m=window.position_sd_m[first:],
        wrists_store_m=window.wrists_store_m[first:],
        wrists_along=window.wrists_along[first:],
        visits=window.visits,
        identity=window.identity[first:],
    )


def passed_on(state: CartTrackerState, meetings: Sequence[Meeting], charge_min: float) -> Doubtful:
    """Lines of those who met; the meetings are over."""
    shoppers = [v for v, record in state.visits.items() if record.kind is VisitKind.SHOPPER]
    doubtful = Doubtful()
    for meeting in meetings:
        state.meetings.remove(meeting)
        note = Evidence(
            started_at_ns=meeting.at_ns - LOOK_NS,
            ended_at_ns=meeting.at_ns,
            track_ids=meeting.tracks,
            note=REASON,
        )
        lines = handed(meeting, state.touches, state.carts, shoppers, charge_min)
        doubtful += [(line, note) for line in lines]
    return doubtful


def _left(
    state: CartTrackerState,
    window: Window,
    inside: Sequence[VisitId],
    plates_m: Floats,
    now_ns: int,
    charge_min: float,
) -> Doubtful:
    """What somebody who stoops may have left on the floor."""
    rows = stooped(window, plates_m)
    whose = likely_visits(window, inside) if len(rows) else []
    places = {whose[row]: where(window, row) for row in rows.tolist()}
    doubtful = Doubtful()
    for visit in sorted(places.keys() & state.visits.keys()):
        again = now_ns - state.stooped_ns.get(visit, -STOOP_NS) < STOOP_NS
        state.stooped_ns[visit] = now_ns
        if again or state.visits[visit].kind is not VisitKind.SHOPPER:
            continue
        here = Stoop(visit=visit, at_ns=now_ns - USUAL_NS, place_m=places[visit])
        lines, reason = _picked_up(state, here, charge_min), PICKED
        if not lines:
            lines, reason = left_behind(visit, state.carts[visit], here.at_ns, charge_min), FLOOR
            state.stoops = [*state.stoops, here][-STOOPS_MAX:]
        note = Evidence(started_at_ns=here.at_ns, ended_at_ns=now_ns, note=reason)
        doubtful += [(line, note) for line in lines]
    return doubtful


def _picked_up(state: CartTrackerState, here: Stoop, charge_min: float) -> list[Handed]:
    """What another visit may have left where this one stoops now; asked about once."""
    for before in reversed(state.stoops):
        known = before.visit in state.carts and before.visit != here.visit
        if known and here.near(before):
            state.stoops.remove(before)
            cart = state.carts[before.visit]
            return picked_up(before.visit, here.visit, cart, before.at_ns, charge_min)
    return []
