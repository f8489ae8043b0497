"""Wrists in the store frame: the point nearest to the rays of all cameras that see it.

One ray alone says nothing about depth, so the arm does: a wrist is within reach of its body's axis
and at hand height. That knowledge enters as a weak prior, the rays as precise ones; with two
cameras the rays decide, with one the wrist is the point of its ray nearest to the body.

Where wrists are matters to who asks for the time when something happened; until then what was seen
of them is kept as it came (``Seen``), and many instants are worked out at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints

RAY_SD_M = 0.05  # wrist key points: 5 px or so at 4 m
REACH_SD_M = 0.40  # of a wrist about its body's axis, horizontally
HAND_HEIGHT_M = 1.1
HAND_HEIGHT_SD_M = 0.45
REACH_MAX_M = 1.2  # a wrist farther from its body is somebody else's, or a bad key point
HEIGHT_MAX_M = 2.4


@dataclass(slots=True, eq=False)
class Seen:
    """What the images of one instant showed of wrists: k detections of tracks.

    ``track`` (k,): ids, or places in a sample of the history. ``rows`` (10, 2, k): their normal
    equations. ``body`` (2, k): where the track was. ``at``: the instant, or which sample.
    """

    at: int
    track: Ints
    rows: Floats
    body: Floats


def newest(seen: Sequence[Seen]) -> Seen | None:
    """Of each track the sightings of the last instant that shows any; ``seen``: oldest first."""
    if not seen:
        return None
    track = np.concatenate([one.track for one in seen])
    rows = np.concatenate([one.rows for one in seen], axis=2)
    body = np.concatenate([one.body for one in seen], axis=1)
    instant = np.arange(len(seen)).repeat([len(one.track) for one in seen])
    shows = (rows[9, 0] + rows[9, 1]).nonzero()[0]
    _, of = np.unique(track[shows], return_inverse=True)
    last = np.zeros(len(shows), np.int64)
    last[of] = instant[shows]  # where a track occurs more than once the last one stays
    k = shows[instant[shows] == last[of]]
    return Seen(seen[-1].at, track[k], rows.take(k, axis=2), body.take(k, axis=1))


def normal_equations(rays: Floats, origin: Floats) -> Floats:
    """What each sighting adds: A's six entries, b's three, and 1; zeros where unseen.

    A = I - d d' projects off the ray d, b = A origin; both over the ray's variance.

    Args:
        rays: (3, 2, k) unit directions, NaN where unseen; origin: (3, k).

    Returns:
        (10, 2, k).
    """
    seen: Bools = np.isfinite(rays[0] + rays[1] + rays[2])
    d = np.where(seen, rays, 0.0)
    rows = np.empty((10, *seen.shape))
    rows[:6] = _IDENTITY - d.take(_ROW, axis=0) * d.take(_COLUMN, axis=0)
    rows[:6] *= seen / RAY_SD_M**2
    rows[6:9] = _times(rows[:6], origin[:, None])
    rows[9] = seen
    return rows


def locate(rows: Floats, track: Ints, body: Floats) -> tuple[Ints, Floats, Floats]:
    """Wrists of the tracks that have any.

    Args:
        rows: (10, 2, k) normal equations of k detections. track: (k,) the track of each.
        body: (2, n) positions of all tracks.

    Returns:
        (t,) tracks, and (t, 2, 3) metres, NaN where not seen or not plausible; and (t, 2, 3) unit
        directions of the sight of those that one camera alone saw, zeros elsewhere.
    """
    sums = _summed(rows, track, body.shape[1])
    tracks = (sums[9, 0] + sums[9, 1]).nonzero()[0]
    sums = sums.take(tracks, axis=2)
    centre = np.empty((3, 1, len(tracks)))
    centre[:2, 0], centre[2] = body.take(tracks, axis=1), HAND_HEIGHT_M
    wrists = _solved(sums[:6] + _PRIOR[:, None, None], sums[6:9] + _PRIOR[_DIAGONAL] * centre)
    away = wrists[:2] - centre[:2]
    ok = (sums[9] > 0) & (away[0] * away[0] + away[1] * away[1] < REACH_MAX_M**2)
    ok &= (wrists[2] > 0.0) & (wrists[2] < HEIGHT_MAX_M)
    along = np.where(sums[9] == 1.0, _blind(sums[:6]), 0.0)
    return tracks, np.where(ok, wrists, np.nan).transpose(2, 1, 0), along.transpose(2, 1, 0)


def _blind(A: Floats) -> Floats:
    """(3, 2, t) d of A = (I - d d') over the ray's variance: the ray of one sighting."""
    outer = _IDENTITY - A * RAY_SD_M**2  # entries of d d'
    square = outer[_DIAGONAL.ravel()]  # (3, 2, t)
    longest = square.argmax(axis=0)
    rows = outer.take(_MATRIX, axis=0).reshape(3, 3, *A.shape[1:])
    column = np.take_along_axis(rows, longest[None, None], axis=0)[0]
    return np.asarray(column / np.sqrt(np.maximum(square.max(axis=0), 1e-12)))


# Symmetric matrices as rows xx xy xz yy yz zz: where each entry of the matrix stands, and the two
# products whose difference is each entry of its adjugate.
_MATRIX = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])
_DIAGONAL = np.array([[[0]], [[3]], [[5]]])
_PLUS = np.array([3, 2, 1, 0, 1, 0]), np.array([5, 4, 4, 5, 2, 3])
_MINUS = np.array([4, 1, 2, 2, 0, 1]), np.array([4, 5, 3, 2, 4, 1])
_ROW, _COLUMN = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 1, 2, 2])
_IDENTITY = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0])[:, None, None]
_PRIOR = np.zeros(6)
_PRIOR[_DIAGONAL.ravel()] = 1 / np.array([REACH_SD_M, REACH_SD_M, HAND_HEIGHT_SD_M]) ** 2


def _times(A: Floats, x: Floats) -> Floats:
    """(3, ...) the symmetric matrices (6, ...) times vectors (3, ...)."""
    terms = A.take(_MATRIX, axis=0).reshape(3, 3, *A.shape[1:]) * x
    return np.asarray(terms[:, 0] + terms[:, 1] + terms[:, 2])


def _solved(A: Floats, b: Floats) -> Floats:
    """(3, ...) solutions of A x = b by the adjugate; the prior keeps A positive definite."""
    plus = A.take(_PLUS[0], axis=0) * A.take(_PLUS[1], axis=0)
    adjugate = plus - A.take(_MINUS[0], axis=0) * A.take(_MINUS[1], axis=0)
    terms = A[:3] * adjugate[:3]
    return np.asarray(_times(adjugate, b) / (terms[0] + terms[1] + terms[2]))


def _summed(rows: Floats, track: Ints, n: int) -> Floats:
    """(10, 2, n): the rows (10, 2, k) summed for each track."""
    place = np.arange(0, 20 * n, n)[:, None] + track
    sums = np.bincount(place.ravel(), rows.ravel(), minlength=20 * n)
    return np.asarray(sums, dtype=np.float64).reshape(10, 2, n)
