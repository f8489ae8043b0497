"""Which tracks there are: confirmation, duplicates, and the end of tracks nobody needs.

TENTATIVE  three hits over 150 ms            -> PENDING
TENTATIVE  unseen for a quarter second        -> dropped: a false box
PENDING    unseen for a second                -> dropped: it never got an identity
KNOWN      of somebody: never dropped; hidden until found or gone through a gate
KNOWN      of nobody: dropped after 3 s unseen, or 60 s if it was followed for 2 s before;
           what it may have been goes to the others who may be that (``bequeath``)
LEAVING    unseen for a second                -> dropped: out of the door
"""

from __future__ import annotations

import numpy as np

from edge.vision.tracks import KNOWN, LEAVING, PENDING, TENTATIVE, People
from messages.arrays import Bools, Floats, Ints

CONFIRM_HITS = 3  # false boxes repeat at one place twice, hardly ever three times
CONFIRM_AGE_NS = 150_000_000
STEADY = 0.4  # share of instants that show a person whom one camera sees; false boxes come seldom
TENTATIVE_UNSEEN_NS = 250_000_000
PENDING_UNSEEN_NS = 1_000_000_000
LEAVING_UNSEEN_NS = 1_000_000_000
STRANGER_UNSEEN_NS = 3_000_000_000
STRANGER_KEPT_NS = 60_000_000_000  # a real body of nobody known may come out of hiding again
STRANGER_REAL_NS = 2_000_000_000
NOBODY_MIN = 0.98  # identity says that this is nobody known
MOSTLY = 0.5
DISTINCT_NS = 1_000_000_000  # how long one camera's two boxes speak for two people
DUPLICATE_M = 0.50  # two views of one person, biased boxes included; bodies so near show as two
TWIN_M = 0.90  # two views of one person whose feet one camera guesses badly, for seconds
TWIN_AGE_NS = 1_000_000_000  # two people so near show as two boxes of one camera by then
GATE_WAIT_NS = 3_000_000_000  # the gate's word on a passage arrives well within it
NEVER_NS = 2**62
SPACINGS_UNSEEN = 2.5  # slow cameras: unseen means that images came and showed nothing


def patience(limit_ns: int, spacing_ns: int) -> int:
    """A time limit on not being seen, stretched for slow cameras."""
    return max(limit_ns, int(SPACINGS_UNSEEN * spacing_ns))


def confirm(people: People, at_ns: int) -> None:
    """TENTATIVE tracks with enough hits become PENDING."""
    tentative = people.phase == TENTATIVE
    if not np.count_nonzero(tentative):
        return
    ready = tentative & (people.hits >= CONFIRM_HITS)
    ready &= at_ns - people.born_ns >= CONFIRM_AGE_NS
    people.phase[ready] = PENDING
    people.confirmed_ns[ready] = at_ns


def steady(people: People, rows: Ints, at_ns: int, spacing_ns: int) -> Bools:
    """(k,) seen in a good part of the instants since they began, and lately: no false boxes."""
    age_ns = at_ns - people.born_ns[rows]
    lately = at_ns - people.last_seen_ns[rows] <= patience(TENTATIVE_UNSEEN_NS, spacing_ns)
    return np.asarray(lately & (people.hits[rows] >= STEADY * age_ns / spacing_ns))


def wanted(people: People, at_ns: int, spacing_ns: int) -> Bools:
    """(n,) False for tracks whose time is over (table above)."""
    phase, unseen = people.phase, at_ns - people.last_seen_ns
    late = (unseen > TENTATIVE_UNSEEN_NS).nonzero()[0]  # the shortest limit
    if not np.count_nonzero((phase[late] != KNOWN) | (people.identity[late, -1] >= MOSTLY)):
        return np.ones(len(people), np.bool_)
    brief = people.last_seen_ns - people.born_ns < STRANGER_REAL_NS
    stranger = (phase == KNOWN) & (_nobody(people) | (brief & _mostly_nobody(people)))
    limit = np.full(len(people), NEVER_NS)
    limit[phase == TENTATIVE] = patience(TENTATIVE_UNSEEN_NS, spacing_ns)
    limit[phase == PENDING] = patience(PENDING_UNSEEN_NS, spacing_ns)
    limit[phase == LEAVING] = patience(LEAVING_UNSEEN_NS, spacing_ns)
    real = people.last_seen_ns - people.born_ns >= STRANGER_REAL_NS
    limit[stranger & real] = STRANGER_KEPT_NS
    limit[stranger & ~real] = patience(STRANGER_UNSEEN_NS, spacing_ns)
    return np.asarray(unseen <= limit)


def beside(people: People, i: Ints, j: Ints, within_m: float) -> tuple[Ints, Ints]:
    """Of these pairs of rows, those so near that they may be views of one body."""
    near = (_gap2(people, i, j) < within_m**2).nonzero()[0]
    return i[near], j[near]


