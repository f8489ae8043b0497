"""Packets of person detections, sorted out and grouped into instants; what an instant shows.

Cameras are not synchronous: packets within ``INSTANT_NS`` make one instant, at the newest capture
among them; each detection keeps its age so that the filter compares it with where the track was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.vision.camera_model import CameraModel
from messages.arrays import Bools, Floats, Floats32, Ints
from messages.observations import PersonDetections

INSTANT_NS = 40_000_000  # less than a period at 15 Hz, more than the jitter of a triggered set
FUTURE_MAX_NS = 200_000_000  # a capture later than now by more than this is a broken clock
SCORE_MIN = 0.1  # detectors' own floor; below it boxes are noise
SCORE_START_MIN = 0.3  # a weak box may follow a person but not make one
DETECTIONS_MAX = 1024  # of one packet; more is a broken detector


@dataclass(frozen=True, slots=True, eq=False)
class FloorDetections:
    """Detections of one instant on the floor, m of them, camera after camera.

    ``camera`` (m,): which packet of the instant. ``position`` (2, m) metres; ``covariance``
    (3, m) xx, xy, yy; ``age_s`` (m,) seconds before the instant; ``may_start`` (m,) good enough
    to start a track. ``row`` (m,): where each stands among the r detections of ``wrist_rows``
    (10, 2, r), what is seen of wrists, see ``wrists``; ``looks`` (r, d) of length 1, zeros unknown;
    ``lens`` (r,), which of the store's cameras.
    """

    at_ns: int
    camera: Ints
    position: Floats
    covariance: Floats
    age_s: Floats
    may_start: Bools
    wrist_rows: Floats | None = None
    looks: Floats32 | None = None
    lens: Ints | None = None
    row: Ints | None = None


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
    return flaw(packet, cameras)


def flaw(packet: PersonDetections, cameras: Mapping[str, CameraModel]) -> str:
    """What is wrong with a packet whenever it comes, as the name of its counter; empty: nothing."""
    if packet.image_state != "ok":
        return "unusable_image"
    if packet.positions_store_m is None and packet.camera not in cameras:
        return "unknown_camera"
    return "" if _well_formed(packet) else "malformed"


def _well_formed(packet: PersonDetections) -> bool:
    n = len(packet.scores)
    if n > DETECTIONS_MAX or packet.scores.shape != (n,):
        return False
    looks = packet.embeddings
    if looks is not None and (looks.ndim != 2 or len(looks) != n):
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
