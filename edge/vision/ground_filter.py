"""A Kalman filter over many people at once, on the floor plane, as a structure of arrays.

State of each person: x, y, u, v (velocity), in the store frame. Motion is an integrated
Ornstein-Uhlenbeck process: over a few images it is constant velocity with white acceleration
(density ``2 SPEED_VAR / SPEED_TAU``); unseen for long, a person wanders with bounded speed, so one
law serves those seen and those hidden. Means are (4, n), covariances the ten entries of the upper
triangle, (10, n): xx xy xu xv yy yu yv uu uv vv. Plain arithmetic on rows is three times as fast as
batches of 4 x 4 matrices at n = 300.

Source: Bar-Shalom, Li & Kirubarajan, Estimation with Applications to Tracking, chapter 8.
"""

from __future__ import annotations

import math

import numpy as np

from messages.arrays import Floats, Ints

SPEED_VAR = 0.8  # (m/s)^2 an axis: shoppers' rms speed of 1.26 m/s when they do walk
SPEED_TAU_S = 2.5  # how long they keep it: an aisle's length at walking pace
BIRTH_SPEED_SD_M_S = 1.0

XX, XY, XU, XV, YY, YU, YV, UU, UV, VV = range(10)
_ROW = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
_COLUMN = np.array([0, 1, 2, 3, 1, 2, 3, 2, 3, 3])
_POSITION = np.array([XX, XY, XU, XV, XY, YY, YU, YV])  # the first two columns of the matrix


def predict(mean: Floats, covariance: Floats, dt_s: float) -> tuple[Floats, Floats]:
    """Mean and covariance ``dt_s`` >= 0 later, no measurement. Shapes (4, n), (10, n).

    x' = F x; P' = F P F' + Q is linear in the entries of P, so it is one product as well.
    """
    a, b, q_pp, q_pv, q_vv = motion(dt_s)
    law = np.array((1.0, a, a * a, b, a * b, b * b, q_pp, q_pv, q_vv)) @ _LAW
    F, FF, Q = law[:16].reshape(4, 4), law[16:116].reshape(10, 10), law[116:, None]
    return F @ mean, FF @ covariance + Q


def laws(dt_s: Floats) -> tuple[Floats, Floats, Floats]:
    """F (e, 4, 4), the map FF (e, 10, 10) of P's entries and Q (e, 10), over each time (e,)."""
    h = dt_s / SPEED_TAU_S
    b = np.exp(-h)
    a, c = SPEED_TAU_S * (1 - b), np.maximum(2 * h - 3 + 4 * b - b * b, 0.0)
    q = SPEED_VAR * np.stack((SPEED_TAU_S**2 * c, SPEED_TAU_S * (1 - b) ** 2, 1 - b * b))
    law = np.stack((np.ones_like(a), a, a * a, b, a * b, b * b, *q), axis=1) @ _LAW
    return law[:, :16].reshape(-1, 4, 4), law[:, 16:116].reshape(-1, 10, 10), law[:, 116:]


def _law() -> Floats:
    """(9, 126): F (4, 4), the map FF (10, 10) of P's entries and Q (10,) of the motion, linear in
    1, a, a^2, b, ab, b^2 and Q's three numbers."""
    F, FF, Q = np.zeros((3, 4, 4)), np.zeros((6, 10, 10)), np.zeros((3, 10))
    for x in (0, 1):
        F[0, x, x] = F[1, x, x + 2] = F[2, x + 2, x + 2] = 1.0
    for pp, pv, vv in ((XX, XU, UU), (YY, YV, VV)):
        FF[0, pp, pp] = FF[2, pp, vv] = 1.0
        FF[1, pp, pv] = 2.0
        FF[3, pv, pv] = FF[4, pv, vv] = FF[5, vv, vv] = 1.0
        Q[0, pp] = Q[1, pv] = Q[2, vv] = 1.0
    FF[0, XY, XY] = FF[1, XY, XV] = FF[1, XY, YU] = FF[2, XY, UV] = FF[5, UV, UV] = 1.0
    for cross in (XV, YU):
        FF[3, cross, cross] = FF[4, cross, UV] = 1.0
    law = np.zeros((9, 126))
    law[[0, 1, 3], :16] = F.reshape(3, 16)
    law[:6, 16:116], law[6:, 116:] = FF.reshape(6, 100), Q
    return law


_LAW = _law()


def motion(dt_s: float) -> tuple[float, float, float, float, float]:
    """F = [[1, a], [0, b]] and Q = [[q_pp, q_pv], [q_pv, q_vv]] of one axis over ``dt_s``."""
    h = max(dt_s, 0.0) / SPEED_TAU_S
    b = math.exp(-h)
    q_pp = SPEED_VAR * SPEED_TAU_S**2 * max(2 * h - 3 + 4 * b - b * b, 0.0)
    q_pv = SPEED_VAR * SPEED_TAU_S * (1 - b) ** 2
    return SPEED_TAU_S * (1 - b), b, q_pp, q_pv, SPEED_VAR * (1 - b * b)


