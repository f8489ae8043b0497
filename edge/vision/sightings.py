"""What packets of person detections show of the floor, instant by instant.

Where a detected person may stand hangs on the packet and its camera alone, so packets are fitted to
the floor many at a time, in one pass; a caller that knows packets ahead (a replay does) hands them
over before (``foresee``). What hangs on the instant - how old each packet is at it, where other
people are - comes on top. Nothing here is state: the answers are the same, bit for bit, whatever
was foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.vision import body_fit, wrists
from edge.vision.camera_model import CameraModel
from edge.vision.detections import SCORE_MIN, SCORE_START_MIN, FloorDetections, flaw
from edge.vision.floor_mask import FloorMasks
from edge.vision.looks import reduced
from messages.arrays import Bools, Floats, Floats32, Ints
from messages.observations import PersonDetections

POSITION_SD_M = 0.15  # floor points of a sender that works on the floor already (imports)
START_SD_MAX_M = 0.8  # a foot point vaguer than this says that somebody is there, not where
AGE_SPEED_SD_M_S = 0.6  # how wrong a track's own velocity is, for detections older than the instant
AHEAD_MAX = 4096  # packets foreseen at once: a minute of 4 cameras; more are left to their instant


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The m detections of several packets on the floor, in the packets' order.

    ``number``: of each packet, by its ``id``; ``first``: first row of each packet, and m.
    ``packet`` (m,): number of each row's packet. ``place`` (10, m): position and covariance of
    ``fit``, then those at the foot. ``usable``, ``may_start`` (m,): by score, border and walkable
    area; ``usable_at_foot``: likewise at the foot; ``steady``: there, and not doubtful.
    ``wrist_rows`` (10, 2, m): see ``wrists``; None where nobody's are. ``looks``, ``lens``: as in
    ``FloorDetections``.
    """

    packets: list[PersonDetections]
    number: dict[int, int]
    first: list[int]
    packet: Ints
    fit: body_fit.FloorFit
    place: Floats
    steady: Bools
    usable: Bools
    usable_at_foot: Bools
    may_start: Bools
    wrist_rows: Floats | None
    looks: Floats32 | None
    lens: Ints | None

    def find(self, group: list[PersonDetections]) -> int | None:
        """Number of the group's first packet, if the others follow it there."""
        at = self.number.get(id(group[0]))
        return at if at is None or self.packets[at : at + len(group)] == group else None


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """What the packets of one instant show: rows ``part`` of ``fitted``, none dropped yet.

    ``camera``, ``age_s`` (m,): as in ``FloorDetections``. ``late2`` (m,): m2, for the ages.
    ``doubtful`` (k,): rows for which it matters where other people are.
    """

    at_ns: int
    fitted: Fitted
    part: slice
    camera: Ints
    age_s: Floats
    late2: Floats
    doubtful: Ints

    def among(self, people: Floats) -> FloorDetections:
        """Its detections; ``people`` (n, 2), where people are known to be, help to tell a short
        person from one whose feet are hidden."""
        fitted, part = self.fitted, self.part
        place, usable = fitted.place[:, part], fitted.usable[part]
        short = self._short_people(people) if len(self.doubtful) else _NOBODY
        if len(short):
            place, usable = place.copy(), usable.copy()
            place[:5, short] = place[5:, short]
            usable[short] = fitted.usable_at_foot[part][short]
        kept = usable.nonzero()[0]
        place = place[:5].take(kept, axis=1)
        R = place[2:]
        R[::2] += self.late2.take(kept)
        return FloorDetections(
            at_ns=self.at_ns,
            camera=self.camera.take(kept),
            position=place[:2],
            covariance=R,
            age_s=self.age_s.take(kept),
            may_start=fitted.may_start[part].take(kept) & (R[0] + R[2] < 2 * START_SD_MAX_M**2),
            wrist_rows=fitted.wrist_rows,
            looks=fitted.looks,
            lens=fitted.lens,
            row=kept + part.start,
        )

    def _short_people(self, people: Floats) -> Ints:
        """The doubtful ones whose feet other cameras or people known agree on."""
        fitted, part, camera, k = self.fitted, self.part, self.camera, self.doubtful
        position, rest = fitted.fit.position[part], fitted.steady[part].nonzero()[0]
        others = np.concatenate((position.take(rest, axis=0), people))
        by = np.empty(len(others), np.int64)
        by[: len(rest)], by[len(rest) :] = camera.take(rest), -1
        foot, head = fitted.fit.foot[part].take(k, axis=0), position.take(k, axis=0)
        return k[body_fit.short_people(foot, head, camera.take(k), others, by)]


