"""People on a floor seen by several cameras, from points alone: no gates, no identities.

For those who have floor points of their own (``walkout track --format ground``). The store's
``person_tracker`` knows where its cameras are, how vague each point is and who came in; here people
come and go anywhere and each camera's noise is learned from how its points miss the tracks.
Prediction, association, update, confirmation and duplicates are those of the store's tracker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.vision import association, encounters, ground_filter, lifecycle
from edge.vision.association import Pairs
from edge.vision.detections import SCORE_MIN, SCORE_START_MIN, FloorDetections
from edge.vision.ground_filter import XX, YY
from edge.vision.tracks import PENDING, TENTATIVE, TRACKS_MAX, People
from messages.arrays import Bools, Floats, Ints, read_only

NOISE_SD_M = 0.25  # of points, until a camera's own is learned
NOISE_SD_MIN_M, NOISE_SD_MAX_M = 0.08, 0.6  # calibration residual; beyond, nothing can be told
LEARNING_SHARE = 0.02  # of the new, an instant: settled after some seconds
TAILS = 3.0  # learned variance times this: the points that miss most are not among the matched
LOST_NS = 3_000_000_000  # a person hidden longer has gone some other way
LOST_SHARE = 0.5  # nor is anybody followed unseen for longer than this part of what was seen
FREEDOM = 4.0  # of the points' Student's t: one that fits badly (hidden feet) counts less
ONE_VIEW_NS = 800_000_000  # seen by one camera only: false tracks seldom live so long


@dataclass(frozen=True, slots=True, eq=False)
class FloorTracks:
    """Those seen at one instant; first axis k. ``confirmed`` False: may still be a false point."""

    at_ns: int
    track_id: Ints
    position_m: Floats  # (k, 2)
    confirmed: Bools

    def __post_init__(self) -> None:
        read_only(self.track_id, self.position_m, self.confirmed)


class FloorTracker:
    """Follows people from floor points; see the module."""

    def __init__(self, cameras: int) -> None:
        """``cameras``: how many there are; points name them by index."""
        self.at_ns = -1
        self.started = 0
        self.noise_var_m2 = np.full(cameras, NOISE_SD_M**2)
        self.people = People()
        self._spacing_ns = 0

    def step(self, at_ns: int, camera: Ints, position_m: Floats, score: Floats) -> FloorTracks:
        """Take the points of all cameras at one instant in.

        Args:
            camera: (m,) ascending. position_m: (m, 2). score: (m,). Points that are not finite
                or score below ``SCORE_MIN`` are left out.
        """
        self._predict(at_ns)
        ok = np.isfinite(position_m).all(axis=1) & (score >= SCORE_MIN)
        seen = self._sighted(camera[ok], position_m[ok].T, score[ok])
        if len(seen.camera):
            self._see(seen)
        self._tidy()
        people = self.people
        k = (people.last_seen_ns == self.at_ns).nonzero()[0]
        return FloorTracks(
            at_ns=self.at_ns,
            track_id=people.track_id[k],
            position_m=people.mean[:2, k].T.copy(),
            confirmed=people.phase[k] >= PENDING,
        )

    def _predict(self, at_ns: int) -> None:
        dt_ns = max(at_ns - self.at_ns, 0) if self.at_ns >= 0 else 0
        self.at_ns = max(at_ns, self.at_ns)
        if dt_ns:
            self._spacing_ns = min(dt_ns, 2 * self._spacing_ns or dt_ns)
            people = self.people
            people.mean, people.covariance = ground_filter.predict(
                people.mean, people.covariance, dt_ns * 1e-9
            )

    def _sighted(self, camera: Ints, position: Floats, score: Floats) -> FloorDetections:
        R = np.zeros((3, len(camera)))
        R[::2] = self.noise_var_m2[camera]
        age_s = np.zeros(len(camera))
        return FloorDetections(self.at_ns, camera, position, R, age_s, score >= SCORE_START_MIN)

    def _see(self, seen: FloorDetections) -> None:
        people, n = self.people, len(self.people)
        tentative = people.phase == TENTATIVE
        everyone = np.ones(n, np.bool_)
        pairs = association.pairs_in_reach(
            people.mean, people.covariance, everyone, tentative, seen
        )
        taken = association.assign(pairs, seen.camera, n)
        self._learn(pairs, taken & ~tentative[pairs.track], seen.camera)
        self._update(pairs, taken, seen)
        hits = taken.nonzero()[0]
        i, j = lifecycle.beside(
            people, *encounters.near_pairs(people.mean, everyone), lifecycle.DUPLICATE_M
        )
        if len(i):
            track, camera = pairs.track[hits], seen.camera[pairs.detection[hits]]
            lifecycle.mark_distinct(people, track, camera, i, j, self.at_ns)
        free = association.unexplained(pairs, hits, seen, ~tentative, n)
        if len(free):
            self._start(*association.newborns(seen, free))

    def _learn(self, pairs: Pairs, use: Bools, camera: Ints) -> None:
        """Each camera's noise: its squared innovations, less what the tracks themselves err."""
        of = camera[pairs.detection[use]]
        if not len(of):
            return
        own = self.people.covariance[[XX, YY]].take(pairs.track[use], axis=1)
        error = 0.5 * TAILS * (pairs.innovation[:, use] ** 2 - own).sum(axis=0)
        cameras = len(self.noise_var_m2)
        count = np.bincount(of, minlength=cameras)
        mean = np.bincount(of, error, minlength=cameras) / np.maximum(count, 1)
        share = np.where(count > 0, LEARNING_SHARE, 0.0)
        self.noise_var_m2 += share * (mean - self.noise_var_m2)
        np.clip(self.noise_var_m2, NOISE_SD_MIN_M**2, NOISE_SD_MAX_M**2, out=self.noise_var_m2)

    def _update(self, pairs: Pairs, taken: Bools, seen: FloorDetections) -> None:
        people = self.people
        track, detection = pairs.track[taken], pairs.detection[taken]
        if not len(track):
            return
        doubt = np.maximum((FREEDOM + pairs.distance2[taken]) / (FREEDOM + 2), 1.0)
        people.mean, people.covariance = ground_filter.update(
            people.mean,
            people.covariance,
            track,
            pairs.innovation[:, taken],
            seen.covariance[:, detection] * doubt,
        )
        views = np.bincount(track, minlength=len(people))
        hit = views > 0
        people.hits += hit
        people.views = np.maximum(people.views, views)
        people.last_seen_ns[hit] = self.at_ns

    def _start(self, position: Floats, R: Floats) -> None:
        room = max(TRACKS_MAX - len(self.people), 0)
        mean, covariance = ground_filter.born(position[:, :room], R[:, :room])
        k = mean.shape[1]
        self.people.append(mean, covariance, np.zeros(k, np.bool_), self.started + 1, self.at_ns)
        self.started += k

    def _tidy(self) -> None:
        people = self.people
        keep = self.at_ns - people.last_seen_ns <= self._patience()
        i, j = lifecycle.beside(
            people, *encounters.near_pairs(people.mean, keep), lifecycle.DUPLICATE_M
        )
        if len(i):
            keep &= ~lifecycle.duplicates(people, i, j, self.at_ns)
        if not keep.all():
            people.keep(keep)
        self._confirm()

    def _patience(self) -> Ints:
        """(n,) how long each track may stay unseen."""
        people = self.people
        followed_ns = people.last_seen_ns - people.born_ns
        limit = np.minimum((LOST_SHARE * followed_ns).astype(np.int64), LOST_NS)
        shortest = lifecycle.patience(lifecycle.TENTATIVE_UNSEEN_NS, self._spacing_ns)
        limit[people.phase == TENTATIVE] = 0
        return np.maximum(limit, shortest)

    def _confirm(self) -> None:
        """Persons are those seen often enough, by several cameras or for long enough."""
        people = self.people
        age_ns = self.at_ns - people.born_ns
        enough = np.where(people.views > 1, lifecycle.CONFIRM_AGE_NS, self._one_view_ns())
        sure = (people.hits >= lifecycle.CONFIRM_HITS) & (age_ns >= enough)
        people.phase[sure] = PENDING

    def _one_view_ns(self) -> int:
        """With one camera there is no second view to wait for."""
        return ONE_VIEW_NS if len(self.noise_var_m2) > 1 else lifecycle.CONFIRM_AGE_NS
