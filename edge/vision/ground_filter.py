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


def predict(mean: Floats, covariance: Floats, dt_s: float) -> tuple[Floats, Floats]:
    """Mean and covariance ``dt_s`` >= 0 later, no measurement. Shapes (4, n), (10, n)."""
    a, b, q_pp, q_pv, q_vv = motion(dt_s)
    x, P = np.empty_like(mean), np.empty_like(covariance)
    x[:2] = mean[:2] + a * mean[2:]
    x[2:] = b * mean[2:]
    xx, xy, xu, xv, yy, yu, yv, uu, uv, vv = covariance  # P = F P F' + Q
    a2 = a * a
    P[XX] = xx + 2 * a * xu + a2 * uu + q_pp
    P[XY] = xy + a * (xv + yu) + a2 * uv
    P[YY] = yy + 2 * a * yv + a2 * vv + q_pp
    P[XU] = b * (xu + a * uu) + q_pv
    P[XV] = b * (xv + a * uv)
    P[YU] = b * (yu + a * uv)
    P[YV] = b * (yv + a * vv) + q_pv
    P[UU] = b * b * uu + q_vv
    P[UV] = b * b * uv
    P[VV] = b * b * vv + q_vv
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
    n = mean.shape[1]
    det = R[0] * R[2] - R[1] * R[1]
    i0, i1, i2 = R[2] / det, -R[1] / det, R[0] / det
    rows = np.empty((5, len(track)))
    rows[0], rows[1], rows[2] = i0, i1, i2
    rows[3] = i0 * innovation[0] + i1 * innovation[1]
    rows[4] = i1 * innovation[0] + i2 * innovation[1]
    flat = np.bincount(
        (np.arange(5)[:, None] * n + track).ravel(), rows.ravel(), minlength=5 * n
    ).reshape(5, n)
    l0, l1, l2, g0, g1 = flat  # L = sum of R^-1, g = sum of R^-1 d
    # K d = P[:, :2] (I + L P[:2, :2])^-1 g ; P' = P - P[:, :2] (I + L P[:2, :2])^-1 L P[:2, :]
    xx, xy, yy = covariance[XX], covariance[XY], covariance[YY]
    m00, m01 = 1 + l0 * xx + l1 * xy, l0 * xy + l1 * yy
    m10, m11 = l1 * xx + l2 * xy, 1 + l1 * xy + l2 * yy
    scale = 1 / (m00 * m11 - m01 * m10)
    v0, v1 = (m11 * g0 - m01 * g1) * scale, (m00 * g1 - m10 * g0) * scale
    k00, k01 = (m11 * l0 - m01 * l1) * scale, (m11 * l1 - m01 * l2) * scale
    k11 = (m00 * l2 - m10 * l1) * scale
    px = covariance[[XX, XY, XU, XV]]  # P[:, 0] and P[:, 1]
    py = covariance[[XY, YY, YU, YV]]
    x = mean + px * v0 + py * v1
    wx, wy = px * k00 + py * k01, px * k01 + py * k11
    P = covariance - (wx[_ROW] * px[_COLUMN] + wy[_ROW] * py[_COLUMN])
    return x, P


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
    inside = np.clip(mean[:2], low[:, None], high[:, None])
    out = inside != mean[:2]
    x = mean.copy()
    x[:2] = inside
    x[2:] = np.where(out, 0.0, mean[2:])
    s = np.ones_like(mean)
    s[0] = np.sqrt(np.minimum(1.0, var_max[0] / covariance[XX]))
    s[1] = np.sqrt(np.minimum(1.0, var_max[1] / covariance[YY]))
    return x, covariance * (s[_ROW] * s[_COLUMN])


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
