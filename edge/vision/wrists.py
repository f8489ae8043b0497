"""Wrists in the store frame: the point nearest to the rays of all cameras that see it.

One ray alone says nothing about depth, so the arm does: a wrist is within reach of its body's axis
and at hand height. That knowledge enters as a weak prior, the rays as precise ones; with two
cameras the rays decide, with one the wrist is the point of its ray nearest to the body.
"""

from __future__ import annotations

import numpy as np

from messages.arrays import Bools, Floats, Ints

RAY_SD_M = 0.05  # wrist key points: 5 px or so at 4 m
REACH_SD_M = 0.40  # of a wrist about its body's axis, horizontally
HAND_HEIGHT_M = 1.1
HAND_HEIGHT_SD_M = 0.45
REACH_MAX_M = 1.2  # a wrist farther from its body is somebody else's, or a bad key point
HEIGHT_MAX_M = 2.4


def locate(origin: Floats, rays: Floats, track: Ints, body: Floats) -> tuple[Ints, Floats]:
    """Wrists of the tracks that have any.

    Args:
        origin: (3, k), rays: (3, 2, k) unit directions, NaN where unseen, of k detections.
        track: (k,) the track of each. body: (2, n) positions of all tracks.

    Returns:
        (t,) tracks, and (t, 2, 3) metres, NaN where not seen or not plausible.
    """
    n = body.shape[1]
    seen: Bools = np.isfinite(rays[0] + rays[1] + rays[2])
    sums = _summed(_normal_equations(np.where(seen, rays, 0.0), origin, seen), track, n)
    count = sums[9]
    tracks = (count[0] + count[1]).nonzero()[0]
    t = len(tracks)
    centre = np.empty((3, t))
    centre[:2], centre[2] = body.take(tracks, axis=1), HAND_HEIGHT_M
    sums = sums.take(tracks, axis=2)
    A = sums.take(_SYMMETRIC, axis=0).reshape(3, 3, 2, t) + _WEAK
    b = sums[6:9] + (_PRIOR * centre)[:, None]
    wrists = np.linalg.solve(A.transpose(3, 2, 0, 1), b.transpose(2, 1, 0)[..., None])[..., 0]
    x, y, z = wrists.transpose(2, 1, 0)
    ok = (sums[9] > 0) & (np.hypot(x - centre[0], y - centre[1]) < REACH_MAX_M)
    ok &= (z > 0.0) & (z < HEIGHT_MAX_M)
    wrists[~ok.T] = np.nan
    return tracks, wrists


_PRIOR = 1 / np.array([[REACH_SD_M], [REACH_SD_M], [HAND_HEIGHT_SD_M]]) ** 2
_WEAK = np.diag(_PRIOR[:, 0])[:, :, None, None]
_SYMMETRIC = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])  # rows of xx xy xz yy yz zz as a matrix


def _normal_equations(d: Floats, origin: Floats, seen: Bools) -> Floats:
    """(10, 2, k): A's six entries, b's three, and 1; zeros where the wrist is not seen.

    A = I - d d' projects off the ray, b = A origin; both over the ray's variance.
    """
    rows = np.empty((10, *seen.shape))
    weight = seen / RAY_SD_M**2
    x, y, z = d
    rows[0], rows[1], rows[2] = 1.0 - x * x, -x * y, -x * z
    rows[3], rows[4], rows[5] = 1.0 - y * y, -y * z, 1.0 - z * z
    rows[:6] *= weight
    o, p, q = origin
    rows[6] = rows[0] * o + rows[1] * p + rows[2] * q
    rows[7] = rows[1] * o + rows[3] * p + rows[4] * q
    rows[8] = rows[2] * o + rows[4] * p + rows[5] * q
    rows[9] = seen
    return rows


def _summed(rows: Floats, track: Ints, n: int) -> Floats:
    """(10, 2, n): the rows (10, 2, k) summed for each track."""
    place = np.arange(0, 20 * n, n)[:, None] + track
    sums = np.bincount(place.ravel(), rows.ravel(), minlength=20 * n)
    return np.asarray(sums, dtype=np.float64).reshape(10, 2, n)
