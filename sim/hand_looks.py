"""Looks into hands: what a product recognizer would tell, with the errors that one makes.

Each product has a place in a space of looks: its brand's (the SKU up to its first "-") and its own
about it; an empty hand has one too. A look is that place plus noise: of the hold, which all cameras
share; of the hold in one camera; and of the image. Now and then it is that of other goods, behind
the hand. The sizes give what `walkout bench products` measured on drawn goods: among 24 products
of 8 brands 62 % right, 91 % of the brand, 2 % of empty hands said to hold something.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.vision.hand_looks import NEAR_SHELF_M, Goods, goods_of, told
from edge.vision.product_recognition import EMPTY_HAND, ProductModel, planogram_prior
from messages.arrays import Floats, Ints
from messages.ids import CameraId, Sku
from messages.observations import ItemSightings
from messages.store_config import StoreConfig
from sim.bodies import bodies_at
from sim.gestures import Gesture
from sim.outputs import HandPacket
from sim.projection import Lens, in_image, project
from sim.shoppers import INDOORS, Person
from sim.truth import TrueAction, Truth

NS = 1_000_000_000
EVERY_NS = 200_000_000  # images a second that a detector looks at
DIMENSIONS = 8
BRAND, OWN, EMPTY = 1.35, 0.45, 1.6  # one sigma of each place; the noise's is 1 in each dimension
OF_HOLD, OF_CAMERA, OF_IMAGE = 0.3, 0.3, 0.4  # shares of the noise's variance; our judgement
OTHER_GOODS = 0.04
SEEN = 0.7  # of hands that nothing hides
RANGE_M = 7.0
CARRIED_NS = 1 * NS  # after the hand is back
DEPTH_SD_M, ASIDE_SD_M = 0.12, 0.03
LATE_NS = 90_000_000  # pose net, then 12 ms a hand
NOTHING = -1


@dataclass(slots=True, eq=False)
class _Hold:
    """A gesture and the noise that its looks share. ``action``: what it really does."""

    gesture: Gesture
    action: TrueAction | None
    shared: Floats
    of_camera: Floats  # (cameras, d)


@dataclass(slots=True, eq=False)
class HandLooks:
    """All cameras of a store, and the holds that last."""

    skus: tuple[Sku, ...]
    goods: Goods
    cameras: tuple[CameraId, ...]
    lenses: list[Lens]
    eyes: Floats  # (c, 3)
    places: Floats  # (k + 1, d), the last one of an empty hand
    rng: np.random.Generator
    next_ns: Ints
    holds: dict[str, _Hold] = field(default_factory=dict)

    @staticmethod
    def of(config: StoreConfig, rng: np.random.Generator) -> HandLooks:
        skus = tuple(product.id for product in config.products)
        n = len(config.cameras)
        return HandLooks(
            skus=skus,
            goods=goods_of(config, skus),
            cameras=tuple(camera.id for camera in config.cameras),
            lenses=[Lens.of(camera) for camera in config.cameras],
            eyes=np.array([np.array(c.store_from_camera)[:3, 3] for c in config.cameras]),
            places=np.stack([*(_place(sku) for sku in skus), _drawn("", EMPTY)]),
            rng=rng,
            next_ns=rng.integers(0, EVERY_NS, n),
        )

    def packets(self, now_ns: int, people: Sequence[Person], truth: Truth) -> list[HandPacket]:
        """What the cameras whose turn it is tell of the hands near goods."""
        due = np.flatnonzero(self.next_ns <= now_ns)
        if not len(due):
            return []
        self.next_ns[due] += EVERY_NS
        own = [p for p in people if p.carrier is None and p.phase in INDOORS and not p.child]
        holds = [self._hold(person, truth) for person in own]
        if not own:
            return []
        bodies = bodies_at(own, np.array([now_ns]), now_ns, 1)
        hands = bodies.wrists_store_m[0, :, 1]
        shown = [(i, h) for i, h in enumerate(holds) if h is not None and self._lasts(h, now_ns)]
        shown = [(i, h) for i, h in shown if self._near(hands[i])]
        found = [self._of_camera(c, now_ns, own, hands, shown) for c in due.tolist()]
        return [packet for packet in found if packet is not None]

    def _hold(self, person: Person, truth: Truth) -> _Hold | None:
        key = f"{person.shopper}/{person.index}"
        hold, gesture = self.holds.get(key), person.gesture
        if gesture is None or (hold is not None and hold.gesture is gesture):
            return hold
        noise = self.rng.standard_normal((1 + len(self.cameras), DIMENSIONS))
        action = next(
            (
                a
                for a in reversed(truth.actions)
                if a.visit == person.shopper and a.at_ns == gesture.moved_at_ns
            ),
            None,
        )
        self.holds[key] = _Hold(gesture, action, noise[0], noise[1:])
        return self.holds[key]

    def _lasts(self, hold: _Hold, now_ns: int) -> bool:
        passed_on = hold.action is not None and hold.action.kind == "hand_over"
        begun = hold.gesture.started_at_ns <= now_ns <= hold.gesture.ended_at_ns + CARRIED_NS
        return begun and not passed_on

    def _near(self, hand: Floats) -> bool:
        return bool(np.linalg.norm(self.goods.facing_m - hand, axis=1).min() <= NEAR_SHELF_M)

    def _of_camera(
        self,
        c: int,
        now_ns: int,
        own: Sequence[Person],
        hands: Floats,
        shown: Sequence[tuple[int, _Hold]],
    ) -> HandPacket | None:
        rows = [(i, hold) for i, hold in shown if self._sees(c, own[i], hands[i])]
        if not rows:
            return None
        looks = np.stack([self._look(c, hold, now_ns) for _, hold in rows])
        at = np.stack([self._put(c, hands[i]) for i, _ in rows])
        k = len(self.skus)
        prior = planogram_prior(at, self.goods.facing_m, self.goods.product, k)
        model = ProductModel(skus=self.skus, weight=np.zeros((0, k + 1)), offset=np.zeros(k + 1))
        found = at, _posterior(looks, self.places, prior), prior
        sightings: ItemSightings = told(self.cameras[c], now_ns, model, found)
        return HandPacket(camera=self.cameras[c], sent_at_ns=now_ns + LATE_NS, seen=sightings)

    def _sees(self, c: int, person: Person, hand: Floats) -> bool:
        """Neither out of the image nor behind the body it belongs to."""
        pixel, ahead = project(hand[None], self.lenses[c])
        to_camera = self.eyes[c, :2] - person.position
        behind = float(to_camera @ person.heading) < -0.3 * float(np.linalg.norm(to_camera))
        near = float(np.linalg.norm(self.eyes[c] - hand)) <= RANGE_M
        even = self.rng.random()
        return bool(ahead[0] and in_image(pixel, self.lenses[c])[0]) and (
            near and not behind and even < SEEN
        )

    def _look(self, c: int, hold: _Hold, now_ns: int) -> Floats:
        which = _held(hold, now_ns, self.skus)
        if self.rng.random() < OTHER_GOODS:
            which = int(self.rng.integers(len(self.skus)))
        fresh = self.rng.standard_normal(DIMENSIONS)
        noise = np.sqrt(OF_HOLD) * hold.shared + np.sqrt(OF_CAMERA) * hold.of_camera[c]
        return np.asarray(self.places[which] + noise + np.sqrt(OF_IMAGE) * fresh)

    def _put(self, c: int, hand: Floats) -> Floats:
        """Where one camera puts the hand: mostly wrong along its ray."""
        ray = (hand - self.eyes[c]) / np.linalg.norm(hand - self.eyes[c])
        depth, aside = self.rng.normal(0.0, DEPTH_SD_M), self.rng.normal(0.0, ASIDE_SD_M, 3)
        return np.asarray(hand + depth * ray + aside)


def _held(hold: _Hold, now_ns: int, skus: tuple[Sku, ...]) -> int:
    """Index of what is in the hand, ``NOTHING`` where it is empty."""
    action = hold.action
    if action is None:
        return NOTHING
    in_hand = now_ns >= action.at_ns if action.kind == "take" else now_ns < action.at_ns
    return skus.index(Sku(action.sku)) if in_hand else NOTHING


def _posterior(looks: Floats, places: Floats, prior: Floats) -> Floats:
    """(n, k): normal noise of one sigma about each place."""
    apart = ((looks[:, None] - places[None]) ** 2).sum(axis=2)
    rest = np.full((len(looks), 1), EMPTY_HAND)
    log_p = -0.5 * apart + np.log(np.hstack([prior, rest]))
    weight = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return np.asarray((weight / weight.sum(axis=1, keepdims=True))[:, :-1])


def _place(sku: Sku) -> Floats:
    return _drawn(str(sku).partition("-")[0], BRAND) + _drawn(f"own {sku}", OWN)


def _drawn(name: str, sigma: float) -> Floats:
    """The same for the same name, in every store and run."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return np.asarray(sigma * rng.standard_normal(DIMENSIONS))