def mark_distinct(people: People, track: Ints, camera: Ints, i: Ints, j: Ints, at_ns: int) -> None:
    """Tracks beside each other that one camera hit both, with two boxes, are two people.

    Args:
        track, camera: (k,) of the hits of this instant. i, j: rows of the pairs.
    """
    hit = np.zeros((len(people), max(camera.tolist(), default=0) + 1), np.bool_)
    hit[track, camera] = True
    both = np.logical_or.reduce(hit[i] & hit[j], axis=1)
    i, j = i[both], j[both]
    people.distinct_ns[i] = people.distinct_ns[j] = at_ns
    people.beside[i], people.beside[j] = people.track_id[j], people.track_id[i]


def _gap2(people: People, i: Ints, j: Ints) -> Floats:
    """(k,) squared distance of each pair of rows, m2."""
    dx, dy = people.mean[:2].take(i, axis=1) - people.mean[:2].take(j, axis=1)
    return np.asarray(dx * dx + dy * dy)


def strangers(people: People) -> Bools:
    """(n,) nobody known, first seen in an aisle lately: more often a false track than a body."""
    fresh = people.last_seen_ns - people.born_ns < STRANGER_REAL_NS
    return np.asarray(fresh & unaccounted(people))


def unaccounted(people: People) -> Bools:
    """(n,) of nobody known, and of nobody who came in: perhaps another view of somebody.

    Whoever comes in passes a gate that says so in time.
    """
    coming = people.from_gate & (people.last_seen_ns - people.born_ns < GATE_WAIT_NS)
    return np.asarray(~coming & _nobody(people))


def duplicates(people: People, i: Ints, j: Ints, at_ns: int, views: Ints | None = None) -> Bools:
    """(n,) True for young tracks that are a second view of a person already followed.

    The younger of a pair goes unless it has an identity to lose: both are seen at this instant,
    but no camera has seen them as two. Farther apart that takes longer to believe, and the track
    that stays takes the place that more cameras see.

    Args:
        i, j: rows of the pairs that were beside each other after the update.
        views: (n,) cameras that saw each track at this instant; None: only the near ones go.
    """
    drop = np.zeros(len(people), np.bool_)
    fresh = (people.phase < KNOWN) | ((people.phase == KNOWN) & _nobody(people))
    fresh &= people.last_seen_ns == at_ns
    if not np.count_nonzero(fresh[i] | fresh[j]):
        return drop
    younger = people.track_id[i] > people.track_id[j]
    a, b = np.where(younger, i, j), np.where(younger, j, i)
    some = (fresh[a] & (people.last_seen_ns[b] == at_ns)).nonzero()[0]
    if len(some):
        a, b = a[some], b[some]
        apart = np.minimum(people.distinct_ns[a], people.distinct_ns[b])
        gap2 = _gap2(people, a, b)
        one = (apart == 0) | (at_ns - apart > DISTINCT_NS)
        drop[a[one & (gap2 < DUPLICATE_M**2)]] = True
        if views is not None:
            twin = one & (gap2 >= DUPLICATE_M**2) & (gap2 < TWIN_M**2) & ~people.from_gate[a]
            twin &= at_ns - people.born_ns[a] > TWIN_AGE_NS
            drop[a[twin]] = True
            better = twin & (views[a] > views[b])
            people.mean[:, b[better]] = people.mean[:, a[better]]
            people.covariance[:, b[better]] = people.covariance[:, a[better]]
    return drop


def _mostly_nobody(people: People) -> Bools:
    """(n,) likelier nobody known than anybody: a false track that took a little of somebody."""
    return np.asarray(people.identity[:, -1] >= MOSTLY)


def bequeath(people: People, keep: Bools) -> None:
    """Tracks that go were nobody after all: what they may have been, the others of it surely are.

    Identities of the tracks that stay grow by what those that go had of the same visits, out of
    their own share of nobody known.
    """
    give_back(people, people.identity[~keep, :-1].sum(axis=0), keep)


def give_back(people: People, gone: Floats, keep: Bools) -> None:
    """Identities (v,) that some track was taken for, to those of ``keep`` who may be them."""
    if not gone.any():
        return
    held = people.identity[:, :-1] * keep[:, None]
    total = held.sum(axis=0)
    more = held * np.divide(gone, total, out=np.zeros_like(gone), where=total > 0.0)
    wanted = more.sum(axis=1)
    room = people.identity[:, -1]
    part = np.minimum(1.0, np.divide(room, wanted, out=np.zeros_like(wanted), where=wanted > 0.0))
    people.identity[:, :-1] += more * part[:, None]
    people.identity[:, -1] -= wanted * part


def _nobody(people: People) -> Bools:
    """(n,) identity says that this is nobody known."""
    return np.asarray(people.identity[:, -1] >= NOBODY_MIN)
