"""What the gates tell the tracker: who came in, and who went out.

A passage is an exact instant and a known place. Inwards, the unbound track that was nearest gets
the visit, shared over several by their distance; nobody there yet: the gate itself makes a track.
Outwards, the tracks near the gate share one departure.
"""

from __future__ import annotations

import numpy as np

from edge.vision.ground_filter import XX, XY, YY
from edge.vision.tracks import People, Phase
from messages.arrays import Floats

PASSAGE_SD_M = 0.35  # where a body is when the passage sensor fires: lane width and its timing
REACH_M = 2.0  # unbound people considered for an entry
UNBOUND_MIN = 0.2  # a track surely of somebody did not just come in
ENTRY_SEEN_NS = 1_000_000_000  # unseen for longer: not the one who passes now
ONE_HIT_WEIGHT = 0.3  # may be a false box
LEAVING_WEIGHT = 0.1  # somebody who went out, turned and came in again
UNSEEN_WEIGHT = 0.002  # against 1 at the gate's very place: the person who passed is not tracked
UNTRACKED_PER_M2 = 1e-3  # bodies going out that were never tracked


def entry_weights(people: People, gate: Floats, at_ns: int, now_ns: int) -> Floats:
    """(n,) how well each track fits the person who came in at ``gate`` (2,) at ``at_ns``."""
    back_s = (now_ns - at_ns) * 1e-9
    moved = people.mean[:2] - back_s * people.mean[2:]
    d2 = ((moved - gate[:, None]) ** 2).sum(axis=0)
    spread = PASSAGE_SD_M**2 + (people.covariance[XX] + people.covariance[YY]) / 2
    weight: Floats = np.exp(-0.5 * d2 / spread) * people.identity[:, -1]
    weight[people.identity[:, -1] < UNBOUND_MIN] = 0.0
    weight[(d2 > REACH_M**2) | (now_ns - people.last_seen_ns > ENTRY_SEEN_NS)] = 0.0
    weight[people.hits == 1] *= ONE_HIT_WEIGHT
    weight[people.phase == Phase.LEAVING] *= LEAVING_WEIGHT
    return weight


def shares(weight: Floats, room: Floats) -> Floats:
    """Split one body over candidates by weight, none above its room; the sum may stay below 1."""
    share = np.zeros_like(weight)
    for _ in range(4):  # each round fills at least one candidate or ends
        free = np.where(share < room - 1e-12, weight, 0.0)
        rest = 1.0 - share.sum()
        if rest < 1e-9 or free.sum() <= 0.0:
            break
        share = np.minimum(share + rest * free / free.sum(), room)
    return share


def exit_weights(people: People, gate: Floats, at_ns: int, now_ns: int) -> tuple[Floats, float]:
    """Probability that each track (n,) is the body that went out at ``gate``; and that none is."""
    back_s = (now_ns - at_ns) * 1e-9
    dx, dy = people.mean[:2] - back_s * people.mean[2:] - gate[:, None]
    s0 = people.covariance[XX] + PASSAGE_SD_M**2
    s1 = people.covariance[XY]
    s2 = people.covariance[YY] + PASSAGE_SD_M**2
    det = s0 * s2 - s1 * s1
    d2 = (s2 * dx * dx - 2 * s1 * dx * dy + s0 * dy * dy) / det
    density = np.exp(-0.5 * np.minimum(d2, 200.0)) / (2 * np.pi * np.sqrt(det))
    density[people.phase == Phase.LEAVING] = 0.0
    density[people.phase == Phase.TENTATIVE] *= 0.3
    total = float(density.sum()) + UNTRACKED_PER_M2
    return density / total, UNTRACKED_PER_M2 / total
