"""What the gates tell the tracker: who came in, and who went out.

A passage is an exact instant and a known place. Inwards, the gate itself makes a track: a body at
its place that nobody has seen yet. Who is seen there, or appears near it, is weighed against it and
against everybody hidden at once (``reassociation``), so a shopper who turns up near the gate is not
taken for the newcomer. Outwards, the tracks near the gate share one departure.
"""

from __future__ import annotations

import numpy as np

from edge.vision.ground_filter import XX, XY, YY
from edge.vision.tracks import People, Phase
from messages.arrays import Bools, Floats

NOBODY_MIN = 0.8  # seen at a gate: a little of somebody hidden may be on a newcomer by mistake
PASSAGE_SD_M = 0.35  # where a body is when the passage sensor fires: lane width and its timing
ALONG_SD_M = 0.15  # where a body is when it breaks the beam outwards: a tenth of a second's walk
ACROSS_SD_M = 0.35  # half a lane
REACH_M = 2.0  # unbound people considered at a passage
ENTRY_SEEN_NS = 1_000_000_000  # unseen for longer: not the one who passes now
LEAVING_WEIGHT = 0.1  # somebody who went out, turned and came in again
UNTRACKED_PER_M2 = 1e-3  # bodies going out that were never tracked


def newcomers(people: People, gate: Floats, now_ns: int) -> Bools:
    """(n,) seen near the ``gate`` (2,), of nobody known: one of them may have come in now."""
    near = ((people.mean[:2] - gate[:, None]) ** 2).sum(axis=0) < REACH_M**2
    near &= now_ns - people.last_seen_ns <= ENTRY_SEEN_NS
    near &= people.phase != Phase.TENTATIVE
    return np.asarray(near & (people.identity[:, -1] >= NOBODY_MIN))


def inward(gate: Floats, low: Floats, high: Floats) -> Floats:
    """(2,) unit normal into the walkable rectangle at a gate on its border."""
    sides = np.concatenate((gate - low, high - gate))
    return np.asarray([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][int(sides.argmin())])


def exit_weights(
    people: People, gate: Floats, normal: Floats, at_ns: int, now_ns: int
) -> tuple[Floats, float]:
    """Probability that each track (n,) is the body that went out at ``gate``; and that none is.

    ``normal`` (2,): into the store. People queue before a way out: who has reached the line is
    ahead of those who have not, so the place along the lane counts for more than across it.
    """
    back_s = (now_ns - at_ns) * 1e-9
    dx, dy = people.mean[:2] - back_s * people.mean[2:] - gate[:, None]
    nx, ny = normal
    s0 = people.covariance[XX] + ALONG_SD_M**2 * nx * nx + ACROSS_SD_M**2 * ny * ny
    s1 = people.covariance[XY] + (ALONG_SD_M**2 - ACROSS_SD_M**2) * nx * ny
    s2 = people.covariance[YY] + ALONG_SD_M**2 * ny * ny + ACROSS_SD_M**2 * nx * nx
    det = s0 * s2 - s1 * s1
    d2 = (s2 * dx * dx - 2 * s1 * dx * dy + s0 * dy * dy) / det
    density = np.exp(-0.5 * np.minimum(d2, 200.0)) / (2 * np.pi * np.sqrt(det))
    density[people.phase == Phase.LEAVING] = 0.0
    density[people.phase == Phase.TENTATIVE] *= 0.3
    total = float(density.sum()) + UNTRACKED_PER_M2
    return density / total, UNTRACKED_PER_M2 / total
