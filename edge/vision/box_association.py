"""Which box belongs to which track, in one image.

Pairs in reach are found by a sweep over x. Those that compete with nobody are taken at once; so are
those that beat every rival by far; the rest is assigned exactly. Boxes of low score cost more, so
that they serve the tracks which no better box explains, and they serve only tracks seen lately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.vision import box_filter
from edge.vision.assignment import linear_sum_assignment
from edge.vision.association import sweep
from messages.arrays import Bools, Floats, Ints

CUTOFF2 = 16.0  # squared normalized distance: 99.7 % of true pairs (chi-square, 4 degrees)
TENTATIVE_COST = 8.0  # a confirmed person explains a box before a newborn does
LOW_COST = 4.0  # a box of low score, as against a good one
MISS_COST = 48.0  # dearer than any pair: a box in reach is explained if it can be
CLEAR_MARGIN = 3.0  # a pair ahead of all rivals of both by this (odds of 4.5 each) is plain
EXACT_MIN = 40  # rival pairs from which looking for clear ones is cheaper than a bigger problem
SAME_PERSON = 0.3  # overlap (intersection over union) with somebody seen: no new person
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class BoxPairs:
    """Track-box pairs in reach: indices (k,), innovation (4, k), squared distance and cost (k,)."""

    track: Ints
    box: Ints
    innovation: Floats
    distance2: Floats
    cost: Floats


def pairs_in_reach(
    state: Floats, measured: Floats, tentative: Bools, low: Bools, take_low: Bools
) -> BoxPairs:
    """Every plausible pair.

    Args:
        state: (14, n). measured: (4, m). tentative: (n,). low: (m,) boxes of low score.
        take_low: (n,) tracks that such boxes may keep alive.
    """
    weight, log_det = box_filter.spread(state)
    radius = np.sqrt(CUTOFF2 / weight[0])
    order = measured[0].argsort(kind="stable")
    t, d = sweep(measured[0].take(order), state[0] - radius, state[0] + radius)
    d = order.take(d)
    if len(t) > len(radius) + len(order):  # many pass in x: ask y before all else
        near = np.abs(measured[1].take(d) - state[1].take(t)) < radius.take(t)
        t, d = t[near], d[near]
    innovation = measured.take(d, axis=1)
    innovation -= state[:4].take(t, axis=1)
    distance2 = np.einsum("ij,ij,ij->j", innovation, innovation, weight.take(t, axis=1))
    ok = distance2 < CUTOFF2
    some_low = bool(np.count_nonzero(low))
    if some_low:
        ok &= take_low.take(t) | ~low.take(d)
    k = ok.nonzero()[0]
    t, d, distance2 = t.take(k), d.take(k), distance2.take(k)
    log_det += TENTATIVE_COST * tentative
    cost = distance2 + log_det.take(t)
    if some_low:
        cost += LOW_COST * low.take(d)
    return BoxPairs(t, d, innovation.take(k, axis=1), distance2, cost)


def assign(pairs: BoxPairs) -> Ints:
    """Places of the pairs taken: each track and each box once, at least total cost."""
    t, d = pairs.track, pairs.box
    if not len(t):
        return _NONE
    alone = (np.bincount(t).take(t) == 1) & (np.bincount(d).take(d) == 1)
    taken: Ints = alone.nonzero()[0]
    rest = (~alone).nonzero()[0]
    if len(rest) > EXACT_MIN:
        clear = _clear(t.take(rest), d.take(rest), pairs.cost.take(rest))
        taken = np.concatenate((taken, rest[clear]))
        rest = rest[~_gone(t, taken).take(rest) & ~_gone(d, taken).take(rest)]
    if not len(rest):
        return taken
    best = rest[_exact(t.take(rest), d.take(rest), pairs.cost.take(rest))]
    return np.concatenate((taken, best))


def _gone(index: Ints, taken: Ints) -> Bools:
    """(k,) pairs whose track (or box) is among those of the pairs taken."""
    gone = np.zeros(int(index.max()) + 1, np.bool_)
    gone[index.take(taken)] = True
    return gone.take(index)


def _clear(t: Ints, d: Ints, cost: Floats) -> Bools:
    """(k,) pairs cheaper than every other of their track and of their box by ``CLEAR_MARGIN``."""
    return np.asarray(_ahead(t, cost) & _ahead(d, cost))


def _ahead(group: Ints, cost: Floats) -> Bools:
    """(k,) True for a member that is ahead of all others of its group by the margin."""
    first = np.full(int(group.max()) + 1, np.inf)
    np.minimum.at(first, group, cost)
    best = cost == first.take(group)
    second = np.full(len(first), np.inf)
    others = ~best
    np.minimum.at(second, group[others], cost[others])
    ahead = best & (second.take(group) - cost > CLEAR_MARGIN)
    return np.asarray(ahead)


def _exact(t: Ints, d: Ints, cost: Floats) -> Ints:
    """Places of the pairs of the cheapest assignment."""
    (i, rows), (j, columns) = _ranks(t), _ranks(d)
    C = np.full((rows, columns), MISS_COST)
    place = np.full((rows, columns), -1)
    C[i, j], place[i, j] = cost, np.arange(len(i))
    taken = place[linear_sum_assignment(C)]
    return np.asarray(taken[taken >= 0])


def _ranks(index: Ints) -> tuple[list[int], int]:
    """Each integer's rank among the distinct ones, and how many those are."""
    values = index.tolist()
    rank = {value: i for i, value in enumerate(sorted(set(values)))}
    return [rank[value] for value in values], len(rank)


def covered(boxes: Floats, by: Floats) -> Bools:
    """(m,) boxes (m, 4) that overlap one of ``by`` (n, 4) so much that both show one person."""
    if not len(boxes) or not len(by):
        return np.zeros(len(boxes), np.bool_)
    a, b = boxes.T[:, :, None], by.T[:, None]
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    both = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return np.asarray((both > SAME_PERSON * (area - both)).any(axis=1))
