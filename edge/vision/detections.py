"""Packets of person detections to one batch of floor points per instant.

Cameras are not synchronous: packets within ``INSTANT_NS`` make one instant, at the newest capture
among them; each detection keeps its age so that the filter compares it with where the track was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.vision import body_fit
from edge.vision.camera_model import CameraModel
from messages.arrays import Bools, Floats, Floats32, Ints
from messages.observations import PersonDetections

INSTANT_NS = 40_000_000  # less than a period at 15 Hz, more than the jitter of a triggered set
FUTURE_MAX_NS = 200_000_000  # a capture later than now by more than this is a broken clock
SCORE_MIN = 0.1  # detectors' own floor; below it boxes are noise
SCORE_START_MIN = 0.3  # a weak box may follow a person but not make one
POSITION_SD_M = 0.15  # floor points of a sender that works on the floor already (imports)
START_SD_MAX_M = 0.8  # a foot point vaguer than this says that somebody is there, not where
AGE_SPEED_SD_M_S = 0.6  # how wrong a track's own velocity is, for detections older than the instant
DETECTIONS_MAX = 1024  # of one packet; more is a broken detector


@dataclass(frozen=True, slots=True, eq=False)
class FloorDetections:
    """Detections of one instant on the floor, m of them, camera after camera.

    ``camera`` (m,): which packet of the instant. ``position`` (2, m) metres; ``covariance``
    (3, m) xx, xy, yy; ``age_s`` (m,) seconds before the instant; ``may_start`` (m,) good enough
    to start a track. ``wrist_rays``: (3, 2, m) directions, NaN unseen, with ``origin`` (3, m).
    """

    at_ns: int
    camera: Ints
    position: Floats
    covariance: Floats
    age_s: Floats
    may_start: Bools
    wrist_rays: Floats | None = None
    origin: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """What the packets of one instant show, before anything is known of people.

    The arrays are those of ``FloorDetections``, with rows that may yet be dropped. ``usable``,
    ``may_start`` (m,): by score and border alone. ``fit``: as ``body_fit`` found them, ages in
    the covariances.
    """

    at_ns: int
    camera: Ints
    age_s: Floats
    usable: Bools
    may_start: Bools
    fit: body_fit.FloorFit

    def among(self, people: Floats, low: Floats, high: Floats) -> FloorDetections:
        """Its detections in the rectangle from ``low`` to ``high`` (2, 1).

        ``people`` (n, 2): where people are known to be; they help to tell a short person from one
        whose feet are hidden.
        """
        if self.doubtful:
            _stand_short_people(self.fit, self.camera, people)
        position, R = self.fit.position.T, self.fit.covariance
        inside = (position >= low) & (position <= high)
        found = FloorDetections(
            self.at_ns,
            self.camera,
            position,
            R,
            self.age_s,
            self.may_start & (R[0] + R[2] < 2 * START_SD_MAX_M**2),
            self.fit.wrist_rays,
            self.fit.eye,
        )
        kept = (self.usable & inside[0] & inside[1]).nonzero()[0]
        return found if len(kept) == len(self.usable) else _only(found, kept)

    @property
    def doubtful(self) -> bool:
        """True when it matters where other people are."""
        return bool(np.count_nonzero(self.fit.doubtful))


def instants(
    packets: Sequence[PersonDetections],
    cameras: Mapping[str, CameraModel],
    oldest_ns: int,
    newest_ns: int,
    camera_last_ns: dict[str, int],
    counters: dict[str, int],
) -> list[list[PersonDetections]]:
    """Usable packets, in capture order, grouped into instants.

    Packets captured before ``oldest_ns`` or after ``newest_ns``, repeated or overtaken ones of a
    camera, malformed ones and those of dark or frozen images are left out and counted.
    """
    groups: list[list[PersonDetections]] = []
    for packet in sorted(packets, key=lambda p: (p.captured_at_ns, p.camera, p.sequence)):
        fault = _fault(packet, cameras, oldest_ns, newest_ns, camera_last_ns)
        if fault:
            counters[fault] = counters.get(fault, 0) + 1
            continue
        camera_last_ns[packet.camera] = packet.captured_at_ns
        if groups and _same_instant(groups[-1], packet):
            groups[-1].append(packet)
        else:
            groups.append([packet])
    return groups


def _fault(
    packet: PersonDetections,
    cameras: Mapping[str, CameraModel],
    oldest_ns: int,
    newest_ns: int,
    camera_last_ns: Mapping[str, int],
) -> str:
    """Why a packet is of no use, as the name of its counter; empty when it is."""
    if packet.captured_at_ns > newest_ns:
        return "future"
    if packet.captured_at_ns <= camera_last_ns.get(packet.camera, -1):
        return "repeated"
    if packet.captured_at_ns < oldest_ns:
        return "late"
    if packet.image_state != "ok":
        return "unusable_image"
    if packet.positions_store_m is None and packet.camera not in cameras:
        return "unknown_camera"
    return "" if _well_formed(packet) else "malformed"


def _well_formed(packet: PersonDetections) -> bool:
    n = len(packet.scores)
    if n > DETECTIONS_MAX or packet.scores.shape != (n,):
        return False
    if packet.positions_store_m is not None:
        return packet.positions_store_m.shape == (n, 2)
    if packet.wrists_px is not None and packet.wrists_px.shape != (n, 2, 2):
        return False
    return packet.boxes_px.shape == (n, 4) and packet.feet_px.shape == (n, 2)


def instant_starts(packets: Sequence[PersonDetections]) -> list[int]:
    """Where each instant begins in packets that are in order of capture; ``instants`` cuts so."""
    starts: list[int] = []
    for k, packet in enumerate(packets):
        if not starts or not _same_instant(packets[starts[-1] : k], packet):
            starts.append(k)
    return starts


def _same_instant(group: Sequence[PersonDetections], packet: PersonDetections) -> bool:
    near = packet.captured_at_ns - group[0].captured_at_ns <= INSTANT_NS
    return near and all(other.camera != packet.camera for other in group)


def on_floor(
    groups: Sequence[Sequence[PersonDetections]],
    cameras: Mapping[str, CameraModel],
    since_ns: int,
) -> list[Sighting]:
    """The packets of several instants as floor points, in one pass.

    An instant is at its newest packet, and not before ``since_ns`` or the one before it.
    """
    packets = [packet for group in groups for packet in group]
    count = [len(packet.scores) for packet in packets]
    instants_ns, ages_ns = _instants_ns(groups, since_ns)
    age_s: Floats = (np.array(ages_ns, dtype=np.int64) * np.float64(1e-9)).repeat(count)
    camera = np.array([k for group in groups for k in range(len(group))]).repeat(count)
    scores = np.concatenate([packet.scores for packet in packets])
    fit = _fitted(packets, count, cameras)
    late2 = (AGE_SPEED_SD_M_S * age_s) ** 2
    fit.covariance[::2] += late2
    fit.foot_covariance[::2] += late2
    usable = fit.ok & (scores >= SCORE_MIN)
    may_start = (scores >= SCORE_START_MIN) & ~fit.cut
    found, first, packet = [], 0, 0
    for group, at_ns in zip(groups, instants_ns, strict=True):
        m = sum(count[packet : packet + len(group)])
        part = slice(first, first + m)
        first, packet = first + m, packet + len(group)
        found.append(
            Sighting(
                at_ns, camera[part], age_s[part], usable[part], may_start[part], fit.only(part)
            )
        )
    return found


def _instants_ns(
    groups: Sequence[Sequence[PersonDetections]], since_ns: int
) -> tuple[list[int], list[int]]:
    """The instant of each group, and the age of each packet at it."""
    instants_ns, ages_ns = [], []
    for group in groups:
        since_ns = max(group[-1].captured_at_ns, since_ns)
        instants_ns.append(since_ns)
        ages_ns += [since_ns - packet.captured_at_ns for packet in group]
    return instants_ns, ages_ns


def _fitted(
    packets: Sequence[PersonDetections], count: Sequence[int], cameras: Mapping[str, CameraModel]
) -> body_fit.FloorFit:
    """All packets on the floor: boxes by ``body_fit``, points of senders that work there as
    they come."""
    pixel = [packet for packet in packets if packet.positions_store_m is None]
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


_NO_BOX, _NO_FOOT = np.zeros((0, 4)), np.zeros((0, 2))


def _wrists(packets: Sequence[PersonDetections]) -> Floats | None:
    """(n, 2, 2) pixels, NaN unseen; None where no packet shows any."""
    if all(packet.wrists_px is None for packet in packets):
        return None
    nobodys = [np.full((len(p.scores), 2, 2), np.nan) for p in packets if p.wrists_px is None]
    rest = iter(nobodys)
    shown = [next(rest) if p.wrists_px is None else p.wrists_px for p in packets]
    return np.asarray(np.concatenate(shown), dtype=np.float64)


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


def _stand_short_people(fit: body_fit.FloorFit, camera: Ints, people: Floats) -> None:
    """Move the doubtful fits to their feet where other cameras or people known agree."""
    k = fit.doubtful.nonzero()[0]
    rest = (~fit.doubtful & fit.ok).nonzero()[0]
    others = np.concatenate((fit.position[rest], people))
    by = np.concatenate((camera[rest], np.full(len(people), -1)))
    short = k[body_fit.short_people(fit.foot[k], fit.position[k], camera[k], others, by)]
    if len(short):
        fit.position[short] = fit.foot[short]
        fit.covariance[:, short] = fit.foot_covariance[:, short]


def _only(seen: FloorDetections, k: Ints) -> FloorDetections:
    return FloorDetections(
        seen.at_ns,
        seen.camera[k],
        seen.position.take(k, axis=1),
        seen.covariance.take(k, axis=1),
        seen.age_s[k],
        seen.may_start[k],
        None if seen.wrist_rays is None else seen.wrist_rays.take(k, axis=2),
        None if seen.origin is None else seen.origin.take(k, axis=1),
    )
