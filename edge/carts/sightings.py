"""Looks into hands as evidence of what was taken: a bounded likelihood ratio per SKU.

A sighting says what a hand held, by its looks, with the planogram as prior; here the prior is taken
out, since the cart tracker has its own: what is left, probability over prior, is how much likelier
this look is if the hand holds the SKU. A sighting counts as far as its hand may be the one that
touched the shelf, by its distance, and as far as it shows that something is held; otherwise it says
nothing (a mixture, so that another's hand near by cannot speak against what was taken). What a hand
held before a lift is not what was taken then, so earlier looks count against: see ``PAST``.

Looks of one camera show one side of one pose: any number of them is worth ``1 / CORRELATION``. What
one camera says, and what all say together, is bounded, since they share one enrolment, which may be
wrong. SKUs that nobody enrolled, or that a packet does not list, are neither likelier nor less so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge.carts.outcomes import Kind, Rows
from messages.arrays import Floats
from messages.ids import Sku
from messages.observations import ItemSightings

KEPT_NS = 6_000_000_000  # a step is judged within two seconds of its end; a long hold is longer
KEPT_MAX = 1024  # packets: 40 cameras at five a second for as long
NEAR_M = 0.45  # one sigma: where one camera puts a hand, and how far a hand is from its plates
FAR = 2.5  # sigmas beyond which a hand is another's
HELD_MIN = 0.2  # probability that the hand holds anything, from which a look is used
THE_HAND = 0.9  # that a hand right there is the one that touched the shelf
LOOK_MAX = 10.0  # of one look: a thirteenth of those above 0.9 were wrong (docs/PRODUCTS.md)
# Of two looks of one camera at one hold. On drawn goods it is 0.3, with fingers and light of their
# own in each image, and 0.1 between two cameras (docs/PRODUCTS.md): 0.6 is on the safe side.
CORRELATION = 0.6
# The most that one camera says of two SKUs, and that all say: two that agree, never more. Each SKU
# may go half of it (in logs) up or down from what nobody looked at.
OF_CAMERA = float(np.log(20.0)) / 2
OF_ALL = float(np.log(200.0)) / 2
# A taken item is in the hand from the lift on; one that is put back, until it stands.
REACH_NS = 1_500_000_000
HANDLING_NS = 100_000_000  # the mass moves so much before or after the hand is seen to hold it


def kept(held: Sequence[ItemSightings], new: ItemSightings, now_ns: int) -> list[ItemSightings]:
    """What is remembered with one more packet: the latest, of the last ``KEPT_NS``."""
    if not len(new.positions_store_m) or not len(new.skus):
        return list(held)
    young = [seen for seen in held if now_ns - seen.captured_at_ns <= KEPT_NS]
    return [*young, new][-KEPT_MAX:]


def sighting_log_ratio(
    sightings: Iterable[ItemSightings],
    products: Mapping[Sku, int],
    place_m: Floats,
    started_at_ns: int,
    ended_at_ns: int,
    *,
    put: bool = False,
) -> Floats:
    """(k,) log likelihood ratio of each product, within ``OF_ALL`` of 0, which is not to know.

    All zeros where nothing was seen. Which packets come first does not matter.

    Args:
        products: SKU -> index, of all k products of the store.
        place_m: (3,) where the step's mass is, store frame.
        started_at_ns, ended_at_ns: of the step. put: something was set down, not taken.
    """
    seen = list(sightings)
    before = started_at_ns - REACH_NS, started_at_ns + (HANDLING_NS if put else -HANDLING_NS)
    after = ended_at_ns + (HANDLING_NS if put else -HANDLING_NS), ended_at_ns + REACH_NS
    told = _told(seen, products, place_m, before if put else after)
    against = _told(seen, products, place_m, after if put else before)
    return np.asarray(np.clip(told - np.maximum(against, 0.0), -OF_ALL, OF_ALL))


def with_looks(rows: Rows, looks: Floats | None) -> Rows:
    """Explanations of one kind, weighed by how the goods in them look; others stay as they are.

    Two things at once: a hand shows one of them, either as likely as the other.
    """
    named = rows.kind in (Kind.ITEM, Kind.NOT_HELD)
    if looks is None or not named or not len(rows.log_w) or not looks.any():
        return rows
    first, second = rows.product[:, 0], rows.product[:, 1]
    one = looks[first]
    both = np.logaddexp(one, looks[second]) - np.log(2.0)
    return replace(rows, log_w=rows.log_w + np.where(second >= 0, both, one))


def _told(
    sightings: Iterable[ItemSightings],
    products: Mapping[Sku, int],
    place_m: Floats,
    span_ns: tuple[int, int],
) -> Floats:
    """(k,) what the looks of a span say together."""
    by_camera: dict[str, list[tuple[Floats, float]]] = {}
    for seen in sightings:
        if span_ns[0] <= seen.captured_at_ns <= span_ns[1]:
            by_camera.setdefault(seen.camera, []).extend(_rows(seen, products, place_m))
    total = np.zeros(len(products))
    for camera in sorted(by_camera):
        if by_camera[camera]:
            total += _of_camera(by_camera[camera])
    return np.asarray(np.clip(total, -OF_ALL, OF_ALL))


def _rows(
    seen: ItemSightings, products: Mapping[Sku, int], place_m: Floats
) -> list[tuple[Floats, float]]:
    """Of each hand that may be the one: log ratios of all products, and how much it counts.

    An empty hand says nothing of what was in it before or after: a look counts as far as it shows
    that something is held, and then it is asked what.
    """
    away = np.linalg.norm(seen.positions_store_m - place_m, axis=1) / NEAR_M
    known = [(i, products[sku]) for i, sku in enumerate(seen.skus) if sku in products]
    if not known:
        return []
    column, product = (np.array(part) for part in zip(*known, strict=True))
    prior = np.maximum(_prior(seen), 1e-6)
    something = seen.probability.sum(axis=1)
    found = []
    for row in np.flatnonzero((away <= FAR) & (something > HELD_MIN)).tolist():
        weight = THE_HAND * float(np.exp(-0.5 * away[row] ** 2)) * float(something[row])
        ratio = seen.probability[row] / prior[row] * (prior[row].sum() / something[row])
        ratio = np.clip(ratio, 1.0 / LOOK_MAX, LOOK_MAX)
        logs = np.zeros(len(products))
        logs[product] = np.log(weight * ratio[column] + 1.0 - weight)
        found.append((logs, weight))
    return found


def _prior(seen: ItemSightings) -> Floats:
    """Where a sender tells none, all SKUs that it lists are taken to be alike."""
    if seen.prior is not None:
        return seen.prior
    k = len(seen.skus)
    return np.full((len(seen.positions_store_m), k), 1.0 / (k + 1))


def _of_camera(rows: list[tuple[Floats, float]]) -> Floats:
    """The looks of one camera: their weighted mean, times what so many are worth, bounded."""
    logs = np.stack([row for row, _ in rows])
    weight = np.array([w for _, w in rows])
    count = float(weight.sum() ** 2 / (weight**2).sum())
    worth = count / (1.0 + (count - 1.0) * CORRELATION)
    mean = (weight[:, None] * logs).sum(axis=0) / weight.sum()
    return np.asarray(np.clip(worth * mean, -OF_CAMERA, OF_CAMERA))
