"""Packets of person detections to one batch of floor points per instant.

Cameras are not synchronous: packets within ``INSTANT_NS`` make one instant, at the newest capture
among them; each detection keeps its age so that the filter compares it with where the track was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.vision import body_fit
from edge.vision.camera_model import CameraModel, rays, undistorted
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
    to start a track. ``wrist_rays``: (m, 2, 3) directions, NaN unseen, with ``origin`` (m, 3).
    """

    at_ns: int
    camera: Ints
    position: Floats
    covariance: Floats
    age_s: Floats
    may_start: Bools
    wrist_rays: Floats | None = None
    origin: Floats | None = None

    def inside(self, low: Floats, high: Floats) -> FloorDetections:
        """Those in the rectangle from ``low`` to ``high`` (2,)."""
        inner = (self.position >= low[:, None]) & (self.position <= high[:, None])
        return self if inner.all() else self._only(np.flatnonzero(inner.all(axis=0)))

    def _only(self, k: Ints) -> FloorDetections:
        return FloorDetections(
            self.at_ns,
            self.camera[k],
            self.position[:, k],
            self.covariance[:, k],
            self.age_s[k],
            self.may_start[k],
            None if self.wrist_rays is None else self.wrist_rays[k],
            None if self.origin is None else self.origin[k],
        )


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


def _same_instant(group: list[PersonDetections], packet: PersonDetections) -> bool:
    near = packet.captured_at_ns - group[0].captured_at_ns <= INSTANT_NS
    return near and all(other.camera != packet.camera for other in group)


def on_floor(
    group: Sequence[PersonDetections],
    cameras: Mapping[str, CameraModel],
    at_ns: int,
    people: Floats,
) -> FloorDetections:
    """One instant's packets as floor points, with their age at ``at_ns``.

    Boxes with NaN or off the floor are left out. ``people`` (n, 2): where people are known to be;
    they help to tell a short person from one whose feet are hidden.
    """
    pixel = [k for k, packet in enumerate(group) if packet.positions_store_m is None]
    floor = [k for k, packet in enumerate(group) if packet.positions_store_m is not None]
    order = pixel + floor
    count = [len(group[k].scores) for k in order]
    scores = np.concatenate([group[k].scores for k in order])
    camera = np.repeat(np.array(order, dtype=np.int64), count)
    age_s = np.repeat([(at_ns - group[k].captured_at_ns) * 1e-9 for k in order], count)
    fit = _fitted([group[k] for k in pixel], cameras)
    if fit.doubtful.any():
        _stand_short_people(fit, camera[: len(fit.ok)], people)
    position, R, ok, cut = _with_positions([group[k] for k in floor], fit)
    R[[0, 2]] += (AGE_SPEED_SD_M_S * age_s) ** 2
    may_start = (scores >= SCORE_START_MIN) & ~cut & (R[0] + R[2] < 2 * START_SD_MAX_M**2)
    rays_, origin = _wrists([group[k] for k in pixel], len(scores), cameras)
    everything = FloorDetections(
        at_ns, camera, np.ascontiguousarray(position.T), R, age_s, may_start, rays_, origin
    )
    ok &= scores >= SCORE_MIN
    return everything if ok.all() else everything._only(np.flatnonzero(ok))


def _fitted(
    packets: Sequence[PersonDetections], cameras: Mapping[str, CameraModel]
) -> body_fit.FloorFit:
    boxes: list[Floats | Floats32] = [np.zeros((0, 4)), *(p.boxes_px for p in packets)]
    feet: list[Floats | Floats32] = [np.zeros((0, 2)), *(p.feet_px for p in packets)]
    return body_fit.fit(
        np.concatenate(boxes),
        np.concatenate(feet),
        [cameras[packet.camera] for packet in packets],
        [len(packet.scores) for packet in packets],
    )


def _stand_short_people(fit: body_fit.FloorFit, camera: Ints, people: Floats) -> None:
    """Move the doubtful fits to their feet where other cameras or people known agree."""
    k = np.flatnonzero(fit.doubtful)
    rest = np.flatnonzero(~fit.doubtful & fit.ok)
    others = np.concatenate((fit.position[rest], people))
    by = np.concatenate((camera[rest], np.full(len(people), -1)))
    short = k[body_fit.short_people(fit.foot[k], fit.position[k], camera[k], others, by)]
    fit.position[short] = fit.foot[short]
    fit.covariance[:, short] = fit.foot_covariance[:, short]


def _with_positions(
    packets: Sequence[PersonDetections], fit: body_fit.FloorFit
) -> tuple[Floats, Floats, Bools, Bools]:
    """Append the floor points of senders that work in the store frame."""
    given = [p.positions_store_m for p in packets if p.positions_store_m is not None]
    if not given:
        return fit.position, fit.covariance, fit.ok, fit.cut
    points = np.concatenate(given).astype(np.float64)
    R = np.zeros((3, len(points)))
    R[[0, 2]] = POSITION_SD_M**2
    return (
        np.concatenate((fit.position, points)),
        np.concatenate((fit.covariance, R), axis=1),
        np.concatenate((fit.ok, np.isfinite(points).all(axis=1))),
        np.concatenate((fit.cut, np.zeros(len(points), np.bool_))),
    )


def _wrists(
    packets: Sequence[PersonDetections], m: int, cameras: Mapping[str, CameraModel]
) -> tuple[Floats | None, Floats | None]:
    """Rays through seen wrists, (m, 2, 3), with their origins (m, 3); None where nobody's are."""
    if all(packet.wrists_px is None for packet in packets):
        return None, None
    directions, origin = np.full((m, 2, 3), np.nan), np.zeros((m, 3))
    at = 0
    for packet in packets:
        n, model = len(packet.scores), cameras[packet.camera]
        origin[at : at + n] = model.store_from_camera[:3, 3]
        if packet.wrists_px is not None:
            points = packet.wrists_px.reshape(-1, 2).astype(np.float64)
            bundle = rays(undistorted(points, model), model)
            bundle /= np.sqrt((bundle * bundle).sum(axis=0))
            directions[at : at + n] = bundle.T.reshape(n, 2, 3)
        at += n
    return directions, origin
