"""People in the images of one camera, from boxes alone: no calibration, no appearance.

For those who have a detector and a video and no store around it; the store itself tracks on the
floor (``person_tracker``). Each instant: predict, pairs in reach, assign, update, start, drop.
Boxes of low score keep tracks alive and start none. Who is hidden is followed by motion for
``LOST_NS`` and found again there. The same boxes give the same ids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge.vision import box_association, box_filter
from messages.arrays import Bools, Floats, Ints, read_only

HIGH_SCORE = 0.6  # explains a track before others do, and may start one
LOW_SCORE = 0.1  # below it a box is noise; ByteTrack's bound as well
CONFIRM_HITS = 3  # sightings until a track is a person: false boxes seldom persist
LOST_NS = 2_000_000_000  # people hidden longer than this seldom reappear where motion foresees
TENTATIVE_NS = 350_000_000  # a newborn unseen so long was a false box
LOW_NS = 500_000_000  # unseen so long, a box of low score is no longer believed to be them
SPACINGS = 2.5  # and each of these at least so many images
TRACKS_MAX = 4096  # bounds memory; boxes beyond it start no track and are counted


@dataclass(frozen=True, slots=True, eq=False)
class BoxTracks:
    """Those seen at one instant, in ascending order of ``track_id``; first axis k."""

    at_ns: int
    track_id: Ints
    boxes: Floats  # (k, 4) x1, y1, x2, y2 px, smoothed
    score: Floats  # of the detection
    detection: Ints  # its row in what was given
    confirmed: Bools  # False: may still be a false box

    def __post_init__(self) -> None:
        read_only(self.track_id, self.boxes, self.score, self.detection, self.confirmed)


class BoxTracker:
    """Follows the people of one camera; see the module."""

    def __init__(self) -> None:
        self.at_ns = -1
        self.started = 0  # tracks so far; the last id given
        self.dropped = 0  # boxes that were no boxes, or beyond TRACKS_MAX
        self._state = np.zeros((box_filter.ROWS, 0))
        self._id = np.zeros(0, np.int64)
        self._hits = np.zeros(0, np.int64)
        self._seen_ns = np.zeros(0, np.int64)
        self._spacing_ns = 0

    def __len__(self) -> int:
        return len(self._id)

    def step(self, at_ns: int, boxes: Floats, score: Floats) -> BoxTracks:
        """Take the boxes of one image in.

        Args:
            at_ns: instant of the image; one before the last counts as the last.
            boxes: (m, 4) x1, y1, x2, y2, pixels. score: (m,). Rows that are not finite or have no
                area are left out and counted in ``dropped``.
        """
        usable, size = self._usable(boxes, score)
        if usable is not None:
            boxes, score = boxes.take(usable, axis=0), score.take(usable)
        self._predict(at_ns)
        measured = box_filter.measured(boxes, size)
        track, box = self._follow(measured, score)
        seen = np.full(len(self._id), -1)
        seen[track] = box
        kept = self._wanted()
        if len(kept) < len(seen):
            self._keep(kept)
            seen = seen.take(kept)
        new = self._newborn(boxes, score, box)
        self._start(measured.take(new, axis=1))
        return self._seen(np.concatenate((seen, new)), score, usable)

    def _usable(self, boxes: Floats, score: Floats) -> tuple[Ints | None, Floats]:
        """Rows that are boxes (None: all), and their width and height."""
        size = boxes[:, 2:] - boxes[:, :2]
        all_good = not len(score) or (size.min() > 0 and score.min() >= LOW_SCORE)
        if all_good and math.isfinite(boxes.sum() + score.sum()):
            return None, size
        ok = (size > 0).all(axis=1) & np.isfinite(boxes.sum(axis=1) + score)
        self.dropped += len(ok) - int(np.count_nonzero(ok))
        usable = (ok & (score >= LOW_SCORE)).nonzero()[0]
        return usable, size.take(usable, axis=0)

    def _predict(self, at_ns: int) -> None:
        dt_ns = max(at_ns - self.at_ns, 0) if self.at_ns >= 0 else 0
        self.at_ns = max(at_ns, self.at_ns)
        if dt_ns:
            self._spacing_ns = dt_ns if not self._spacing_ns else min(dt_ns, 2 * self._spacing_ns)
            self._state = box_filter.predict(self._state, dt_ns * 1e-9)

    def _follow(self, measured: Floats, score: Floats) -> tuple[Ints, Ints]:
        """Associate and update; (k,) tracks and their boxes."""
        if not len(self._id) or not len(score):
            return _NONE, _NONE
        tentative = self._hits < CONFIRM_HITS
        recent = ~tentative & (self.at_ns - self._seen_ns <= self._patience(LOW_NS))
        pairs = box_association.pairs_in_reach(
            self._state, measured, tentative, score < HIGH_SCORE, recent
        )
        k = box_association.assign(pairs)
        track = pairs.track.take(k)
        if len(k):
            innovation = pairs.innovation.take(k, axis=1)
            box_filter.update(self._state, track, innovation, pairs.distance2.take(k))
            self._hits[track] += 1
            self._seen_ns[track] = self.at_ns
        return track, pairs.box.take(k)

    def _patience(self, limit_ns: int) -> int:
        return max(limit_ns, int(SPACINGS * self._spacing_ns))

    def _wanted(self) -> Ints:
        """Rows of tracks whose time is not over."""
        unseen_ns = self.at_ns - self._seen_ns
        keep = unseen_ns <= self._patience(TENTATIVE_NS)
        if np.count_nonzero(keep) < len(keep):
            keep |= (self._hits >= CONFIRM_HITS) & (unseen_ns <= self._patience(LOST_NS))
        return keep.nonzero()[0]

    def _keep(self, rows: Ints) -> None:
        self._state = self._state.take(rows, axis=1)
        self._id, self._hits = self._id.take(rows), self._hits.take(rows)
        self._seen_ns = self._seen_ns.take(rows)

    def _newborn(self, boxes: Floats, score: Floats, taken: Ints) -> Ints:
        """Boxes that start a track: good, unexplained, and not a second box of somebody seen."""
        free = score >= HIGH_SCORE
        free[taken] = False
        new = free.nonzero()[0]
        if len(new) and len(self._id):
            there = (self._hits >= CONFIRM_HITS) & (self._seen_ns == self.at_ns)
            by = box_filter.boxes_of(self._state[:4, there])
            new = new[~box_association.covered(boxes.take(new, axis=0), by)]
        room = max(TRACKS_MAX - len(self._id), 0)
        self.dropped += max(len(new) - room, 0)
        return new[:room]

    def _start(self, measured: Floats) -> None:
        k = measured.shape[1]
        if not k:
            return
        self._state = np.concatenate((self._state, box_filter.born(measured)), axis=1)
        self._id = np.concatenate((self._id, np.arange(self.started + 1, self.started + k + 1)))
        self._hits = np.concatenate((self._hits, np.ones(k, np.int64)))
        self._seen_ns = np.concatenate((self._seen_ns, np.full(k, self.at_ns)))
        self.started += k

    def _seen(self, box: Ints, score: Floats, usable: Ints | None) -> BoxTracks:
        rows = (box >= 0).nonzero()[0]
        box = box.take(rows)
        return BoxTracks(
            at_ns=self.at_ns,
            track_id=self._id.take(rows),
            boxes=box_filter.boxes_of(self._state[:4].take(rows, axis=1)),
            score=score.take(box),
            detection=box if usable is None else usable.take(box),
            confirmed=self._hits.take(rows) >= CONFIRM_HITS,
        )


_NONE = np.zeros(0, np.int64)
