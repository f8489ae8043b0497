"""Who stood there: probability of each visit to have touched a place during a step.

A track explains a touch by its distance from the place, by where its wrists were seen and by
standing still, and belongs to each visit with its
identity probability. Visits that no track accounts for are hidden: they may be anywhere. What is
left goes to *nobody*: staff without a badge, somebody whom no camera saw, an unidentified track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.carts.likelihood import hand_ratio, reach, walk_ratio
from messages.arrays import Bools, Floats, Ints
from messages.ids import VisitId

UNSEEN = 0.0005  # weight of a person whom no camera saw; one who stands at the plate has 0.8
HIDDEN = 0.002  # ... of a visit that is inside and that no track accounts for
HIDDEN_AFTER_GAP = 0.3  # ... while the sensors were off: everybody inside could have been there
# An unidentified track is a visit that no other track accounts for, someone whom the gates saw come
# in without a credential, or, with these weights, someone they missed, or nobody at all.
MISSED = 0.01
GHOST = 0.03
# A wrist is not at the plate's centre but in front of the goods, on the person's side, above them.
HAND_FRONT_M, HAND_ABOVE_M = 0.20, 0.10
AT_M, NEAR_M, ELSEWHERE_M = 0.12, 0.25, 0.30
# Probabilities compare people: they say who, if it was one. Two hands at the goods at once say that
# it was two, as far as hands of those who only stand by are seldom there: their mean weight.
BYSTANDER = 0.75  # of 753 who stood within 1.3 m; of those who touched it is 40
BOTH_MAX = 120.0
REACHING_SAMPLES = 12  # that a step of one reach has, with the time before and after it
BLIND_M = 0.8  # how far along its line of sight a wrist may be from where it was put
SPEED_SAMPLES = 3  # positions that make a speed
SPEED_SD_M = 0.30  # of a body's position: a hidden one has no speed that we know
NEAR_REACH = 0.05  # a track that explains a touch at least so well is named as evidence


class Window(Protocol):
    """What was known of people between two instants; ``edge.vision.tracks.TrackWindow`` is one."""

    @property
    def at_ns(self) -> Ints: ...  # (k,)
    @property
    def track_id(self) -> Ints: ...  # (n,)
    @property
    def position_store_m(self) -> Floats: ...  # (k, n, 2) NaN where absent
    @property
    def position_sd_m(self) -> Floats: ...  # (k, n)
    @property
    def wrists_store_m(self) -> Floats: ...  # (k, n, 2, 3) NaN where not seen
    @property
    def wrists_along(self) -> Floats: ...  # (k, n, 2, 3) line of sight, zeros where depth is known
    @property
    def visits(self) -> tuple[VisitId, ...]: ...  # (v,)
    @property
    def identity(self) -> Floats: ...  # (k, n, v + 1) last column = nobody known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actors:
    """Who may have done it. ``probability``: (v + 1, l) per visit, last row nobody; columns 1."""

    visits: tuple[VisitId, ...]
    probability: Floats
    tracks: tuple[int, ...]  # those near the first place, the nearest first
    seen: bool  # somebody was in reach of the first place
    weight: Floats  # (l,) what the probabilities of each place were divided by
    touch: Floats  # (n, l) how well each track explains a touch
    identity: Floats  # (n, v + 1) of the tracks

    @property
    def nobody(self) -> int:
        return len(self.visits)

    def two(self, first: Ints, second: Ints) -> Floats:
        """(v + 1, v + 1, m) weight of two people who touched places ``first`` and ``second``.

        Relative to one person who touched the first; places are columns of ``probability``. No
        track is two people, however doubtful whose it is.
        """
        who, other = self.probability[:, first], self.probability[:, second]
        share = self.touch / self.weight
        alone = self.identity.T[:, :, None] * share[:, first]  # (v + 1, n, m)
        also = self.identity.T[:, :, None] * share[:, second]
        same = np.einsum("anm,bnm->abm", alone, also)
        both = np.clip(np.sqrt(self.weight[first] * self.weight[second]) / BYSTANDER, 1.0, BOTH_MAX)
        result: Floats = np.maximum(who[:, None] * other[None] - same, 0.0) * both
        return result


def actors_at(
    window: Window,
    inside: Sequence[VisitId],
    points_m: Floats,
    along: Floats,
    *,
    strangers: float,
    after_gap: bool,
) -> Actors:
    """Probability that each visit, or nobody known, touched each point.

    Args:
        window: tracks during the step.
        inside: visits that were in the store then.
        points_m: (l, 3) store frame; the first is where the step's mass is.
        along: (2,) unit vector along the shelf.
        strangers: people inside who came through a gate without a credential.
        after_gap: tracks are no witness of all the time: everybody inside stays possible.
    """
    touch = touch_by_track(window, points_m, along, after_gap=after_gap)  # (n, l)
    identity = mean_identity(window, inside)  # (n, v + 1)
    weight = identity.T @ touch  # (v + 1, l)
    hidden = np.clip(1.0 - identity[:, :-1].sum(axis=0), 0.0, 1.0)
    here = np.array([not len(window.at_ns) or v in window.visits for v in inside], dtype=bool)
    lost = hidden * here  # others have shown a credential, but are not through the gate yet
    unknown = strangers + MISSED
    stranger = weight[-1] * unknown / (unknown + GHOST + lost.sum())
    found = np.outer(lost / (unknown + GHOST + lost.sum()), weight[-1])
    floor = np.maximum(hidden * HIDDEN, HIDDEN_AFTER_GAP if after_gap else 0.0)
    by_visit = weight[:-1] + found + floor[:, None]
    total = np.vstack([by_visit, stranger + UNSEEN])
    near = [i for i in np.argsort(-touch[:, 0], kind="stable") if touch[i, 0] >= NEAR_REACH]
    return Actors(
        visits=tuple(inside),
        probability=total / total.sum(axis=0),
        tracks=tuple(int(window.track_id[i]) for i in near),
        seen=bool(near),
        weight=total.sum(axis=0),
        touch=touch,
        identity=identity,
    )


def touch_by_track(window: Window, points_m: Floats, along: Floats, *, after_gap: bool) -> Floats:
    """(n, l) how well each track explains a touch of each point, over the step's duration.

    The mean over the window tells who stood there from who passed by; the maximum keeps one who
    was there only briefly. After a gap only the maximum has a meaning, and nobody's walk has.
    """
    position = window.position_store_m[:, :, None, :]
    if not position.size:
        return np.zeros((len(window.track_id), len(points_m)))
    offset = position - points_m[:, :2]  # (k, n, l, 2)
    aside, away = offset @ along, offset @ np.array([-along[1], along[0]])
    touched = reach(aside, away, np.nan_to_num(window.position_sd_m)[:, :, None])
    present = np.isfinite(aside).sum(axis=0)
    mean = touched.sum(axis=0) / np.maximum(present, 1)
    peak = touched.max(axis=0, initial=0.0)
    over_time = peak if after_gap else 0.5 * (mean + peak) * walk_ratio(_speed(window))[:, None]
    at, near, elsewhere, samples = hands_seen(window, points_m, _side(offset, along))
    result: Floats = over_time * hand_ratio(at, near, elsewhere, samples)
    return result


def _side(offset: Floats, along: Floats) -> Floats:
    """(n, l, 2) unit vector across the shelf, from each point to the side where the person is."""
    across = np.array([-along[1], along[0]])
    away = np.nan_to_num(offset @ across).sum(axis=0)  # (n, l)
    result: Floats = np.sign(away)[..., None] * across
    return result


def hands_seen(window: Window, points_m: Floats, side: Floats) -> tuple[Ints, Ints, Floats, Ints]:
    """How often each track's hands were seen where a hand that touches each point would be.

    One camera alone does not tell how far away a wrist is: then the distance to its line of sight
    counts, as far as an arm can be wrong.

    Returns:
        (n, l) samples with a wrist at the place, and (n, l) near it; (n, l) share of the samples
        with wrists in which both were elsewhere; (n,) samples with wrists.
    """
    rise = np.full((*side.shape[:2], 1), HAND_ABOVE_M)
    hand_m = points_m + np.concatenate([HAND_FRONT_M * side, rise], axis=2)  # (n, l, 3)
    wrists, along = window.wrists_store_m, np.nan_to_num(window.wrists_along)
    distance = np.empty((*wrists.shape[:3], len(points_m)))  # (k, n, 2, l)
    for place in range(len(points_m)):
        gap = hand_m[None, :, None, place] - wrists  # (k, n, 2, 3)
        depth = np.clip((gap * along).sum(axis=-1), -BLIND_M, BLIND_M)
        distance[..., place] = np.linalg.norm(gap - depth[..., None] * along, axis=-1)
    seen: Bools = np.asarray(np.isfinite(wrists).all(axis=-1))
    nearest = np.where(seen[..., None], distance, np.inf).min(axis=2)  # (k, n, l)
    samples = seen.any(axis=2).sum(axis=0)  # (n,)
    both: Bools = np.asarray(seen.all(axis=2))
    elsewhere = (both[..., None] & (nearest > ELSEWHERE_M)).sum(axis=0)
    spare = np.maximum(samples - REACHING_SAMPLES, 0)  # of a long step one reach takes a part
    share = np.maximum(elsewhere - spare[:, None], 0) / np.maximum(samples - spare, 1)[:, None]
    return (nearest < AT_M).sum(axis=0), (nearest < NEAR_M).sum(axis=0), share, samples


def _speed(window: Window) -> Floats:
    """(n,) speed of a straight line through each track's positions; NaN where that says nothing."""
    at_s = (window.at_ns - window.at_ns[0]) / 1e9
    present = np.isfinite(window.position_store_m).all(axis=-1)  # (k, n)
    weight = present / np.maximum(present.sum(axis=0), 1)
    since = np.where(present, at_s[:, None] - at_s @ weight, 0.0)
    moved = np.einsum("kn,kni->ni", since, np.nan_to_num(window.position_store_m))
    spread = (since**2).sum(axis=0)
    sd = (weight * np.nan_to_num(window.position_sd_m)).sum(axis=0)
    known = (present.sum(axis=0) >= SPEED_SAMPLES) & (sd < SPEED_SD_M)
    speed: Floats = np.linalg.norm(moved, axis=-1) / np.where(known, spread, 1.0)
    return np.where(known, speed, np.nan)


def mean_identity(window: Window, inside: Sequence[VisitId]) -> Floats:
    """(n, v + 1) identity over the window, for these visits; all others count as nobody known."""
    n = len(window.track_id)
    result = np.zeros((n, len(inside) + 1))
    present = np.isfinite(window.position_store_m).all(axis=-1)  # (k, n)
    weight = present / np.maximum(present.sum(axis=0), 1)
    mean = np.einsum("kn,knv->nv", weight, np.nan_to_num(window.identity))
    column: Mapping[VisitId, int] = {visit: i for i, visit in enumerate(inside)}
    for i, visit in enumerate(window.visits):
        result[:, column.get(visit, len(inside))] += mean[:, i]
    result[:, -1] += mean[:, -1]
    return result
