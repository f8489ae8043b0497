"""Two people who may pass something on: how near their hands came, and what that makes doubtful.

Nothing weighs an item that goes from hand to hand, so only hands can tell. Two people whose wrists
meet in the air for about a second probably pass something; people who merely stand close have
their wrists apart. Each such *passing* has a probability; what the two hold shares it.

A meeting is looked at every 0.3 s, over the second before. Passings of one meeting are gathered
until the two part, since an exchange is two passings and both concern the same goods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.carts.who import Window, mean_identity
from messages.arrays import Floats, Ints
from messages.ids import VisitId

LOOK_NS = 1_000_000_000  # a passing: hands are at the goods for 0.7 to 1.2 s
LOOK_EVERY_NS = 300_000_000
APART_NS = 1_500_000_000  # after this long without a passing, what happened counts
SAMPLES_MIN = 4  # sightings of both in the window; fewer say nothing about hands
NEAR_M = 1.2  # bodies; two arms reach farther, but who gives something steps up
SPREAD_MAX_M = 0.30  # of a body's position: a hidden one has no hands
MEETINGS_MAX = 256
# Log odds of a passing: wrists are on average 0.22 m apart when they pass something and 0.5 m when
# people stand close; half of the measure is relative, since hands of bodies side by side are near
# anyway. Fitted to 14 passings and 1,960 other encounters, odd seeds of the library: at -4.7, where
# a line of 0.999 is asked about, 2.4 % of the others and 8 of the passings are above.
HANDS_M = 0.30
HANDS_OF_DISTANCE = 0.42
MIDDLE, SLOPE = 0.711, 0.077
PASSING_MAX = 0.95  # a handshake, a finger pointing at the other's basket
PASSING_MIN = 0.005


@dataclass(slots=True)
class Meeting:
    """Two tracks whose hands met. ``probability``: of each passing, in their order."""

    tracks: tuple[int, int]
    visits: tuple[VisitId, VisitId]  # "" = nobody known to us
    at_ns: int  # of the latest passing
    open_: bool = True  # the latest passing may still go on
    probability: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """Pairs of people whose hands were near each other in one window: m pairs."""

    tracks: Ints  # (m, 2)
    row: Ints  # (m, 2) rows of the window
    probability: Floats  # (m,) of a passing


def hands_met(window: Window) -> Near:
    """Pairs of tracks that may have passed something on during the window."""
    a, b, distance = _near_bodies(window)
    wrists = window.wrists_store_m
    gap = np.linalg.norm(wrists[:, a, :, None] - wrists[:, b, None, :], axis=-1)  # (k, m, 2, 2)
    gap = gap.reshape(len(gap), len(a), 4)
    seen = np.isfinite(gap).any(axis=2)
    nearest = np.where(seen, np.nan_to_num(gap, nan=np.inf).min(axis=2, initial=np.inf), np.inf)
    enough = seen.sum(axis=0) >= SAMPLES_MIN
    a, b, distance = a[enough], b[enough], distance[enough]
    middle = _median(nearest[:, enough])
    log_odds = (MIDDLE - 0.5 * middle * (1.0 / HANDS_M + 1.0 / (HANDS_OF_DISTANCE * distance))) / (
        SLOPE
    )
    chance = PASSING_MAX / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0)))
    kept = chance >= PASSING_MIN
    row = np.stack([a[kept], b[kept]], axis=1)
    return Near(tracks=window.track_id[row], row=row, probability=chance[kept])


def _near_bodies(window: Window) -> tuple[Ints, Ints, Floats]:
    """Rows of pairs that stood within reach of each other, and their mean distance (never 0)."""
    position = np.where(
        (window.position_sd_m < SPREAD_MAX_M)[..., None], window.position_store_m, np.nan
    )
    present = np.isfinite(position).all(axis=2)
    times = present.sum(axis=0)
    mean = np.nan_to_num(position).sum(axis=0) / np.maximum(times, 1)[:, None]
    a, b = np.triu_indices(len(times), 1)
    apart = np.hypot(*(mean[a] - mean[b]).T) if len(a) else np.zeros(0)
    near = (apart < NEAR_M) & (times[a] >= SAMPLES_MIN) & (times[b] >= SAMPLES_MIN)
    return a[near], b[near], np.maximum(apart[near], 0.05)


def _median(distance: Floats) -> Floats:
    """(m,) median of the finite values of each column; every column has some."""
    ordered = np.sort(distance, axis=0)
    count = np.isfinite(distance).sum(axis=0)
    columns = np.arange(distance.shape[1])
    low, high = ordered[(count - 1) // 2, columns], ordered[count // 2, columns]
    result: Floats = (low + high) / 2.0
    return result


def likely_visits(window: Window, inside: Sequence[VisitId]) -> list[VisitId]:
    """Whose each track probably is; "" where nobody's in particular."""
    identity = mean_identity(window, inside)
    best = identity.argmax(axis=1)
    nobody = VisitId("")
    return [inside[i] if i < len(inside) else nobody for i in best.tolist()]


def after_look(
    meetings: Sequence[Meeting], near: Near, visits: Sequence[VisitId], at_ns: int
) -> list[Meeting]:
    """Meetings with what one look saw. ``visits``: of each row of the window, "" = unknown."""
    known = {m.tracks: m for m in meetings}
    met = set[tuple[int, int]]()
    for (a, b), (i, j), chance in zip(
        near.tracks.tolist(), near.row.tolist(), near.probability.tolist(), strict=True
    ):
        if visits[i] == visits[j]:  # of one party, or both unknown
            continue
        met.add((a, b))
        meeting = known.setdefault(
            (a, b), Meeting(tracks=(a, b), visits=(visits[i], visits[j]), at_ns=at_ns, open_=False)
        )
        _passed(meeting, chance, at_ns)
    for tracks, meeting in known.items():
        meeting.open_ = meeting.open_ and tracks in met
    return list(known.values())[-MEETINGS_MAX:]


def _passed(meeting: Meeting, chance: float, at_ns: int) -> None:
    """Looks that follow each other see one passing, and the clearest of them counts."""
    if meeting.open_:
        meeting.probability[-1] = max(meeting.probability[-1], chance)
    else:
        meeting.probability.append(chance)
    meeting.at_ns, meeting.open_ = at_ns, True


def shared(meeting: Meeting, goods: int) -> float:
    """Probability that one of ``goods`` things that the two hold went to the other one."""
    each = sum(meeting.probability) / max(goods, 1)
    return min(each, max(meeting.probability, default=0.0))
