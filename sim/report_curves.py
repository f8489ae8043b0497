"""Mass curves for the report: what some plates weighed around a moment, from a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.recording import Recording
from messages.arrays import Floats
from messages.observations import ShelfSamples
from messages.store_config import ShelfNode, StoreConfig

BEFORE_S, AFTER_S = 5.0, 6.0  # a long hold before, settling after
JOIN_S = 4.0  # moments of one shelf this close are drawn together
MOMENTS_PER_STORY_MAX = 6
CURVE_HZ = 10.0  # a pick lasts half a second
LEVEL_S = 1.0  # the first second of a curve is its zero: absolute mass wanders


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something happened on some plates of a shelf, store seconds."""

    shelf: str
    plates: tuple[str, ...]
    start_s: float
    end_s: float

    def is_near(self, t_s: float, within_s: float) -> bool:
        return self.start_s - within_s <= t_s <= self.end_s + within_s

    def with_(self, other: Moment) -> Moment:
        return Moment(
            shelf=self.shelf,
            plates=tuple(sorted({*self.plates, *other.plates})),
            start_s=min(self.start_s, other.start_s),
            end_s=max(self.end_s, other.end_s),
        )


def merged(moments: Iterable[Moment]) -> list[Moment]:
    """Near ones of a shelf become one; in order of time, and not too many."""
    found: list[Moment] = []
    for moment in sorted(moments, key=lambda m: (m.shelf, m.start_s, m.end_s)):
        last = found[-1] if found else None
        if last is not None and last.shelf == moment.shelf and last.end_s + JOIN_S > moment.start_s:
            found[-1] = last.with_(moment)
        else:
            found.append(moment)
    return sorted(found, key=lambda m: (m.start_s, m.shelf))[:MOMENTS_PER_STORY_MAX]


def curves(
    recording: Recording, config: StoreConfig, moments: Sequence[Moment]
) -> dict[Moment, dict[str, Any]]:
    """Read the recording once and draw every moment that has samples.

    Returns:
        per moment: the shelf, its plates, ``t`` seconds, ``g`` grams since the curve's start on
        the plates in question, ``shelf_g`` the same on the whole shelf.
    """
    wanted = _by_node(config, moments)
    kept: dict[Moment, list[tuple[Floats, Floats]]] = {moment: [] for moment in moments}
    for step in recording.steps() if wanted else ():
        for seen in step.observations:
            if isinstance(seen, ShelfSamples):
                for moment in wanted.get(str(seen.device), ()):
                    if moment.is_near(seen.received_at_ns / 1e9, max(BEFORE_S, AFTER_S) + 1):
                        kept[moment].append(_samples(seen))
    nodes = {str(plate): node for node in config.shelf_nodes for plate in node.plates}
    drawn = {m: _curve(m, kept[m], nodes[m.plates[0]], config) for m in moments if kept[m]}
    return {moment: curve for moment, curve in drawn.items() if curve is not None}


def _by_node(config: StoreConfig, moments: Iterable[Moment]) -> dict[str, list[Moment]]:
    node_of = {str(plate): str(node.id) for node in config.shelf_nodes for plate in node.plates}
    found: dict[str, list[Moment]] = {}
    for moment in dict.fromkeys(moments):
        if moment.plates and moment.plates[0] in node_of:
            found.setdefault(node_of[moment.plates[0]], []).append(moment)
    return found


def _samples(batch: ShelfSamples) -> tuple[Floats, Floats]:
    """(n,) store seconds, arrival taken for the last sample's instant; (n, plates) readings."""
    count = len(batch.readings)
    ago_s: Floats = np.arange(count - 1, -1, -1, dtype=np.float64) * batch.sample_period_us * 1e-6
    readings: Floats = np.nan_to_num(np.asarray(batch.readings, dtype=np.float64))
    return np.float64(batch.received_at_ns / 1e9) - ago_s, readings


def _curve(
    moment: Moment,
    batches: Sequence[tuple[Floats, Floats]],
    node: ShelfNode,
    config: StoreConfig,
) -> dict[str, Any] | None:
    t_s = np.concatenate([t for t, _ in batches])
    order = np.argsort(t_s, kind="stable")
    t_s, readings = t_s[order], np.concatenate([r for _, r in batches])[order]
    inside = (t_s >= moment.start_s - BEFORE_S) & (t_s <= moment.end_s + AFTER_S)
    if not inside.any():
        return None
    span = {str(p.id): p for p in config.plates}
    plates = [span[str(p)] for p in node.plates]
    grams = readings[inside] * np.array([p.grams_per_count for p in plates])
    mine = np.array([str(p.id) in moment.plates for p in plates])
    whole = np.array([str(p.shelf) == moment.shelf for p in plates])
    t_s, levels = _thinned(
        t_s[inside], np.column_stack([grams[:, mine].sum(axis=1), grams[:, whole].sum(axis=1)])
    )
    levels = levels - np.median(levels[t_s <= t_s[0] + LEVEL_S], axis=0)
    return {
        "shelf": moment.shelf,
        "plates": list(moment.plates),
        "start": moment.start_s,
        "end": moment.end_s,
        "t": [round(float(v), 2) for v in t_s],
        "g": [round(float(v), 1) for v in levels[:, 0]],
        "shelf_g": [round(float(v), 1) for v in levels[:, 1]],
    }


def _thinned(t_s: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Means over tenths of a second."""
    _, group = np.unique(np.floor(t_s * CURVE_HZ), return_inverse=True)
    count = np.bincount(group)
    sums = [np.bincount(group, weights=column) / count for column in (t_s, *levels.T)]
    return sums[0], np.column_stack(sums[1:])
