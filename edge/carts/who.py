"""Who stood there: probability of each visit to have touched a place during a step.

A track explains a touch by its distance from the place, and belongs to each visit with its
identity probability. Visits that no track accounts for are hidden: they may be anywhere. What is
left goes to *nobody*: staff without a badge, somebody whom no camera saw, an unidentified track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.carts.likelihood import reach, wrist_ratio
from messages.arrays import Floats, Ints
from messages.ids import VisitId

UNSEEN = 0.0015  # weight of a person whom no camera saw; one who stands at the plate has 0.8
HIDDEN = 0.01  # ... of a visit that is inside and that no track accounts for
HIDDEN_AFTER_GAP = 0.3  # ... while the sensors were off: everybody inside could have been there
# An unidentified track is a visit that no other track accounts for, someone whom the gates saw come
# in without a credential, or, with these weights, someone they missed, or nobody at all.
MISSED = 0.01
GHOST = 0.03
NEAR_REACH = 0.05  # a track that explains a touch at least so well is named as evidence


class Window(Protocol):
    """What was known of people between two instants; ``edge.vision.tracks.TrackWindow`` is one."""

    @property
    def track_id(self) -> Ints: ...  # (n,)
    @property
    def position_store_m(self) -> Floats: ...  # (k, n, 2) NaN where absent
    @property
    def position_sd_m(self) -> Floats: ...  # (k, n)
    @property
    def wrists_store_m(self) -> Floats: ...  # (k, n, 2, 3) NaN where not seen
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

    @property
    def nobody(self) -> int:
        return len(self.visits)


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
    unknown = strangers + MISSED
    stranger = weight[-1] * unknown / (unknown + GHOST + hidden.sum())
    found = np.outer(hidden / (unknown + GHOST + hidden.sum()), weight[-1])
    floor = np.maximum(hidden * HIDDEN, HIDDEN_AFTER_GAP if after_gap else 0.0)
    by_visit = weight[:-1] + found + floor[:, None]
    total = np.vstack([by_visit, stranger + UNSEEN])
    near = [i for i in np.argsort(-touch[:, 0], kind="stable") if touch[i, 0] >= NEAR_REACH]
    return Actors(
        visits=tuple(inside),
        probability=total / total.sum(axis=0),
        tracks=tuple(int(window.track_id[i]) for i in near),
        seen=bool(near),
    )


def touch_by_track(window: Window, points_m: Floats, along: Floats, *, after_gap: bool) -> Floats:
    """(n, l) how well each track explains a touch of each point, over the step's duration.

    The mean over the window tells who stood there from who passed by; the maximum keeps one who
    was there only briefly. After a gap only the maximum has a meaning.
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
    over_time = peak if after_gap else 0.5 * (mean + peak)
    result: Floats = over_time * wrist_ratio(_nearest_wrist(window, points_m))
    return result


def _nearest_wrist(window: Window, points_m: Floats) -> Floats:
    """(n, l) smallest distance of any seen wrist from each point; NaN where none was seen."""
    wrists = window.wrists_store_m[:, :, :, None, :]
    distance = np.linalg.norm(wrists - points_m, axis=-1)  # (k, n, 2, l)
    nearest = np.where(np.isnan(distance), np.inf, distance).min(axis=(0, 2), initial=np.inf)
    result: Floats = np.where(np.isinf(nearest), np.nan, nearest)
    return result


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
