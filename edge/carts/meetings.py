"""Two people who may pass something on: how near their hands came, and what that makes doubtful.

Nothing weighs an item that goes from hand to hand, so only hands can tell. Two people whose wrists
meet in the air for about a second probably pass something; people who merely stand close have
their wrists apart. Each such *passing* has a probability; what the two hold shares it.

A meeting is looked at every 0.3 s, over the second before. Passings of one meeting are gathered
until the two part, since an exchange is two passings and both concern the same goods.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.carts.touches import Touch
from edge.carts.who import Window, mean_identity
from messages.arrays import Bools, Floats, Ints
from messages.ids import VisitId

LOOK_NS = 1_000_000_000  # a passing: hands are at the goods for 0.7 to 1.2 s
LOOK_EVERY_NS = 300_000_000
APART_NS = 1_500_000_000  # after this long without a passing, what happened counts
SAMPLES_MIN = 4  # sightings of both in the window; fewer say nothing about hands
NEAR_M = 1.2  # bodies; two arms reach farther, but who gives something steps up
SPREAD_MAX_M = 0.30  # of a body's position: a hidden one has no hands
MEETINGS_MAX = 256
LOOKS_MAX = 64  # of one meeting: people who stand together for long keep the latest
# Log odds of a passing during one look: a logistic regression on 54 looks at passings and 2,483 at
# other pairs whose hands were not at a shelf (seeds 1 and 3 of the library; each half judged by
# the other). Above 0.3: 38 of 47 and 6 of 1,903; the crowd of "33 touches", whose looks counted a
# quarter, is worse: 3 of 7 and 69 of 580.
LEVEL = -2.50
OF_GAP = -9.06  # per metre between the lines of sight of the nearest wrists, up to
GAP_MAX_M = 0.9
OF_STRETCH = 8.70  # per metre that the less stretched arm goes towards the other body, up to
STRETCH_MAX_M = 0.3
OF_SPEED = -9.0  # per m/s of the faster one, up to
SPEED_MAX_M_S = 0.5
OF_DISTANCE = 4.43  # per metre between the bodies: hands of bodies side by side are near anyway
BLIND_M = 0.8  # how far along its line of sight a wrist may be from where it was put
SIGHT_STEPS = 9
PASSING_MAX = 0.95  # a handshake, a finger pointing at the other's basket
PASSING_MIN = 0.01
# Looks that follow each other are one run, and what they say adds up: odds = e^-0.94 sum^1.9,
# fitted to the 13 runs with passings (sums of 0.4 to 7, mostly 2.5 for each passing) and 104
# without (80 % below 0.6) of the same recordings.
RUN_POWER, RUN_ODDS = 1.9, 0.39
CLEAR_OF_ONE = 2.5
RUN_MIN = 0.03  # 1 of the 13, half of the 104: fainter ones are not worth a question
GHOST = 0.1  # a track of nobody in a store where everybody is accounted for is hardly a person
AT_SHELF_MIN = 0.2  # a touch so probable ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at two people: the time of its end, and the probability of a passing."""

    at_ns: int
    probability: float


@dataclass(slots=True)
class Meeting:
    """Two tracks whose hands met; ``looks`` in their order."""

    tracks: tuple[int, int]
    visits: tuple[VisitId, VisitId]  # "" = nobody known to us
    at_ns: int  # of the latest look
    looks: list[Look] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """Pairs of people whose hands were near each other in one window: m pairs."""

    tracks: Ints  # (m, 2)
    row: Ints  # (m, 2) rows of the window
    probability: Floats  # (m,) of a passing


def hands_met(window: Window) -> Near:
    """Pairs of tracks that may have passed something on during the window."""
    a, b, distance = _near_bodies(window)
    finite: Bools = np.asarray(np.isfinite(window.wrists_store_m).all(axis=-1))
    seen: Bools = np.asarray(finite.any(axis=2))  # (k, n)
    enough = (seen[:, a] & seen[:, b]).sum(axis=0) >= SAMPLES_MIN
    a, b, distance = a[enough], b[enough], distance[enough]
    if not len(a):
        return Near(tracks=np.zeros((0, 2), int), row=np.zeros((0, 2), int), probability=distance)
    log_odds = (
        LEVEL
        + OF_GAP * np.minimum(_gap(window, a, b), GAP_MAX_M)
        + OF_STRETCH * np.clip(_stretch(window, a, b), -STRETCH_MAX_M, STRETCH_MAX_M)
        + OF_SPEED * np.minimum(_faster(window, a, b), SPEED_MAX_M_S)
        + OF_DISTANCE * distance
    )
    chance = np.minimum(1.0 / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0))), PASSING_MAX)
    kept = chance >= PASSING_MIN
    row = np.stack([a[kept], b[kept]], axis=1)
    return Near(tracks=window.track_id[row], row=row, probability=chance[kept])


