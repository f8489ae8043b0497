"""The people in the store, on the floor plane, each with a probability of who they are.

All packets of an instant are one batch: to the floor, associated, one information-form update that
sums the cameras. The store is a closed world: people come and go only through gates, so a track
that vanishes in an aisle is hidden, not gone, and who appears in an aisle was hidden. Identity is a
probability that is moved between tracks and never invented: at gates (``passages``), when two
people could not be told apart (``encounters``), when hidden people are found (``reassociation``).

Source of the filter: ``ground_filter``; of the phases of a track: ``lifecycle``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edge.vision import (
    association,
    encounters,
    ground_filter,
    lifecycle,
    looks,
    passages,
    reassociation,
    wrists,
)
from edge.vision import track_history as ring
from edge.vision.camera_model import CameraModel, camera_model
from edge.vision.detections import FUTURE_MAX_NS, FloorDetections, instants
from edge.vision.floor_mask import FloorMasks
from edge.vision.ground_filter import XX, YY
from edge.vision.sightings import Sightings
from edge.vision.track_history import TrackWindow
from edge.vision.tracks import (
    KNOWN,
    LEAVING,
    PENDING,
    TENTATIVE,
    TRACKS_MAX,
    PersonTrackerState,
    Tracks,
)
from messages.arrays import Bools, Floats, Ints
from messages.ids import GateId, VisitId
from messages.observations import PersonDetections
from messages.store_config import StoreConfig

HIDDEN_AFTER_NS = 600_000_000  # unseen so long, the next sighting needs an argument about who it is
MISSING_AFTER_NS = 250_000_000  # unseen so long, somebody who appears elsewhere may be this one
SPACING_MIN_NS, SPACING_MAX_NS = 20_000_000, 1_000_000_000
MARGIN_M = 0.5  # beyond the walkable area: foot points err so far, people are not there
HIDDEN_SD_MAX_M = 10.0  # where the walkable area is not configured
AREA_MAX_M2 = 400.0  # likewise, for densities of strays and newcomers
SETTLE_NS = 200_000_000  # people found after a gap are weighed together, not in order of arrival
ONE_VIEW_NS = 800_000_000  # seen by one camera only: false tracks seldom live so long
GATE_ZONE_M = 1.5  # who appears here may be coming in
ARRIVED_NS = 400_000_000  # after a passage it is plain which of those at the gate walks in
COMING_NS = 1_500_000_000  # and so long who came in is looked for among newcomers only
LINE_M = 0.1  # before a gate's line nobody has come in
AWAITED_M = 2.5  # the gate said so already: who appears this near to it need not wait
NEW_IN_AISLE = 0.002  # expected bodies nobody let in, popping up in the aisle
STRAYS = 0.0002  # share of people who moved as the motion law does not foresee
NEW_AT_GATE_SOON = 0.3  # expected newcomers in the zone whose passage is not yet reported
NEW_AT_GATE_LATE = 0.02  # and still not reported after lifecycle.GATE_WAIT_NS: tailgaters
UNTOLD_NS = 2_000_000_000  # a newcomer at somebody's elbow must show as two boxes by then
FREEDOM = 4.0  # of the positions' Student's t: one that fits badly (hidden feet) counts less
EXPLAIN_EVERY_NS = 200_000_000
WRIST_AGE_NS = 150_000_000  # a sample shows wrists at most this old,
WRIST_INSTANTS_MAX = 8  # and of no more images
_NOWHERE = np.zeros((0, 2))
_NO_PAIRS = np.zeros(0, np.int64), np.zeros(0, np.int64)


class PersonTracker:
    """Follows people; see the module. All state is in ``state``; the rest derives from config."""

    def __init__(self, config: StoreConfig, state: PersonTrackerState | None = None) -> None:
        """Raises CalibrationError for a camera that cannot be."""
        self.state = PersonTrackerState() if state is None else state
        self._cameras: dict[str, CameraModel] = {
            camera.id: camera_model(camera) for camera in config.cameras if camera.role == "room"
        }
        self._gates = np.array([(g.x_m, g.y_m) for g in config.gates]).reshape(-1, 2)
        self._gate_index = config.gate_index
        area = config.area
        self._low = np.array([area.x_min_m, area.y_min_m])
        self._high = np.array([area.x_max_m, area.y_max_m])
        low, high = self._low - MARGIN_M, self._high + MARGIN_M
        masks = FloorMasks.of(config.cameras)
        self._sightings = Sightings(self._cameras, low[:, None], high[:, None], masks)
        size = self._high - self._low
        self._var_max = np.minimum(size**2 / 12, HIDDEN_SD_MAX_M**2)  # of a uniform spread
        self._per_m2 = 1.0 / min(float(size.prod()), AREA_MAX_M2)
        self._lateness_ns = int(config.limits.lateness_max_ms * 1e6)

    # --- time and packets ---

    def step(self, now_ns: int, packets: Sequence[PersonDetections]) -> None:
        """Take packets in; with none, the filter still follows ``now_ns`` at the lateness limit.

        A packet older than the filter's time by more than ``limits.lateness_max_ms`` is dropped;
        ``state.counters`` says how many and why others were.
        """
        state = self.state
        groups = instants(
            packets,
            self._cameras,
            state.at_ns - self._lateness_ns,
            now_ns + FUTURE_MAX_NS,
            state.camera_last_ns,
            state.counters,
        )
        for sighting in self._sightings.of(groups, state.at_ns):
            self._instant(sighting.among(self._in_sight() if len(sighting.doubtful) else _NOWHERE))
        silent_until = now_ns - self._lateness_ns
        if silent_until > state.at_ns:
            self._instant(None, silent_until)

    def foresee(self, packets: Iterable[PersonDetections]) -> None:
        """Packets that later steps will bring: what many can share is worked out now, at once."""
        self._sightings.foresee(packets)

    def _instant(self, seen: FloorDetections | None, at_ns: int = 0) -> None:
        """Everything that happens at one instant; ``seen`` None: no camera said anything."""
        state, people = self.state, self.state.people
        live = self._predict(at_ns if seen is None else seen.at_ns, learn=seen is not None)
        at_ns = state.at_ns
        i, j = encounters.near_pairs(people.mean, live)
        encounters.observe(state.encounters, people, live, i, j, at_ns)
        views = np.zeros(len(people), np.int64)
        if seen is not None and len(seen.camera):
            views, i, j = self._see(seen, live, i, j)
        else:
            i, j = _NO_PAIRS
        self._tidy(i, j, views)
        if state.arrival_ns and at_ns - state.arrival_ns[0] >= ARRIVED_NS:
            self._find_arrivals()
        pending = people.phase == PENDING
        if np.count_nonzero(pending):
            self._find_again(pending)
        if at_ns - state.explained_ns >= EXPLAIN_EVERY_NS:
            state.explained_ns = at_ns
            self._explain_strangers()
        if people.looks.used and at_ns - people.looks.looked_ns >= looks.LOOK_EVERY_NS:
            self._look()
        if state.history.due(at_ns):
            self._record()

    def _predict(self, at_ns: int, learn: bool) -> Bools:
        """Everybody at ``at_ns``. Returns (n,) whom the cameras saw lately."""
        state, people = self.state, self.state.people
        dt_ns = max(at_ns - state.at_ns, 0) if state.at_ns >= 0 else 0
        state.at_ns = max(at_ns, state.at_ns)
        if learn and dt_ns > 0:
            spacing = state.spacing_ns + (min(dt_ns, 2 * state.spacing_ns) - state.spacing_ns) // 5
            state.spacing_ns = min(max(spacing, SPACING_MIN_NS), SPACING_MAX_NS)
        live = self._live()
        if not dt_ns or not len(people):
            return live
        people.mean, people.covariance = ground_filter.predict(
            people.mean, people.covariance, dt_ns * 1e-9
        )
        hidden = (~live).nonzero()[0]
        if len(hidden):
            mean = people.mean.take(hidden, axis=1)
            covariance = people.covariance.take(hidden, axis=1)
            limits = self._low, self._high, self._var_max
            if not ground_filter.in_bounds(mean, covariance, *limits):
                mean, covariance = ground_filter.bounded(mean, covariance, *limits)
                people.mean[:, hidden], people.covariance[:, hidden] = mean, covariance
        return live

    def _in_sight(self) -> Floats:
        """(k, 2) where the people known and seen lately are."""
        people = self.state.people
        rows = ((people.phase == KNOWN) & self._live()).nonzero()[0]
        return np.asarray(people.mean[:2].take(rows, axis=1).T)

    def _live(self) -> Bools:
        """(n,) seen lately: detections are theirs by position alone."""
        limit = lifecycle.patience(HIDDEN_AFTER_NS, self.state.spacing_ns)
        return np.asarray(self.state.at_ns - self.state.people.last_seen_ns <= limit)

    def _see(self, seen: FloorDetections, live: Bools, i: Ints, j: Ints) -> tuple[Ints, Ints, Ints]:
        """Associate, update, and start tracks for what remains unexplained.

        Args:
            i, j: rows of near pairs.

        Returns:
            (n,) how many cameras saw each track, and which pairs are beside each other now.
        """
        people, n = self.state.people, len(self.state.people)
        views = np.zeros(n, np.int64)
        tentative = people.phase == TENTATIVE
        pairs = association.pairs_in_reach(people.mean, people.covariance, live, tentative, seen)
        taken = association.assign(pairs, seen.camera, n).nonzero()[0]
        track, detection = pairs.track[taken], pairs.detection[taken]
        if len(track):
            doubt = np.maximum((FREEDOM + pairs.distance2.take(taken)) / (FREEDOM + 2), 1.0)
            people.mean, people.covariance = ground_filter.update(
                people.mean,
                people.covariance,
                track,
                pairs.innovation.take(taken, axis=1),
                seen.covariance.take(detection, axis=1) * doubt,
            )
            views = np.bincount(track, minlength=n)
            hit = views > 0
            people.hits += hit
            np.maximum(people.views, views, out=people.views)
            people.last_seen_ns[hit] = seen.at_ns
        i, j = lifecycle.beside(people, i, j, lifecycle.TWIN_M)
        if len(i):
            lifecycle.mark_distinct(people, track, seen.camera[detection], i, j, seen.at_ns)
        if seen.row is not None and len(track):
            self._see_details(seen, track, seen.row.take(detection))
        free = association.unexplained(pairs, taken, seen, ~tentative, n)
        if len(free):
            self._start(*association.newborns(seen, free), seen.at_ns)
        return views, i, j

    def _see_details(self, seen: FloorDetections, track: Ints, row: Ints) -> None:
        """Wrists and looks of the tracks' detections, rows of ``seen``."""
        state, people = self.state, self.state.people
        if seen.wrist_rows is not None:
            rows, body = seen.wrist_rows.take(row, axis=2), people.mean[:2].take(track, axis=1)
            shown = wrists.Seen(seen.at_ns, people.track_id[track], rows, body)
            state.wrists = [*state.wrists, shown][-WRIST_INSTANTS_MAX:]
        if seen.looks is not None and seen.lens is not None:
            lens = seen.lens.take(row)
            mine = (lens >= 0).nonzero()[0]
            vectors = seen.looks.take(row[mine], axis=0)
            people.looks.see(track[mine], lens[mine], vectors, len(self._cameras), seen.at_ns)

    def _start(self, position: Floats, R: Floats, at_ns: int) -> None:
        state = self.state
        inside = (position >= self._low[:, None]) & (position <= self._high[:, None])
        keep = (inside[0] & inside[1]).nonzero()[0][: TRACKS_MAX - len(state.people)]
        if len(keep) < position.shape[1]:
            shed = position.shape[1] - len(keep)
            state.counters["not_started"] = state.counters.get("not_started", 0) + shed
        mean, covariance = ground_filter.born(position[:, keep], R[:, keep])
        from_gate = self._gate_distance(mean) < GATE_ZONE_M
        state.people.append(mean, covariance, from_gate, state.last_track + 1, at_ns)
        state.last_track += len(keep)

    def _tidy(self, i: Ints, j: Ints, views: Ints) -> None:
        """Confirm tracks, drop duplicates and those whose time is over."""
        state, people = self.state, self.state.people
        lifecycle.confirm(people, state.at_ns)
        keep = lifecycle.wanted(people, state.at_ns, state.spacing_ns)
        if len(i):
            keep &= ~lifecycle.duplicates(people, i, j, state.at_ns, views)
        if np.count_nonzero(keep) < len(keep):
            lifecycle.bequeath(people, keep)
            people.keep(keep)

    def _look(self) -> None:
        """Let looks say who is who where places left a doubt."""
        state, people = self.state, self.state.people
        settled = self._live() & (people.phase == KNOWN)
        if len(state.encounters):
            rows = encounters.rows_of(people, state.encounters.track)
            settled[rows[rows >= 0]] = False
        nobody, at_ns = lifecycle.unaccounted(people), state.at_ns
        strange, lost = settled & nobody, self._missing() & ~nobody
        people.identity = looks.look(people.looks, people.identity, settled, strange, lost, at_ns)

    # --- hidden people, found again ---

    def _find_again(self, pending: Bools) -> None:
        """Decide who the confirmed newcomers are, once they have waited long enough."""
        people = self.state.people
        if self.state.at_ns - int(people.confirmed_ns[pending].min()) < SETTLE_NS:
            return
        found = (pending & ~self._at_elbow(pending)).nonzero()[0]
        hidden = self._missing().nonzero()[0]
        awaited = self._awaited(found, hidden)
        enough = np.where(awaited | (people.views[found] > 1), SETTLE_NS, ONE_VIEW_NS)
        waited = self.state.at_ns - people.confirmed_ns[found] >= enough
        steady = lifecycle.steady(people, found, self.state.at_ns, self.state.spacing_ns)
        waited &= steady
        if not np.count_nonzero(waited):
            return
        likelihood = self._likelihoods(found, hidden)
        ready, fresh = self._ready(found, awaited, likelihood)
        if (ready & waited).any():
            together = ready & (waited | (steady & (people.views[found] > 1)))
            self._reunite(found[together], hidden, likelihood[together], fresh[together])

    def _explain_strangers(self) -> None:
        """Somebody known vanished beside a track of nobody: that was a view of the same body."""
        people = self.state.people
        strange = lifecycle.unaccounted(people) & (people.phase == KNOWN) & self._live()
        if not np.count_nonzero(strange):
            return
        coming = (people.hits == 0) & (self.state.at_ns - people.born_ns < COMING_NS)
        hidden = (self._missing() & ~lifecycle.unaccounted(people) & ~coming).nonzero()[0]
        if not len(hidden):
            return
        found = strange.nonzero()[0]
        fresh = np.full(len(found), NEW_IN_AISLE * self._per_m2)
        likelihood = self._likelihoods(found, hidden)
        same = reassociation.marginals(likelihood, fresh)[1] < reassociation.SURE_NEW_MAX
        if same.any():
            self._reunite(found[same], hidden, likelihood[same], fresh[same])

    def _likelihoods(self, found: Ints, hidden: Ints) -> Floats:
        strays = STRAYS * self._per_m2
        return reassociation.likelihoods(self.state.people, found, hidden, strays, self.state.at_ns)

    def _reunite(self, found: Ints, hidden: Ints, likelihood: Floats, fresh: Floats) -> None:
        state = self.state
        p, p_new = reassociation.marginals(likelihood, fresh)
        taken_for = state.people.identity[found, :-1].sum(axis=0)
        keep = reassociation.reunite(state.people, state.encounters, found, hidden, p, p_new)
        lifecycle.give_back(state.people, taken_for, keep)
        state.people.keep(keep)

    def _missing(self) -> Bools:
        people = self.state.people
        unseen = self.state.at_ns - people.last_seen_ns
        return np.asarray((people.phase == KNOWN) & (unseen > MISSING_AFTER_NS))

    def _at_elbow(self, pending: Bools) -> Bools:
        """(n,) newcomers beside somebody known, not yet seen as two boxes by one camera."""
        people = self.state.people
        elbow = pending & (people.distinct_ns == 0)
        elbow &= self.state.at_ns - people.born_ns < UNTOLD_NS
        rows = elbow.nonzero()[0]
        if len(rows):
            known = ((people.phase == KNOWN) & self._live()).nonzero()[0]
            dx = people.mean[0, rows][:, None] - people.mean[0, known]
            dy = people.mean[1, rows][:, None] - people.mean[1, known]
            elbow[rows] = (dx * dx + dy * dy < association.OWN_SPACE_M**2).any(axis=1)
        return np.asarray(elbow)

    def _ready(self, found: Ints, awaited: Bools, likelihood: Floats) -> tuple[Bools, Floats]:
        """(m,) which may be decided now, and the density of newcomers at each, 1/m2.

        In a gate's zone the gate's word is awaited, unless a hidden person was so near that
        nobody else can be meant, or the word came before the person was seen.
        """
        people, at_ns = self.state.people, self.state.at_ns
        zone = self._gate_distance(people.mean[:, found]) < GATE_ZONE_M
        per_m2 = 1.0 / (np.pi * GATE_ZONE_M**2)
        late, soon = NEW_AT_GATE_LATE * per_m2, NEW_AT_GATE_SOON * per_m2
        waiting = zone & ~awaited & (at_ns - people.born_ns[found] < lifecycle.GATE_WAIT_NS)
        plain = likelihood.sum(axis=1) * reassociation.SURE_NEW_MAX > soon
        fresh = np.where(people.from_gate[found] | zone, late, NEW_IN_AISLE * self._per_m2)
        return ~waiting | plain, np.where(waiting, soon, fresh)

    def _awaited(self, found: Ints, hidden: Ints) -> Bools:
        """(m,) found near a track that a gate made for somebody nobody had seen yet."""
        people = self.state.people
        made = hidden[people.hits[hidden] == 0]
        dx = people.mean[0, found][:, None] - people.mean[0, made]
        dy = people.mean[1, found][:, None] - people.mean[1, made]
        return np.asarray((dx * dx + dy * dy < AWAITED_M**2).any(axis=1))

    def _gate_distance(self, mean: Floats) -> Floats:
        """(n,) metres to the nearest gate; inf without gates."""
        dx = mean[0][:, None] - self._gates[:, 0]
        dy = mean[1][:, None] - self._gates[:, 1]
        return np.asarray(np.sqrt((dx * dx + dy * dy).min(axis=1, initial=np.inf)))

    # --- gates and visits ---

    def entered(self, visit: VisitId, gate: GateId, at_ns: int) -> None:
        """One person of ``visit`` passed inwards at ``gate``: a body there has this identity.

        It is a track of its own until it is plain which of the people seen there it is.
        """
        state, people, column = self.state, self.state.people, self._column(visit)
        place = self._gates[self._gate_index[gate]]
        R = np.array([[passages.PASSAGE_SD_M**2], [0.0], [passages.PASSAGE_SD_M**2]])
        state.at_ns = at_ns if state.at_ns < 0 else state.at_ns
        state.last_track += 1
        people.append(
            *ground_filter.born(place[:, None], R), np.ones(1, np.bool_), state.last_track, at_ns
        )
        people.phase[-1], people.hits[-1] = KNOWN, 0
        people.last_seen_ns[-1] = at_ns - HIDDEN_AFTER_NS - 1
        people.identity[-1] = 0.0
        people.identity[-1, column] = 1.0
        state.arrival_gate.append(self._gate_index[gate])
        state.arrival_ns.append(at_ns)

    def _find_arrivals(self) -> None:
        """Who was seen at a gate when somebody came in there, and is inside now, may be them."""
        state, people = self.state, self.state.people
        gate = state.arrival_gate.pop(0)
        state.arrival_ns.pop(0)
        near = passages.newcomers(people, self._gates[gate], state.at_ns)
        near &= (people.mean[:2] > self._low[:, None] - LINE_M).all(axis=0)
        near &= (people.mean[:2] < self._high[:, None] + LINE_M).all(axis=0)
        rows = np.arange(len(people))
        self._decide(near & lifecycle.steady(people, rows, state.at_ns, state.spacing_ns))

    def left(self, gate: GateId, at_ns: int) -> dict[VisitId | str, float]:
        """Somebody passed outwards: probability per visit, key "" = nobody known.

        The likeliest track at the gate ends; where others could have been the one, their
        identities take over what the ended one may still have been.
        """
        state, people = self.state, self.state.people
        place = self._gates[self._gate_index[gate]]
        self._decide(self._pending_at(place))
        self._settle_encounters_at(place)
        normal = passages.inward(place, self._low, self._high)
        weight, nobody = passages.exit_weights(people, place, normal, at_ns, state.at_ns)
        who = (weight[:, None] * people.identity).sum(axis=0)
        answer: dict[VisitId | str, float] = {
            visit: float(p) for visit, p in zip(state.visits, who[:-1], strict=True) if p > 1e-6
        }
        answer[""] = float(who[-1]) + nobody
        if len(people) and weight.max() > nobody:
            self._end(int(weight.argmax()), weight)
        return answer

    def _end(self, row: int, weight: Floats) -> None:
        """The body of ``row`` went out, or with the other weights another one did."""
        state, people = self.state, self.state.people
        gone = people.identity[row].copy()
        others = weight.copy()
        others[row] = 0.0
        people.identity += others[:, None] * (gone - people.identity)
        state.encounters.keep((state.encounters.track != people.track_id[row]).all(axis=1))
        if self._live()[row]:  # still in sight: followed out of the door so that it is no newcomer
            state.last_track += 1
            people.track_id[row], people.phase[row] = state.last_track, LEAVING
            people.identity[row] = 0.0
            people.identity[row, -1] = 1.0
        else:
            people.keep(np.arange(len(people)) != row)

    def _decide(self, which: Bools) -> None:
        """Decide now who these people are: a gate just said that somebody passes it."""
        people = self.state.people
        found = np.flatnonzero(which)
        if not len(found):
            return
        hidden = np.flatnonzero(self._missing() & ~which)
        likelihood = self._likelihoods(found, hidden)
        likelihood[people.phase[found] == LEAVING] *= passages.LEAVING_WEIGHT
        fresh = np.full(len(found), NEW_AT_GATE_LATE / (np.pi * GATE_ZONE_M**2))
        self._reunite(found, hidden, likelihood, fresh)

    def _pending_at(self, place: Floats) -> Bools:
        people = self.state.people
        near = ((people.mean[:2] - place[:, None]) ** 2).sum(axis=0) < passages.REACH_M**2
        return np.asarray(near & (people.phase == PENDING))

    def _settle_encounters_at(self, place: Floats) -> None:
        state, people = self.state, self.state.people
        if not len(state.encounters):
            return
        near = ((people.mean[:2] - place[:, None]) ** 2).sum(axis=0) < passages.REACH_M**2
        rows = encounters.rows_of(people, state.encounters.track)
        which = ((rows >= 0) & near[rows]).any(axis=1)
        encounters.settle(state.encounters, people, self._live(), which, state.at_ns)

    def people_inside(self, visit: VisitId) -> int:
        """How many people of the visit are inside: entered and not yet gone, to the nearest."""
        if visit not in self.state.visits:
            return 0
        column = self.state.visits.index(visit)
        return int(np.floor(self.state.people.identity[:, column].sum() + 0.5))

    def visit_ended(self, visit: VisitId) -> None:
        """The visit is over: whatever could still have been it is nobody known from here on."""
        state, people = self.state, self.state.people
        if visit not in state.visits:
            return
        column = state.visits.index(visit)
        people.identity[:, -1] += people.identity[:, column]
        people.identity = np.delete(people.identity, column, axis=1)
        people.looks.forget_visit(column)
        state.history.ended_ns[state.visit_number[column]] = state.at_ns
        del state.visits[column], state.visit_number[column]

    def _column(self, visit: VisitId) -> int:
        """The visit's column of identity, made when new."""
        state, people = self.state, self.state.people
        if visit not in state.visits:
            people.identity = np.insert(people.identity, len(state.visits), 0.0, axis=1)
            people.looks.add_visit()
            state.last_visit += 1
            state.visits.append(visit)
            state.visit_number.append(state.last_visit)
            state.history.names[state.last_visit] = visit
        return state.visits.index(visit)

    # --- answers ---

    @property
    def tracks(self) -> Tracks:
        """Everybody inside as known now, hidden people included."""
        state, people = self.state, self.state.people
        known = people.phase == KNOWN
        return Tracks(
            at_ns=state.at_ns,
            track_id=people.track_id[known],
            position_store_m=people.mean[:2, known].T.copy(),
            velocity_m_s=people.mean[2:, known].T.copy(),
            covariance=ground_filter.full(people.covariance[:, known]),
            last_seen_ns=people.last_seen_ns[known],
            visits=tuple(state.visits),
            identity=self._identity_now()[known],
        )

    def between(self, start_ns: int, end_ns: int) -> TrackWindow:
        """What was known between two instants, from the last 90 s; see ``track_history``."""
        return ring.window(self.state.history, start_ns, end_ns)

    def all_cameras_see(self, within_ns: int) -> bool:
        """True when every camera of the store has reported lately; False where there is none."""
        last = [self.state.camera_last_ns.get(camera, -within_ns) for camera in self._cameras]
        return bool(last) and min(last) > self.state.at_ns - within_ns

    def somebody_seen_ns(self) -> int:
        """When a camera last saw any of the people known now; 0 when nobody is known."""
        people = self.state.people
        return int(people.last_seen_ns[people.phase == KNOWN].max(initial=0))

    def looks_the_same(self, visit: VisitId, since_ns: int) -> bool:
        """True when who is taken for this visit has since plainly looked as it did before."""
        state = self.state
        if visit not in state.visits:
            return False
        return state.people.looks.plainly(state.visits.index(visit), since_ns)

    def covered_until_ns(self) -> int:
        """Instant up to which ``between`` is complete; -1 before the first packet or step."""
        return self.state.at_ns

    def _identity_now(self) -> Floats:
        """(n, v + 1) with the exchanges that open encounters may have brought."""
        state = self.state
        if not len(state.encounters):
            return state.people.identity
        everyone = np.ones(len(state.encounters), np.bool_)
        return encounters.mixed(state.encounters, state.people, self._live(), everyone, state.at_ns)

    def _record(self) -> None:
        state, people = self.state, self.state.people
        known = (people.phase == KNOWN).nonzero()[0]
        state.wrists = [w for w in state.wrists if state.at_ns - w.at <= WRIST_AGE_NS]
        variance = people.covariance[XX, known] + people.covariance[YY, known]
        ring.record(
            state.history,
            state.at_ns,
            people.track_id[known],
            people.mean[:2].take(known, axis=1).T,
            np.sqrt(variance / 2),
            self._identity_now()[known],
            np.array(state.visit_number, dtype=np.int64),
            wrists.newest(state.wrists),
        )