def update(
    mean: Floats, covariance: Floats, track: Ints, innovation: Floats, R: Floats
) -> tuple[Floats, Floats]:
    """Fold position measurements in; several of one track (cameras) add their information.

    Args:
        mean, covariance: (4, n), (10, n).
        track: (k,) column that each measurement belongs to.
        innovation: (2, k) measured minus predicted position. R: (3, k) covariance xx, xy, yy.

    Returns:
        Updated copies. Columns without a measurement keep their values.
    """
    n = mean.shape[1]
    Lg = _information(n, track, innovation, R)
    Z = covariance.take(_POSITION, axis=0).reshape(2, 4, n)  # P[:2]
    # P' = P - Z' K Z and x' = x + Z' v, with [K v] = (I + L P[:2, :2])^-1 [L g]
    M = _times(Lg[:, :2], Z[:, :2]).reshape(4, n)
    M[::3] += 1.0
    inverse = M.take(_ADJUGATE, axis=0) * (_SIGN / (M[0] * M[3] - M[1] * M[2]))
    Kv = _times(inverse.reshape(2, 2, n), Lg)
    W = _times(Kv.transpose(1, 0, 2), Z)
    product = W[:2].take(_ROW, axis=1) * Z.take(_COLUMN, axis=1)
    return mean + W[2], covariance - (product[0] + product[1])


_ADJUGATE, _SIGN = np.array([3, 1, 2, 0]), np.array([[1.0], [-1.0], [-1.0], [1.0]])


def _times(A: Floats, B: Floats) -> Floats:
    """(i, j, n) products of the matrices A (i, 2, n) and B (2, j, n)."""
    terms = A[:, :, None] * B
    return np.asarray(terms[:, 0] + terms[:, 1])


def _information(n: int, track: Ints, d: Floats, R: Floats) -> Floats:
    """(2, 3, n): of each track L = sum of R^-1, and as third column g = sum of R^-1 d."""
    rows = np.empty((5, len(track)))  # L00, L01, L11, g0, g1
    np.divide(R[::-1], R[0] * R[2] - R[1] * R[1], out=rows[:3])
    np.negative(rows[1], out=rows[1])
    rows[3:] = rows[:2] * d[0] + rows[1:3] * d[1]
    place = n * _FIVE + track
    sums = np.bincount(place.ravel(), rows.ravel(), minlength=5 * n).reshape(5, n)
    return np.asarray(sums.take(_BESIDE, axis=0), dtype=np.float64)


_FIVE = np.arange(5)[:, None]
_BESIDE = np.array([[0, 1, 3], [1, 2, 4]])


def born(position: Floats, R: Floats) -> tuple[Floats, Floats]:
    """State of newly seen people: (2, k) and (3, k) xx, xy, yy -> (4, k), (10, k)."""
    k = position.shape[1]
    mean, covariance = np.zeros((4, k)), np.zeros((10, k))
    mean[:2] = position
    covariance[[XX, XY, YY]] = R
    covariance[[UU, VV]] = BIRTH_SPEED_SD_M_S**2
    return mean, covariance


def in_bounds(mean: Floats, covariance: Floats, low: Floats, high: Floats, var_max: Floats) -> bool:
    """True when ``bounded`` would change nothing."""
    at, variance = mean[:2], covariance[XX : YY + 1 : 4]
    inside = (at >= low[:, None]) & (at <= high[:, None]) & (variance <= var_max[:, None])
    return bool(np.count_nonzero(inside) == inside.size)


def bounded(
    mean: Floats, covariance: Floats, low: Floats, high: Floats, var_max: Floats
) -> tuple[Floats, Floats]:
    """Keep people whom nobody sees inside the walkable rectangle.

    The mean is clipped to [low, high] (2,) and stops there; a position variance above ``var_max``
    (2,) is scaled back, cross terms with it, so that the matrix stays positive definite.
    """
    at = mean[:2]
    inside = np.minimum(np.maximum(at, low[:, None]), high[:, None])
    x = mean.copy()
    x[:2] = inside
    x[2:][inside != at] = 0.0
    s = np.ones_like(mean)
    s[:2] = np.sqrt(np.minimum(1.0, var_max[:, None] / covariance[XX : YY + 1 : 4]))
    return x, covariance * (s.take(_ROW, axis=0) * s.take(_COLUMN, axis=0))


def full(covariance: Floats) -> Floats:
    """(10, n) upper triangles as (n, 4, 4) matrices."""
    P = np.empty((covariance.shape[1], 4, 4))
    P[:, _ROW, _COLUMN] = covariance.T
    P[:, _COLUMN, _ROW] = covariance.T
    return P


def mixture(mean: Floats, covariance: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """One Gaussian for a weighted set: (4, n), (10, n), (n,) summing to 1 -> (4,), (10,)."""
    centre = (mean * weight).sum(axis=1)
    d = mean - centre[:, None]
    return centre, ((covariance + d[_ROW] * d[_COLUMN]) * weight).sum(axis=1)