def _gap(window: Window, a: Ints, b: Ints) -> Floats:
    """(m,) median distance of the nearest wrists, each anywhere along its line of sight."""
    wrists, along = window.wrists_store_m, np.nan_to_num(window.wrists_along)
    step = np.linspace(-BLIND_M, BLIND_M, SIGHT_STEPS)[:, None]
    first = wrists[:, a, :, None] + step * along[:, a, :, None]  # (k, m, 2, s, 3)
    apart = first[:, :, :, None] - wrists[:, b, None, :, None]  # (k, m, 2, 2, s, 3)
    sight = along[:, b, None, :, None]
    depth = np.clip((apart * sight).sum(axis=-1), -BLIND_M, BLIND_M)
    gap = np.linalg.norm(apart - depth[..., None] * sight, axis=-1)
    gap = gap.reshape(len(gap), len(a), -1)
    nearest = np.where(np.isnan(gap), np.inf, gap).min(axis=2, initial=np.inf)
    return _median(nearest)


def _stretch(window: Window, a: Ints, b: Ints) -> Floats:
    """(m,) how far the wrists go towards the other body: of each the median, of both the less."""
    body = np.where(np.isfinite(window.position_store_m), window.position_store_m, np.nan)
    present = np.isfinite(body).all(axis=2, keepdims=True)
    mean = np.nan_to_num(body).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    toward = mean[b] - mean[a]
    toward = toward / np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 0.05)
    arm = window.wrists_store_m[..., :2] - body[:, :, None]  # (k, n, 2, 2)
    sides = ((arm[:, a] * toward[:, None]).sum(-1), -(arm[:, b] * toward[:, None]).sum(-1))
    best = [np.where(np.isnan(s), -np.inf, s).max(axis=2) for s in sides]  # (k, m)
    middles = [_median(np.where(np.isfinite(s), s, np.inf)) for s in best]
    return np.asarray(np.minimum(*middles))


def _faster(window: Window, a: Ints, b: Ints) -> Floats:
    """(m,) speed of the faster one, from its first to its last place in the window."""
    present: Bools = np.asarray(np.isfinite(window.position_store_m).all(axis=2))  # (k, n)
    first, last = present.argmax(axis=0), len(present) - 1 - present[::-1].argmax(axis=0)
    column = np.arange(present.shape[1])
    position = np.nan_to_num(window.position_store_m)
    way = np.linalg.norm(position[last, column] - position[first, column], axis=1)
    lasted_s = (window.at_ns[last] - window.at_ns[first]) / 1e9
    speed = way / np.maximum(lasted_s, 0.1)
    return np.asarray(np.maximum(speed[a], speed[b]))


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


def somebody(window: Window, inside: Sequence[VisitId], strangers: int) -> float:
    """Probability that a track of nobody known is a person at all: is anybody unaccounted for?"""
    lost = np.clip(1.0 - mean_identity(window, inside)[:, :-1].sum(axis=0), 0.0, 1.0).sum()
    return float(min(1.0, GHOST + strangers + lost))


def after_look(
    meetings: Sequence[Meeting],
    near: Near,
    visits: Sequence[VisitId],
    at_ns: int,
    unknown: float = 1.0,
) -> list[Meeting]:
    """Meetings with what one look saw.

    Args:
        visits: of each row of the window, "" = unknown.
        unknown: probability that one of these is a person.
    """
    known = {m.tracks: m for m in meetings}
    for (a, b), (i, j), chance in zip(
        near.tracks.tolist(), near.row.tolist(), near.probability.tolist(), strict=True
    ):
        if visits[i] == visits[j]:  # of one party, or both unknown
            continue
        new = Meeting(tracks=(a, b), visits=(visits[i], visits[j]), at_ns=at_ns)
        meeting = known.setdefault((a, b), new)
        meeting.at_ns = at_ns
        chance = chance if visits[i] and visits[j] else chance * unknown
        meeting.looks = [*meeting.looks, Look(at_ns=at_ns, probability=chance)][-LOOKS_MAX:]
    return list(known.values())[-MEETINGS_MAX:]


def passings(meeting: Meeting, touches: Iterable[Touch]) -> list[float]:
    """Probability of each passing, in their order; none while a hand of the two was at a shelf."""
    theirs = [t for t in touches if t.visit in meeting.visits and t.probability >= AT_SHELF_MIN]
    free = [look for look in meeting.looks if not any(_during(look, t) for t in theirs)]
    runs, last_ns = list[list[float]](), -APART_NS
    for look in free:
        runs += [[]] if look.at_ns - last_ns >= 2 * LOOK_EVERY_NS else []
        runs[-1].append(look.probability)
        last_ns = look.at_ns
    return [chance for run in runs for chance in _of_run(run)]


def _of_run(run: Sequence[float]) -> list[float]:
    """One passing, and a second one where the looks are too many for one."""
    clear = sum(run)
    chances = [_chance(clear), _chance(clear - CLEAR_OF_ONE)]
    return [chance for chance in chances if chance >= RUN_MIN]


def _chance(clear: float) -> float:
    """Probability of a passing by the sum of what a run of looks says."""
    odds: float = max(clear, 0.0) ** RUN_POWER * RUN_ODDS
    return min(odds / (1.0 + odds), PASSING_MAX)


def _during(look: Look, touch: Touch) -> bool:
    return touch.started_at_ns <= look.at_ns and touch.ended_at_ns >= look.at_ns - LOOK_NS


def shared(chances: Sequence[float], goods: int) -> float:
    """Probability that one of ``goods`` things that the two hold went to the other one."""
    return min(sum(chances) / max(goods, 1), max(chances, default=0.0))
