"""A Kalman filter over the boxes of many people at once, in image coordinates, as one array.

Position (centre, pixels) and shape (logarithm of width and height) are two blocks of two axes each;
both axes of a block share one 2 x 2 covariance, because noise and motion are alike in x and y once
they are measured in heights of the box. So uncertainty is counted in box heights and seconds, and
one set of constants serves near and far people, any image size and any image rate.

Motion is an integrated Ornstein-Uhlenbeck process (as in ``ground_filter``): people keep their
course for seconds, and unseen for long they neither run away nor spread without bound.
A measurement that fits badly - half hidden, or two people in one box - counts less (Student's t).

Source: Bar-Shalom, Li & Kirubarajan, chapter 8; Roth, Oezkan & Gustafsson, "A Student's t filter
for heavy tailed process and measurement noise", 2013.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from messages.arrays import Floats, Ints

# Rows of the state (14, n): means, rates (per second), then covariance of (position, shape).
MEAN, RATE = slice(0, 4), slice(4, 8)  # x, y px; log width, log height
PP, PV, VV = slice(8, 10), slice(10, 12), slice(12, 14)
POSITION_VAR, SHAPE_VAR, LOG_HEIGHT = 8, 9, 3
ROWS = 14

SPEED_VAR = (0.12, 0.03**2)  # (heights/s)^2: walking is about 0.5 heights/s; sizes change slowly
SPEED_TAU_S = (8.0, 3.0)  # how long course and growth last
BIRTH_SPEED_VAR = (0.5**2, 0.03**2)
NOISE_VAR = (0.06**2, 0.09**2)  # of detectors: centre, in heights; log height
WIDTH_VAR = 0.25**2  # log width breathes with the stride
FREEDOM = 6.0  # degrees of freedom of the measurements' Student's t


@lru_cache(maxsize=64)
def _motion(dt_s: float) -> tuple[Floats, Floats]:
    """(14, 14) and (14, 1): state after ``dt_s`` = A @ state + c, covariance entries included.

    Of each axis x = F x and P = F P F' + Q with F = [[1, a], [0, b]].
    """
    A, c = np.zeros((ROWS, ROWS)), np.zeros((ROWS, 1))
    for block, (variance, tau) in enumerate(zip(SPEED_VAR, SPEED_TAU_S, strict=True)):
        h = dt_s / tau
        b = math.exp(-h)
        a = tau * (1 - b)
        for x in (2 * block, 2 * block + 1):
            A[x, [x, x + 4]] = 1, a
            A[x + 4, x + 4] = b
        pp, pv, vv = 8 + block, 10 + block, 12 + block
        A[pp, [pp, pv, vv]] = 1, 2 * a, a * a
        A[pv, [pv, vv]] = b, a * b
        A[vv, vv] = b * b
        c[pp] = variance * tau**2 * max(2 * h - 3 + 4 * b - b * b, 0.0)
        c[pv], c[vv] = variance * tau * (1 - b) ** 2, variance * (1 - b * b)
    return A, c


def predict(state: Floats, dt_s: float) -> Floats:
    """(14, n) of everybody ``dt_s`` >= 0 later; the law is linear in the covariance too."""
    A, c = _motion(dt_s)
    after: Floats = A @ state
    after += c
    return after


def update(state: Floats, track: Ints, innovation: Floats, distance2: Floats) -> None:
    """Fold one box into each of the tracks (k,), in place.

    Args:
        innovation: (4, k) measured less predicted. distance2: (k,) its squared normalized length.
    """
    k = len(track)
    some = state.take(track, axis=1)
    d = innovation.reshape(2, 2, k)
    R = _NOISE * np.maximum((FREEDOM + distance2) / (FREEDOM + 4), 1.0)
    pp, pv = some[PP], some[PV]
    s = pp + R
    rate_gain = pv / s
    some[MEAN] += ((pp / s)[:, None] * d).reshape(4, k)
    some[RATE] += (rate_gain[:, None] * d).reshape(4, k)
    some[VV] -= rate_gain * pv
    shrink = R / s
    pp *= shrink
    pv *= shrink
    state[:, track] = some


_NOISE = np.array(NOISE_VAR)[:, None]


def born(measured: Floats) -> Floats:
    """(14, k) state of tracks that start at these measurements (4, k)."""
    state = np.zeros((ROWS, measured.shape[1]))
    state[MEAN] = measured
    state[PP] = _NOISE
    state[VV] = np.array(BIRTH_SPEED_VAR)[:, None]
    return state


def spread(state: Floats) -> tuple[Floats, Floats]:
    """(4, n) inverse variances of innovations, and (n,) the logarithm of their determinant.

    The determinant is relative to that of the noise: 0 for a track known exactly.
    """
    n = state.shape[1]
    position = state[POSITION_VAR] + NOISE_VAR[0]
    inverse = np.empty((4, n))
    inverse[2] = 1.0 / (state[SHAPE_VAR] + WIDTH_VAR)
    inverse[3] = 1.0 / (state[SHAPE_VAR] + NOISE_VAR[1])
    log_det = np.log(position * position / (inverse[2] * inverse[3])) - _LOG_NOISE
    inverse[:2] = np.exp(-2.0 * state[LOG_HEIGHT]) / position
    return inverse, log_det


_LOG_NOISE = math.log(NOISE_VAR[0] ** 2 * NOISE_VAR[1] * WIDTH_VAR)


def measured(boxes: Floats, size: Floats) -> Floats:
    """(4, m) centre and log size of boxes (m, 4) x1, y1, x2, y2 of positive ``size`` (m, 2)."""
    found = np.empty((4, len(boxes)))
    np.multiply(size.T, 0.5, out=found[:2])
    found[:2] += boxes.T[:2]
    np.log(size.T, out=found[2:])
    return found


def boxes_of(mean: Floats) -> Floats:
    """(n, 4) x1, y1, x2, y2 of means (4, n)."""
    half = 0.5 * np.exp(mean[2:4])
    return np.concatenate((mean[:2] - half, mean[:2] + half)).T
