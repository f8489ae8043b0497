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
        origin: (k, 3), rays: (k, 2, 3) unit directions, NaN where unseen, of k detections.
        track: (k,) the track of each. body: (n, 2) positions of all tracks.

    Returns:
        (t,) tracks, and (t, 2, 3) metres, NaN where not seen or not plausible.
    """
    tracks, place = np.unique(track, return_inverse=True)
    t = len(tracks)
    seen: Bools = np.asarray(np.isfinite(rays).all(axis=2))
    d = np.where(seen[..., None], rays, 0.0)
    across = np.eye(3) - d[..., :, None] * d[..., None, :]  # projects off the ray
    across *= seen[..., None, None] / RAY_SD_M**2
    A = np.zeros((t, 2, 3, 3))
    b = np.zeros((t, 2, 3))
    np.add.at(A, place, across)
    np.add.at(b, place, np.einsum("kwij,kj->kwi", across, origin))
    weak = 1 / np.array([REACH_SD_M, REACH_SD_M, HAND_HEIGHT_SD_M]) ** 2
    centre = np.column_stack((body[tracks], np.full(t, HAND_HEIGHT_M)))
    A += np.diag(weak)
    b += (weak * centre)[:, None]
    wrists = np.linalg.solve(A, b[..., None])[..., 0]
    reach = np.hypot(*np.moveaxis(wrists[..., :2] - centre[:, None, :2], -1, 0))
    any_seen = np.zeros((t, 2), np.int64)
    np.add.at(any_seen, place, seen.astype(np.int64))
    ok = (any_seen > 0) & (reach < REACH_MAX_M)
    ok &= (wrists[..., 2] > 0.0) & (wrists[..., 2] < HEIGHT_MAX_M)
    return tracks, np.where(ok[..., None], wrists, np.nan)
