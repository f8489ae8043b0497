"""Which detection belongs to which track, for all cameras of an instant.

Pairs within the cutoff are found by a sweep over x. Most tracks and detections have one partner;
those are taken at once, and only the rest goes through optimal assignment, a person once in each
camera. Unexplained detections are clustered into newborn tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.vision.assignment import components, linear_sum_assignment
from edge.vision.detections import FloorDetections
from edge.vision.ground_filter import XX, XY, YY
from messages.arrays import Bools, Floats, Ints

CUTOFF2 = 11.8  # squared normalized distance: 99.7 % of true pairs (chi-square, 2 degrees)
MISS_COST = CUTOFF2 + 3.0  # dearer than any pair: a detection in reach is explained if it can be
REACH_MAX_M = 1.5  # a track that vague is hidden anyway; bounds the sweep
TENTATIVE_COST = 3.0  # a confirmed person explains a box before a newborn does
TOGETHER_MAX = 300  # ambiguous pairs solved in one matrix, cameras together; more are cut apart
PROBLEM_PAIRS = 100  # into problems of about so many pairs
TABLE_MAX = 4096  # row and place pairs up to which a table of all is faster than searching
START_RADIUS_M = 0.7  # detections of one newborn in several cameras, calibration residual included
OWN_SPACE_M = 0.7  # a stray box this near to a person is theirs, unless its camera saw them besides


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Track-detection pairs inside the cutoff: indices, innovation (2, k), distance and cost."""

    track: Ints
    detection: Ints
    innovation: Floats
    distance2: Floats
    cost: Floats


def pairs_in_reach(
    mean: Floats, covariance: Floats, open_: Bools, tentative: Bools, seen: FloorDetections
) -> Pairs:
    """Every plausible pair of the tracks where ``open_`` with this instant's detections."""
    R, position = seen.covariance, seen.position
    wide = max(max(R[0].tolist()), max(R[2].tolist()), 0.0)
    radius = np.sqrt(CUTOFF2 * (np.maximum(covariance[XX], covariance[YY]) + wide))
    radius = np.minimum(radius, REACH_MAX_M)
    radius += 2.0 * max(seen.age_s.tolist())  # nobody runs faster than 2 m/s
    radius[~open_] = -1.0
    t, d = _beside(mean[0], radius, position[0])
    there = mean.take(t, axis=1)
    gap = position.take(d, axis=1) - there[:2] + seen.age_s[d] * there[2:]
    S = covariance.take(_OF_PLACE, axis=0).take(t, axis=1) + R.take(d, axis=1)
    squares, crossed = S[::-2] * (gap * gap), 2 * S[1] * (gap[0] * gap[1])
    det = S[0] * S[2] - S[1] * S[1]
    distance2 = (squares[0] + squares[1] - crossed) / det
    k = (distance2 < CUTOFF2).nonzero()[0]
    t, d, distance2 = t[k], d[k], distance2[k]
    cost = distance2 + np.log(det[k]) + TENTATIVE_COST * tentative[t]
    return Pairs(t, d, gap.take(k, axis=1), distance2, cost)


_OF_PLACE = np.array([XX, XY, YY])


def _beside(x: Floats, radius: Floats, others: Floats) -> tuple[Ints, Ints]:
    """Pairs (row, place) with ``others[place]`` within ``radius[row]`` of ``x[row]``."""
    if len(x) * len(others) <= TABLE_MAX:
        row, place = (np.abs(others - x[:, None]) <= radius[:, None]).nonzero()
        return row, place
    order = others.argsort(kind="stable")
    row, place = sweep(others[order], x - radius, x + radius)
    return row, order[place]


def sweep(sorted_x: Floats, low: Floats, high: Floats) -> tuple[Ints, Ints]:
    """Pairs (row, place) with low[row] <= sorted_x[place] <= high[row]."""
    if len(low) * len(sorted_x) <= TABLE_MAX:
        table = (sorted_x >= low[:, None]) & (sorted_x <= high[:, None])
        row, place = table.nonzero()
        return row, place
    first = np.searchsorted(sorted_x, low)
    count = np.maximum(np.searchsorted(sorted_x, high, side="right") - first, 0)
    row = np.repeat(np.arange(len(low)), count)
    skip = first - (np.cumsum(count) - count)
    return row, np.arange(len(row)) + skip[row]


def assign(pairs: Pairs, camera: Ints, n: int) -> Bools:
    """(k,) True for the pairs taken: each detection once, each track once a camera.

    Args:
        camera: (m,) of each detection. n: number of tracks.
    """
    if not len(pairs.track):
        return np.zeros(0, np.bool_)
    alone: Bools
    view = camera[pairs.detection] * n + pairs.track  # a track as one camera sees it
    alone = np.bincount(view)[view] == 1
    alone &= np.bincount(pairs.detection)[pairs.detection] == 1
    rest = (~alone).nonzero()[0]
    if not len(rest):
        return alone
    for k in _apart(view, pairs.detection, rest):
        alone[k[_best(view[k], pairs.detection[k], pairs.cost[k])]] = True
    return alone