_NOBODY = np.zeros(0, np.int64)


class Sightings:
    """Fits packets to the floor of a store with these ``cameras``; see the module.

    ``low``, ``high`` (2, 1): the rectangle outside of which nobody is. ``masks``: floor where
    some cameras' people do not count.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraModel],
        low: Floats,
        high: Floats,
        masks: FloorMasks | None = None,
    ) -> None:
        self._cameras, self._low, self._high = cameras, low, high
        self._masks = masks or FloorMasks({})
        self._ahead: tuple[Fitted, ...] = ()

    def foresee(self, packets: Iterable[PersonDetections]) -> None:
        """Packets that will come soon, or not; those foreseen two calls ago are forgotten."""
        good = [packet for packet in packets if not flaw(packet, self._cameras)]
        good.sort(key=lambda packet: (packet.captured_at_ns, packet.camera, packet.sequence))
        self._ahead = (*self._ahead[-1:], self._fitted(good[:AHEAD_MAX]))

    def of(self, groups: Sequence[list[PersonDetections]], since_ns: int) -> list[Sighting]:
        """The packets of each instant on the floor.

        An instant is at its newest packet, and not before ``since_ns`` or the one before it.
        """
        found = []
        for (fitted, at), group in zip(self._places(groups), groups, strict=True):
            since_ns = max(group[-1].captured_at_ns, since_ns)
            part = slice(fitted.first[at], fitted.first[at + len(group)])
            camera = fitted.packet[part] - at
            age_s: Floats = np.array([since_ns - p.captured_at_ns for p in group]) * 1e-9
            age_s = age_s.take(camera)
            late2 = (AGE_SPEED_SD_M_S * age_s) ** 2
            doubtful = fitted.fit.doubtful[part].nonzero()[0]
            found.append(Sighting(since_ns, fitted, part, camera, age_s, late2, doubtful))
        return found

    def _places(self, groups: Sequence[list[PersonDetections]]) -> list[tuple[Fitted, int]]:
        """Where the packets of each instant were fitted; now, in one pass, if not before."""
        places = [
            (fitted, at)
            for group in groups
            for fitted in self._ahead
            if (at := fitted.find(group)) is not None
        ]
        if len(places) == len(groups):
            return places
        now = self._fitted([packet for group in groups for packet in group])
        return [(now, now.number[id(group[0])]) for group in groups]

    def _fitted(self, packets: list[PersonDetections]) -> Fitted:
        count = [len(packet.scores) for packet in packets]
        scores = np.concatenate([_NO_SCORE, *(packet.scores for packet in packets)])
        fit = _fit(packets, count, self._cameras)
        strong = fit.ok & (scores >= SCORE_MIN)
        rays, eye = fit.wrist_rays, fit.eye
        looks = _looks(packets, count)
        usable, at_foot = (strong & self._inside(p) for p in (fit.position, fit.foot))
        names = [packet.camera for packet in packets]
        for usable_there, where in ((usable, fit.position), (at_foot, fit.foot)):
            unmasked = self._masks.open(where, names, count)
            if unmasked is not None:
                usable_there &= unmasked
        return Fitted(
            packets=packets,
            number={id(packet): k for k, packet in enumerate(packets)},
            first=[0, *np.cumsum(count).tolist()],
            packet=np.arange(len(packets)).repeat(count),
            fit=fit,
            place=np.concatenate((fit.position.T, fit.covariance, fit.foot.T, fit.foot_covariance)),
            steady=fit.ok & ~fit.doubtful,
            usable=usable,
            usable_at_foot=at_foot,
            may_start=(scores >= SCORE_START_MIN) & ~fit.cut,
            wrist_rows=None if rays is None or eye is None else wrists.normal_equations(rays, eye),
            looks=looks,
            lens=None if looks is None else _lenses(packets, self._cameras).repeat(count),
        )

    def _inside(self, position: Floats) -> Bools:
        """(n,) which of the positions (n, 2) are in the rectangle."""
        xy = position.T
        inside = (xy >= self._low) & (xy <= self._high)
        return np.asarray(inside[0] & inside[1])


def _fit(
    packets: Sequence[PersonDetections], count: Sequence[int], cameras: Mapping[str, CameraModel]
) -> body_fit.FloorFit:
    """All packets on the floor: boxes by ``body_fit``, points of senders that work there as
    they come."""
    pixel = [packet for packet in packets if packet.positions_store_m is None]
    if not pixel and packets:
        return _with_positions(packets, count, _NOBODY_FITTED)
    boxes: list[Floats | Floats32] = [_NO_BOX, *(p.boxes_px for p in pixel)]
    feet: list[Floats | Floats32] = [_NO_FOOT, *(p.feet_px for p in pixel)]
    fit = body_fit.fit(
        np.concatenate(boxes),
        np.concatenate(feet),
        [cameras[packet.camera] for packet in pixel],
        [len(packet.scores) for packet in pixel],
        _wrists(pixel),
    )
    return fit if len(pixel) == len(packets) else _with_positions(packets, count, fit)


_NOBODY_FITTED = body_fit.fit(np.zeros((0, 4)), np.zeros((0, 2)), [], [])
_NO_BOX, _NO_FOOT, _NO_SCORE = np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0, np.float32)


def _wrists(packets: Sequence[PersonDetections]) -> Floats | None:
    """(n, 2, 2) pixels, NaN unseen; None where no packet shows any."""
    if all(packet.wrists_px is None for packet in packets):
        return None
    nobodys = [np.full((len(p.scores), 2, 2), np.nan) for p in packets if p.wrists_px is None]
    rest = iter(nobodys)
    shown = [next(rest) if p.wrists_px is None else p.wrists_px for p in packets]
    return np.asarray(np.concatenate(shown), dtype=np.float64)


def _looks(packets: Sequence[PersonDetections], count: Sequence[int]) -> Floats32 | None:
    """(m, d) of length 1, None where no packet has any; zeros of another kind than the first."""
    given = [p.embeddings for p in packets if p.embeddings is not None]
    if not given:
        return None
    d = given[0].shape[1]
    parts = [
        np.zeros((n, d), np.float32)
        if p.embeddings is None or p.embeddings.shape[1] != d
        else p.embeddings
        for p, n in zip(packets, count, strict=True)
    ]
    return reduced(np.concatenate(parts))


def _lenses(packets: Sequence[PersonDetections], cameras: Mapping[str, CameraModel]) -> Ints:
    """Which of the store's cameras took each packet; -1: another sender."""
    number = {camera: k for k, camera in enumerate(cameras)}
    return np.array([number.get(p.camera, -1) for p in packets], dtype=np.int64)


def _with_positions(
    packets: Sequence[PersonDetections], count: Sequence[int], fit: body_fit.FloorFit
) -> body_fit.FloorFit:
    """Put the floor points of senders that work in the store frame in their places."""
    n = sum(count)
    given = np.array([packet.positions_store_m is not None for packet in packets]).repeat(count)
    whole = body_fit.FloorFit(
        position=np.zeros((n, 2)),
        covariance=np.zeros((3, n)),
        ok=np.ones(n, np.bool_),
        cut=np.zeros(n, np.bool_),
        doubtful=np.zeros(n, np.bool_),
        foot=np.zeros((n, 2)),
        foot_covariance=np.zeros((3, n)),
        wrist_rays=None if fit.wrist_rays is None else np.full((3, 2, n), np.nan),
        eye=None if fit.eye is None else np.zeros((3, n)),
    )
    whole.fill(~given, fit)
    points = [p.positions_store_m for p in packets if p.positions_store_m is not None]
    whole.position[given] = np.concatenate(points)
    whole.covariance[::2, given] = POSITION_SD_M**2
    whole.ok[given] = np.isfinite(whole.position[given]).all(axis=1)
    return whole
