"""Encounters: two people so close that their tracks may have been exchanged.

While two tracks are nearer than the cameras can tell apart, detections may go to the wrong one. An
encounter remembers both states when it began. Once they are apart again (or one of them is hidden)
the two stories, straight and exchanged, are compared: how well does the motion from the start
explain where each of them is now, and how near did they come? The identities of the two tracks are
then mixed with the probability of the exchange, so an even chance says so and an exchange that
plainly happened is undone. The same probability shows in every answer while the encounter is open.
"""

from __future__ import annotations

import numpy as np

from edge.vision.association import sweep
from edge.vision.ground_filter import XX, XY, YY, full, laws
from edge.vision.lifecycle import strangers
from edge.vision.tracks import KNOWN, PENDING, Encounters, People
from messages.arrays import Bools, Floats, Ints

NEAR_M = 1.0  # pairs looked at; two coasting tracks blur at 0.7 m
CLOSE2 = 5.0  # squared normalized distance below which boxes may be mistaken (0.32 m seen well)
APART2 = 10.0  # and above which they are told apart again
SIGHT_SD_M = 0.12  # of one instant's detections of one person
SETTLE_NS = 400_000_000  # the filter's memory of a position: 5 images at 15 Hz, and a margin
EVEN2 = 0.5  # nearer than this the boxes tell nothing; an exchange is as likely as none
FADE2 = 1.0  # and beyond it, log odds lost per unit: crowds of tests/edge/vision, with a margin
TEMPER = 0.6  # people turn and stop more than the motion law says: evidence of motion, discounted
ENCOUNTERS_MAX = 512
TABLE_ROWS_MAX = 40  # so many people are compared each with each; more are sorted
_OF_PLACE = np.array([XX, XY, YY])


def near_pairs(mean: Floats, among: Bools) -> tuple[Ints, Ints]:
    """Rows i, j of the pairs nearer than ``NEAR_M``, both in ``among``, each pair once."""
    rows = among.nonzero()[0]
    if len(rows) < 2:
        return _NONE, _NONE
    if len(rows) <= TABLE_ROWS_MAX:
        at = mean[:2].take(rows, axis=1)
        near = np.abs(at[:, :, None] - at[:, None]) < NEAR_M
        i, j = (near[0] & near[1] & _AFTER[: len(rows), : len(rows)]).nonzero()
        return rows[i], rows[j]
    x = mean[0].take(rows)
    order = x.argsort(kind="stable")
    rows, x = rows[order], x[order]
    a, b = sweep(x, x, x + NEAR_M)
    ok = a < b
    i, j = rows[a[ok]], rows[b[ok]]
    ok = np.abs(mean[1].take(i) - mean[1].take(j)) < NEAR_M
    return i[ok], j[ok]


_NONE = np.zeros(0, np.int64)
_AFTER = np.triu(np.ones((TABLE_ROWS_MAX, TABLE_ROWS_MAX), np.bool_), 1)


def closeness(people: People, i: Ints, j: Ints) -> Floats:
    """Squared distance of each pair over the spread of one sighting and of the tracks."""
    dx, dy = people.mean[:2].take(i, axis=1) - people.mean[:2].take(j, axis=1)
    C = people.covariance.take(_OF_PLACE, axis=0)
    s0, s1, s2 = (C.take(i, axis=1) + C.take(j, axis=1)) / 2
    s0, s2 = s0 + SIGHT_SD_M**2, s2 + SIGHT_SD_M**2
    return np.asarray((s2 * dx * dx - 2 * s1 * dx * dy + s0 * dy * dy) / (s0 * s2 - s1 * s1))


def _may_be_close(people: People, i: Ints, j: Ints) -> Bools:
    """False where ``closeness`` cannot be below ``CLOSE2``; no spread is above the trace."""
    gap = people.mean[:2].take(i, axis=1) - people.mean[:2].take(j, axis=1)
    gap *= gap
    trace = (people.covariance[XX] + people.covariance[YY]) / 2 + SIGHT_SD_M**2
    return np.asarray(gap[0] + gap[1] < CLOSE2 * (trace[i] + trace[j]))


def rows_of(people: People, track: Ints) -> Ints:
    """Row of each track id, -1 where there is none; any shape."""
    if not len(people):
        return np.full(track.shape, -1)
    order = np.argsort(people.track_id, kind="stable")
    sorted_id = people.track_id[order]
    place = np.minimum(np.searchsorted(sorted_id, track), len(order) - 1)
    return np.where(sorted_id[place] == track, order[place], -1)


def observe(
    encounters: Encounters, people: People, live: Bools, i: Ints, j: Ints, at_ns: int
) -> None:
    """Before the update of an instant: follow open encounters, settle finished ones, open new.

    Args:
        live: (n,) seen lately. i, j: rows of near pairs.
    """
    if len(encounters):
        _follow(encounters, people, live, at_ns)
    if len(i):
        _open(encounters, people, live, i, j, at_ns)


def _follow(encounters: Encounters, people: People, live: Bools, at_ns: int) -> None:
    rows = rows_of(people, encounters.track)
    there = np.asarray((rows >= 0).all(axis=1))
    encounters.keep(there)
    rows = rows[there]
    d2 = closeness(people, rows[:, 0], rows[:, 1])
    both = live[rows].all(axis=1)
    encounters.closest = np.where(both, np.minimum(encounters.closest, d2), encounters.closest)
    first = (d2 > APART2) & (encounters.resolved_ns < 0)
    encounters.resolved_ns = np.where(first, at_ns, encounters.resolved_ns)
    encounters.resolved_ns = np.where(d2 < CLOSE2, -1, encounters.resolved_ns)
    settled = (encounters.resolved_ns >= 0) & (at_ns - encounters.resolved_ns >= SETTLE_NS)
    parted = first | (~both & (encounters.resolved_ns < 0))
    if np.count_nonzero(parted):
        people.looks.begin_anew(rows[parted].ravel())
    settle(encounters, people, live, settled | ~both, at_ns)


