"""Who is it that reappeared? Hidden people, found again.

A shopper whom no camera sees is still inside: their track spreads over the floor. A person who
appears in the aisle is one of those hidden, hardly anybody new. When several hidden people could
have got there, the joint assignment of all that appeared to all that were hidden is weighed, and
each identity is spread over its marginals. The number of bodies stays: who is not found keeps
waiting as what remains, identity and place mixed likewise.

Exact marginals come from a sum over subsets; beyond ``EXACT_MAX`` hidden people from belief
propagation. Source: Williams & Lau, Approximate evaluation of marginal association probabilities
with belief propagation, IEEE T-AES 2014.
"""

from __future__ import annotations

import numpy as np

from edge.vision.assignment import linear_sum_assignment
from edge.vision.ground_filter import XX, XY, YY, mixture
from edge.vision.tracks import Encounters, People, Phase
from messages.arrays import Bools, Floats, Ints

EXACT_MAX = 9  # 512 subsets; beyond it the sum costs more than an instant has
ROUNDS = 30
SPREAD_MORE = 0.8  # belief propagation is somewhat too sure of itself: log weights are flattened
SURE_NEW_MAX = 0.05  # below it, what appeared is one of those hidden, and one track carries on
STAYERS = 0.3  # share of hidden people who just stood: half of a visit is standing, less a margin
STAY_SD_M = 0.25  # of a standing body, both sightings included
STAY_DRIFT_M_S = 0.10  # people shuffle along a shelf
SAME_TRACK_MIN = 0.5  # a track id follows its likeliest body
BRIEFLY_TWO, BRIEF_NS = 0.3, 400_000_000  # the new track began before the old one was given up
TWO_VIEWS = 0.02  # one body seen as two tracks for a while: rare, but crowds of gondolas do it


def likelihoods(
    people: People, found: Ints, hidden: Ints, stray_per_m2: float, at_ns: int
) -> Floats:
    """(m, k) density, 1/m2, of each found person's place if they are each hidden one.

    Some stay where they were (shoppers at a shelf), the others move by the motion law; a small
    uniform part moved as neither foresees. People seen after the other had appeared are hardly
    the same, and not at all if a camera saw them side by side.
    """
    P = people.covariance
    dx = people.mean[0, found][:, None] - people.mean[0, hidden]
    dy = people.mean[1, found][:, None] - people.mean[1, hidden]
    s0 = P[XX, found][:, None] + P[XX, hidden]
    s1 = P[XY, found][:, None] + P[XY, hidden]
    s2 = P[YY, found][:, None] + P[YY, hidden]
    det = s0 * s2 - s1 * s1
    d2 = (s2 * dx * dx - 2 * s1 * dx * dy + s0 * dy * dy) / det
    moving = np.exp(-0.5 * np.minimum(d2, 200.0)) / (2 * np.pi * np.sqrt(det))
    unseen_s = np.maximum(at_ns - people.last_seen_ns[hidden], 0) * 1e-9
    var = (STAY_SD_M + STAY_DRIFT_M_S * unseen_s) ** 2
    staying = np.exp(-0.5 * np.minimum((dx * dx + dy * dy) / var, 200.0)) / (2 * np.pi * var)
    density = STAYERS * staying + (1 - STAYERS) * moving
    apart = people.last_seen_ns[hidden] > people.born_ns[found][:, None]
    apart &= people.hits[hidden] > 0  # bodies that a gate announced may have been seen before
    two = people.beside[found][:, None] == people.track_id[hidden]
    two |= people.beside[hidden] == people.track_id[found][:, None]
    brief = people.last_seen_ns[hidden] - people.born_ns[found][:, None] < BRIEF_NS
    both = np.where(two, 0.0, np.where(brief, BRIEFLY_TWO, TWO_VIEWS) * density)
    return np.where(apart, both, density + stray_per_m2)


def marginals(likelihood: Floats, fresh: Floats) -> tuple[Floats, Floats]:
    """Probabilities that found i is hidden j, (m, k), or somebody new, (m,); rows sum to 1.

    Args:
        likelihood: (m, k) >= 0. fresh: (m,) > 0, density of newcomers at each found place.
    """
    m, k = likelihood.shape
    if not m or not k:
        return np.zeros((m, k)), np.ones(m)
    top = np.maximum(likelihood.max(axis=1), fresh)
    L, new = likelihood / top[:, None], fresh / top
    if k <= EXACT_MAX:
        return _exact(L, new)
    return _propagated(L**SPREAD_MORE, new**SPREAD_MORE)


