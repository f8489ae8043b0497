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
    """Mean and covariance ``dt_s`` >= 0 later, no measurement. Shapes (4, n), (10, n)."""
    a, b, q_pp, q_pv, q_vv = motion(dt_s)
    x, P, C = np.empty_like(mean), np.empty_like(covariance), covariance
    x[:2] = mean[:2] + a * mean[2:]
    x[2:] = b * mean[2:]
    # P = F P F' + Q, both axes at once where their terms are alike
    cross, speed = C[XU : YV + 1 : 4], C[UU::2]
    P[XX : YY + 1 : 4] = C[XX : YY + 1 : 4] + 2 * a * cross + a * a * speed + q_pp
    P[XY] = C[XY] + a * (C[XV] + C[YU]) + a * a * C[UV]
    P[XU : YV + 1 : 4] = b * (cross + a * speed) + q_pv
    P[XV : YU + 1 : 2] = b * (C[XV : YU + 1 : 2] + a * C[UV])
    P[UU:] = b * b * C[UU:]
    P[UU::2] += q_vv
    return x, P


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
    L, g = _information(mean.shape[1], track, innovation, R)
    # K d = P[:, :2] (I + L P[:2, :2])^-1 g ; P' = P - P[:, :2] (I + L P[:2, :2])^-1 L P[:2, :]
    Z = covariance.take(_POSITION, axis=0).reshape(2, 4, -1)  # P[:, 0] and P[:, 1]
    M = (L[:2, None] * Z[0, :2]).reshape(4, -1)
    M[::3] += 1.0
    M += (L[1:, None] * Z[1, :2]).reshape(4, -1)  # rows m00 m01 m10 m11 of I + L P
    scale = 1 / (M[0] * M[3] - M[1] * M[2])
    v = (M[::-3] * g - M[1:3] * g[::-1]) * scale
    k0 = (M[3] * L[:2] - M[1] * L[1:]) * scale
    k11 = (M[0] * L[2] - M[2] * L[1]) * scale
    px, py = Z
    W = np.empty_like(Z)
    W[0], W[1] = px * k0[0] + py * k0[1], px * k0[1] + py * k11
    product = W.take(_ROW, axis=1) * Z.take(_COLUMN, axis=1)
    return mean + px * v[0] + py * v[1], covariance - (product[0] + product[1])


def _information(n: int, track: Ints, d: Floats, R: Floats) -> tuple[Floats, Floats]:
    """Per track L = sum of R^-1 (3, n), as 00 01 11, and g = sum of R^-1 d (2, n)."""
    rows = np.empty((5, len(track)))
    np.divide(R[::-1], R[0] * R[2] - R[1] * R[1], out=rows[:3])
    np.negative(rows[1], out=rows[1])
    rows[3:] = rows[:2] * d[0] + rows[1:3] * d[1]
    place = np.arange(0, 5 * n, n)[:, None] + track
    sums = np.bincount(place.ravel(), rows.ravel(), minlength=5 * n)
    flat = np.asarray(sums, dtype=np.float64).reshape(5, n)
    return flat[:3], flat[3:]


def born(position: Floats, R: Floats) -> tuple[Floats, Floats]:
    """State of newly seen people: (2, k) and (3, k) xx, xy, yy -> (4, k), (10, k)."""
    k = position.shape[1]
    mean, covariance = np.zeros((4, k)), np.zeros((10, k))
    mean[:2] = position
    covariance[[XX, XY, YY]] = R
    covariance[[UU, VV]] = BIRTH_SPEED_SD_M_S**2
    return mean, covariance


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