def _open(
    encounters: Encounters, people: People, live: Bools, i: Ints, j: Ints, at_ns: int
) -> None:
    ok = _may_be_close(people, i, j)
    if not np.count_nonzero(ok):
        return
    known = live & ((people.phase == KNOWN) | (people.phase == PENDING))
    known &= ~strangers(people)
    ok &= known[i] & known[j]
    i, j = i[ok], j[ok]
    if not len(i):
        return
    d2 = closeness(people, i, j)
    ok = d2 < CLOSE2
    if not np.count_nonzero(ok):
        return
    if len(encounters):
        pair = _key(people.track_id[i[ok]], people.track_id[j[ok]])
        known_pair = _key(encounters.track[:, 0], encounters.track[:, 1])
        ok[ok] = (pair[:, None] != known_pair).all(axis=1)
    room = max(ENCOUNTERS_MAX - len(encounters), 0)
    chosen = np.flatnonzero(ok)[:room]
    if len(chosen):
        _append(encounters, people, i[chosen], j[chosen], d2[chosen], at_ns)


def _append(
    encounters: Encounters, people: People, i: Ints, j: Ints, d2: Floats, at_ns: int
) -> None:
    swap = people.track_id[i] > people.track_id[j]
    rows = np.stack((np.where(swap, j, i), np.where(swap, i, j)), axis=1)
    now = np.full(len(rows), at_ns, np.int64)
    mean, covariance = people.mean.T[rows], people.covariance.T[rows]
    encounters.track = np.concatenate((encounters.track, people.track_id[rows]))
    encounters.start_ns = np.concatenate((encounters.start_ns, now))
    encounters.start_mean = np.concatenate((encounters.start_mean, mean))
    encounters.start_covariance = np.concatenate((encounters.start_covariance, covariance))
    encounters.closest = np.concatenate((encounters.closest, d2))
    encounters.resolved_ns = np.concatenate((encounters.resolved_ns, np.full(len(rows), -1)))


def _key(a: Ints, b: Ints) -> Ints:
    """One number for each pair of track ids, whichever comes first."""
    return np.asarray((np.minimum(a, b) << 32) + np.maximum(a, b))


def settle(encounters: Encounters, people: People, live: Bools, which: Bools, at_ns: int) -> None:
    """Close the chosen encounters: mix the identities of each pair for good."""
    if which.any():
        people.identity = mixed(encounters, people, live, which, at_ns)
        encounters.keep(~which)


def mixed(encounters: Encounters, people: People, live: Bools, which: Bools, at_ns: int) -> Floats:
    """(n, v + 1) identities if the chosen encounters ended now, oldest first."""
    identity = people.identity.copy()
    rows = rows_of(people, encounters.track[which])
    p = exchange_probability(encounters, people, rows, live, which, at_ns)
    for some in _turns(rows):
        a, b = rows[some, 0], rows[some, 1]
        blend = p[some][:, None] * (identity[b] - identity[a])
        identity[a] += blend
        identity[b] -= blend
    return identity


def _turns(rows: Ints) -> list[list[int]]:
    """Places of the pairs (e, 2) in turns in which no row occurs twice, each row in its order."""
    turns: list[list[int]] = []
    had: dict[int, int] = {}  # turns in which each row has had its place
    for place, (a, b) in enumerate(rows.tolist()):
        if a < 0 or b < 0:
            continue
        turn = max(had.get(a, 0), had.get(b, 0))
        had[a] = had[b] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    return turns


def exchange_probability(
    encounters: Encounters, people: People, rows: Ints, live: Bools, which: Bools, at_ns: int
) -> Floats:
    """(e,) probability that the two tracks of each chosen encounter were exchanged."""
    dt_s: Floats = (at_ns - encounters.start_ns[which]) * np.float64(1e-9)
    start, P_start = _moved(encounters.start_mean[which], encounters.start_covariance[which], dt_s)
    end, P_end = people.mean.T[rows], people.covariance.T[rows]  # (e, 2, 4), (e, 2, 10)
    P = P_end[:, :, None] + P_start[:, None]  # of each end from each start
    fit = _log_likelihood(
        end[:, :, None] - start[:, None], full(P.reshape(-1, 10).T).reshape(*P.shape[:3], 4, 4)
    )
    fit *= live[rows][:, :, None]  # (e, end, start): a track that nobody sees tells nothing
    straight, crossed = fit[:, 0, 0] + fit[:, 1, 1], fit[:, 0, 1] + fit[:, 1, 0]
    told_apart = np.maximum(encounters.closest[which] - EVEN2, 0.0) / FADE2
    log_odds = TEMPER * (crossed - straight) - told_apart
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


def _moved(mean: Floats, covariance: Floats, dt_s: Floats) -> tuple[Floats, Floats]:
    """States (e, 2, 4), (e, 2, 10) each ``dt_s`` (e,) later."""
    F, FF, Q = laws(dt_s)
    return mean @ F.swapaxes(1, 2), covariance @ FF.swapaxes(1, 2) + Q[:, None]


def _log_likelihood(d: Floats, C: Floats) -> Floats:
    """(...) of differences (..., 4) with covariance (..., 4, 4), up to a constant."""
    L = np.linalg.cholesky(C)
    z = np.linalg.solve(L, d[..., None])[..., 0]
    half_log_det = np.log(L.diagonal(axis1=-2, axis2=-1)).sum(axis=-1)
    return np.asarray(-0.5 * (z * z).sum(axis=-1) - half_log_det)