def _apart(row: Ints, column: Ints, k: Ints) -> list[Ints]:
    """The pairs k in problems that share no row and no column, small ones together."""
    if len(k) <= TOGETHER_MAX:
        return [k]
    label = components(row[k], column[k])
    order = label.argsort(kind="stable")
    k, label = k[order], label[order]
    first = np.flatnonzero(np.concatenate(([True], label[1:] != label[:-1])))
    problem = first // PROBLEM_PAIRS
    return np.split(k, first[1:][problem[1:] != problem[:-1]])


def _best(row: Ints, column: Ints, cost: Floats) -> Ints:
    """Places of the pairs of the cheapest assignment."""
    (i, rows), (j, columns) = _ranks(row), _ranks(column)
    C = np.empty((rows, columns))
    C.fill(MISS_COST)
    place = np.empty((rows, columns), np.int64)
    place.fill(-1)
    C[i, j], place[i, j] = cost, np.arange(len(cost))
    taken = place[linear_sum_assignment(C)]
    return np.asarray(taken[taken >= 0])


def _ranks(index: Ints) -> tuple[Ints, int]:
    """Each integer's rank among the distinct ones, and how many those are."""
    there = np.zeros(max(index.tolist()) + 1, np.int64)
    there[index] = 1
    rank = there.cumsum()
    return rank[index] - 1, int(rank[-1])


def unexplained(pairs: Pairs, taken: Ints, seen: FloorDetections, confirmed: Bools, n: int) -> Ints:
    """Detections that may start a track.

    Left out: assigned ones, and strays next to a confirmed person whom their camera did not see
    otherwise. A camera with two boxes at one person shows two people.
    """
    free = seen.may_start.copy()
    detection, track = pairs.detection[taken], pairs.track[taken]
    free[detection] = False
    if not np.count_nonzero(free):
        return _NONE
    hit = np.zeros((max(seen.camera.tolist()) + 1, n), np.bool_)
    hit[seen.camera[detection], track] = True
    dx, dy = pairs.innovation
    near = confirmed[pairs.track] & (dx * dx + dy * dy < OWN_SPACE_M**2)
    near &= ~hit[seen.camera[pairs.detection], pairs.track]
    free[pairs.detection[near]] = False
    return free.nonzero()[0]


_NONE = np.zeros(0, np.int64)


def newborns(seen: FloorDetections, free: Ints) -> tuple[Floats, Floats]:
    """Clusters of the free detections, one detection a camera: (2, k) and (3, k) covariance."""
    if len(free) == 1:  # mostly a false box: nothing to cluster
        return seen.position[:, free], seen.covariance[:, free]
    centre, information = np.zeros((2, 0)), np.zeros((3, 0))
    camera = seen.camera[free]
    for c in np.unique(camera):
        d = free[camera == c]
        z, R = seen.position[:, d], seen.covariance[:, d]
        info = _inverse(R)
        i, j = _mutual_nearest(z, centre)
        if len(i):
            centre[:, j], information[:, j] = _joined(
                z[:, i], info[:, i], centre[:, j], information[:, j]
            )
        new = np.ones(len(d), np.bool_)
        new[i] = False
        centre = np.concatenate((centre, z[:, new]), axis=1)
        information = np.concatenate((information, info[:, new]), axis=1)
    return centre, _inverse(information)


def _inverse(C: Floats) -> Floats:
    """Inverses of symmetric 2 x 2 matrices, (3, k) xx, xy, yy."""
    inverse: Floats = C[::-1] / (C[0] * C[2] - C[1] ** 2)
    np.negative(inverse[1], out=inverse[1])
    return inverse


def _mutual_nearest(z: Floats, centre: Floats) -> tuple[Ints, Ints]:
    if not z.shape[1] or not centre.shape[1]:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    distance = np.hypot(z[0][:, None] - centre[0], z[1][:, None] - centre[1])
    j = distance.argmin(axis=1)
    i = np.arange(len(j))
    ok = (distance.argmin(axis=0)[j] == i) & (distance[i, j] < START_RADIUS_M)
    return i[ok], j[ok]


def _joined(a: Floats, A: Floats, b: Floats, B: Floats) -> tuple[Floats, Floats]:
    """Information-weighted mean of points a and b (2, k) with information A and B (3, k)."""
    S = A + B
    g0 = A[0] * a[0] + A[1] * a[1] + B[0] * b[0] + B[1] * b[1]
    g1 = A[1] * a[0] + A[2] * a[1] + B[1] * b[0] + B[2] * b[1]
    det = S[0] * S[2] - S[1] ** 2
    return np.stack(((S[2] * g0 - S[1] * g1) / det, (S[0] * g1 - S[1] * g0) / det)), S