def _exact(L: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Sum over all one-to-one assignments: forward and backward over subsets of the hidden."""
    m, k = L.shape
    subset = np.arange(1 << k)
    bit = 1 << np.arange(k)
    without = [subset[(subset & b) == 0] for b in bit]
    ahead = [np.zeros(1 << k)]  # ahead[i][s]: weight of the first i using exactly s
    ahead[0][0] = 1.0
    for i in range(m):
        weight = ahead[i] * new[i]
        for j in range(k):
            weight[without[j] | bit[j]] += ahead[i][without[j]] * L[i, j]
        ahead.append(weight)
    behind = np.ones(1 << k)  # behind[s]: weight of the rest when s is used already
    p, p_new = np.zeros((m, k)), np.zeros(m)
    for i in range(m - 1, -1, -1):
        p_new[i] = (ahead[i] * behind).sum() * new[i]
        earlier = behind * new[i]
        for j in range(k):
            taken = behind[without[j] | bit[j]] * L[i, j]
            p[i, j] = (ahead[i][without[j]] * taken).sum()
            earlier[without[j]] += taken
        behind = earlier
    total = p.sum(axis=1) + p_new
    return p / total[:, None], p_new / total


def _propagated(L: Floats, new: Floats) -> tuple[Floats, Floats]:
    psi = L / new[:, None]
    nu = np.ones_like(psi)
    for _ in range(ROUNDS):
        t = psi * nu
        mu = psi / (1 + t.sum(axis=1, keepdims=True) - t)
        nu = 1 / (1 + mu.sum(axis=0) - mu)
    t = psi * nu
    total = 1 + t.sum(axis=1)
    p = t / total[:, None]
    p /= np.maximum(p.sum(axis=0), 1.0)  # no hidden body is found more than once
    return p, 1 - p.sum(axis=1)


def reunite(
    people: People, encounters: Encounters, found: Ints, hidden: Ints, p: Floats, p_new: Floats
) -> Bools:
    """Give the found people the identities of the hidden ones by the marginals.

    Found tracks become KNOWN. Returns (n,) False for tracks that are used up: their body carries
    on as the found track, under the old track id where that is likelier than not.
    """
    keep = np.ones(len(people), np.bool_)
    people.phase[found] = int(Phase.KNOWN)
    if not len(hidden):
        return keep
    one_of_them = p_new < SURE_NEW_MAX
    p, p_new = _without_newcomers(p, p_new, one_of_them)
    i, j = linear_sum_assignment(-p)
    used = one_of_them[i] & (p[i, j] > 0.0)
    before = people.identity[hidden]
    people.identity[found] = np.einsum("ij,jv->iv", p, before)
    people.identity[found, -1] += p_new
    _remain(people, hidden, before, p, j[used])
    same = p[i, j] >= SAME_TRACK_MIN
    _exchange_ids(people, encounters, found[i[same]], hidden[j[same]])
    keep[hidden[j[used]]] = False
    return keep


def _without_newcomers(p: Floats, p_new: Floats, which: Bools) -> tuple[Floats, Floats]:
    """Give the small chance of being new back to the hidden ones that have room for it."""
    for _ in range(3):
        room = np.clip(1.0 - p.sum(axis=0), 0.0, 1.0)
        share = p * room
        part = np.where(which, p_new, 0.0) / np.maximum(share.sum(axis=1), 1e-300)
        more = share * np.minimum(part, 1e300)[:, None]
        more *= np.minimum(1.0, room / np.maximum(more.sum(axis=0), 1e-300))
        p, p_new = p + more, p_new - more.sum(axis=1)
    return p, np.maximum(p_new, 0.0)


def _remain(people: People, hidden: Ints, before: Floats, p: Floats, used: Ints) -> None:
    """What stays hidden: own share, and from the used-up ones what they still may be."""
    left = np.clip(1.0 - p.sum(axis=0), 0.0, 1.0)
    stay = np.ones(len(hidden), np.bool_)
    stay[used] = False
    missing = np.where(stay, 1.0 - left, 0.0)
    pool = np.where(stay, 0.0, left)
    total = float(missing.sum())
    if total < 1e-9:
        return
    poured = np.einsum("j,jv->v", pool, before)
    poured[-1] += max(total - float(pool.sum()), 0.0)
    rows = hidden[stay]
    mixed = left[stay][:, None] * before[stay] + missing[stay][:, None] * (poured / poured.sum())
    mean, covariance = people.mean[:, hidden], people.covariance[:, hidden]
    people.identity[rows] = mixed / mixed.sum(axis=1, keepdims=True)
    if pool.sum() < 1e-6:
        return
    for place in np.flatnonzero(stay & (missing > 0.01)):
        weight = missing[place] * pool / pool.sum()
        weight[place] = left[place]
        row = hidden[place]
        people.mean[:, row], people.covariance[:, row] = mixture(
            mean, covariance, weight / weight.sum()
        )


def _exchange_ids(people: People, encounters: Encounters, a: Ints, b: Ints) -> None:
    """Track ids of rows a and b change places, in open encounters too."""
    old, new = people.track_id[a], people.track_id[b]
    people.track_id[a], people.track_id[b] = new, old
    beside = people.beside.copy()
    for was, now in zip(old, new, strict=True):
        beside[people.beside == was] = now
        beside[people.beside == now] = was
    people.beside = beside
    if len(encounters):
        track = encounters.track.copy()
        for was, now in zip(old, new, strict=True):
            track[encounters.track == was] = now
        encounters.track = track
