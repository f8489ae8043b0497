"""What the person tracker knows: its answers (``Tracks``, ``TrackWindow``) and its state.

A track is one body. Who that body is, is a probability over the visits inside plus "nobody known".
Phases of a track:

    TENTATIVE --hits over time--> PENDING --identity settled, or bound at a gate--> KNOWN
    KNOWN --passed outwards--> LEAVING --unseen--> (dropped)

A KNOWN track that nobody sees is *hidden*: it keeps its identity and spreads over the floor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from edge.vision.looks import Looks
from edge.vision.track_history import TrackHistory
from edge.vision.wrists import Seen
from messages.arrays import Bools, Floats, Ints, read_only
from messages.ids import VisitId

TRACKS_MAX = 1024  # bodies and false boxes at once; births beyond it are shed, counted


class Phase(IntEnum):
    TENTATIVE = 0
    PENDING = 1
    KNOWN = 2
    LEAVING = 3


# The same as plain numbers: they are compared with arrays at every instant.
TENTATIVE, PENDING, KNOWN, LEAVING = (int(phase) for phase in Phase)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """Confirmed tracks at one instant; hidden ones have an old ``last_seen_ns``.

    ``track_id``, ``last_seen_ns``: (n,). ``position_store_m``, ``velocity_m_s``: (n, 2).
    ``covariance``: (n, 4, 4) of x y vx vy. ``identity``: (n, v + 1) over ``visits``, the last
    column = nobody known; rows sum to 1.
    """

    at_ns: int
    track_id: Ints
    position_store_m: Floats
    velocity_m_s: Floats
    covariance: Floats
    last_seen_ns: Ints
    visits: tuple[VisitId, ...]
    identity: Floats

    def __post_init__(self) -> None:
        read_only(self.track_id, self.position_store_m, self.velocity_m_s, self.covariance)
        read_only(self.last_seen_ns, self.identity)


@dataclass(slots=True)
class People:
    """All tracks, phases mixed, as a structure of arrays; the last axis of mean and covariance
    and the first of everything else is the track."""

    mean: Floats = field(default_factory=lambda: np.zeros((4, 0)))
    covariance: Floats = field(default_factory=lambda: np.zeros((10, 0)))
    track_id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    phase: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    hits: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # instants with a detection
    views: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # most cameras at once
    born_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    confirmed_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    last_seen_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    distinct_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # see duplicates
    beside: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # track id, then; 0 none
    from_gate: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # first seen at a gate
    identity: Floats = field(default_factory=lambda: np.zeros((0, 1)))  # columns: visits, nobody
    looks: Looks = field(default_factory=Looks)

    def __len__(self) -> int:
        return len(self.track_id)

    def keep(self, mask: Bools) -> None:
        """Drop every track where the mask is False."""
        rows = mask.nonzero()[0]
        self.mean = self.mean.take(rows, axis=1)
        self.covariance = self.covariance.take(rows, axis=1)
        for name in _PER_TRACK:
            setattr(self, name, getattr(self, name)[rows])
        self.looks.keep(rows)

    def append(
        self, mean: Floats, covariance: Floats, from_gate: Bools, first_id: int, at_ns: int
    ) -> None:
        """Add tentative tracks (4, k), (10, k), seen once at ``at_ns``, of nobody known."""
        k = mean.shape[1]
        zeros, now = np.zeros(k, np.int64), np.full(k, at_ns, np.int64)
        self.mean = np.concatenate((self.mean, mean), axis=1)
        self.covariance = np.concatenate((self.covariance, covariance), axis=1)
        self.track_id = np.concatenate((self.track_id, np.arange(first_id, first_id + k)))
        self.phase = np.concatenate((self.phase, zeros + TENTATIVE))
        self.hits = np.concatenate((self.hits, zeros + 1))
        self.views = np.concatenate((self.views, zeros))
        self.born_ns = np.concatenate((self.born_ns, now))
        self.confirmed_ns = np.concatenate((self.confirmed_ns, zeros))
        self.last_seen_ns = np.concatenate((self.last_seen_ns, now))
        self.distinct_ns = np.concatenate((self.distinct_ns, zeros))
        self.beside = np.concatenate((self.beside, zeros))
        self.from_gate = np.concatenate((self.from_gate, from_gate))
        nobody = np.zeros((k, self.identity.shape[1]))
        nobody[:, -1] = 1.0
        self.identity = np.concatenate((self.identity, nobody))
        self.looks.append(k)


_PER_TRACK = (
    "track_id",
    "phase",
    "hits",
    "views",
    "born_ns",
    "confirmed_ns",
    "last_seen_ns",
    "distinct_ns",
    "beside",
    "from_gate",
    "identity",
)


@dataclass(slots=True)
class Encounters:
    """Pairs of people whom the cameras could not tell apart for a while: e of them.

    ``track``: (e, 2) ids, smaller first. ``start_*``: both states when it began, (e, 2, 4) and
    (e, 2, 10). ``closest``: (e,) least squared normalized distance since.
    ``resolved_ns``: (e,) since when they are apart again, -1 while they are not.
    """

    track: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    start_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    start_mean: Floats = field(default_factory=lambda: np.zeros((0, 2, 4)))
    start_covariance: Floats = field(default_factory=lambda: np.zeros((0, 2, 10)))
    closest: Floats = field(default_factory=lambda: np.zeros(0))
    resolved_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.start_ns)

    def keep(self, mask: Bools) -> None:
        """Drop every encounter where the mask is False."""
        self.track, self.start_ns = self.track[mask], self.start_ns[mask]
        self.start_mean = self.start_mean[mask]
        self.start_covariance = self.start_covariance[mask]
        self.closest, self.resolved_ns = self.closest[mask], self.resolved_ns[mask]


@dataclass(slots=True)
class PersonTrackerState:
    """Everything a restart needs. ``at_ns`` is the filter's time, -1 before the first instant."""

    at_ns: int = -1
    explained_ns: int = -1  # when tracks of nobody were last compared with people who vanished
    spacing_ns: int = 66_666_667  # smoothed time between instants: cameras at 15 Hz until learned
    last_track: int = 0  # counter of track ids, never reused
    last_visit: int = 0  # counter of visit numbers, as the history stores them
    people: People = field(default_factory=People)
    encounters: Encounters = field(default_factory=Encounters)
    visits: list[VisitId] = field(default_factory=list)  # columns of identity
    visit_number: list[int] = field(default_factory=list)  # parallel to visits
    history: TrackHistory = field(default_factory=TrackHistory)
    wrists: list[Seen] = field(default_factory=list)  # of the latest instants, by track id
    arrival_gate: list[int] = field(default_factory=list)  # who came in where, not yet found
    arrival_ns: list[int] = field(default_factory=list)
    camera_last_ns: dict[str, int] = field(default_factory=dict)  # newest capture of each camera
    counters: dict[str, int] = field(default_factory=dict)
