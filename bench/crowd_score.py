"""How well people are known: IDF1 on the floor, and identity probabilities against the truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge.vision.tracks import Tracks
from messages.arrays import Bools, Floats, Ints
from messages.ids import VisitId

SAME_M = 0.5  # a track this near to a person is theirs (TrackEval's threshold: 1 m is similarity 0)
NEAR_M = 1.0  # for questions of who somebody is
SHOWN_NS = 1_000_000_000  # a track unseen for longer is a guess, not a row
NAMED_MIN = 0.5  # from here a track is called by its likeliest visit
LEAST = 1e-4  # a probability that counts no worse than this in the log loss
BINS = 10


@dataclass(slots=True)
class Rows:
    """Person and track at each instant, for IDF1; ids are numbers of any kind."""

    together: dict[tuple[int, int], int] = field(default_factory=dict)
    person: dict[int, int] = field(default_factory=dict)
    track: dict[int, int] = field(default_factory=dict)
    switches: int = 0
    last: dict[int, int] = field(default_factory=dict)

    def add(self, people: Ints, at_m: Floats, tracks: Ints, track_m: Floats) -> None:
        """One instant: (k,), (k, 2) truth; (n,), (n, 2) tracks."""
        for ids, count in ((people, self.person), (tracks, self.track)):
            for name in ids.tolist():
                count[name] = count.get(name, 0) + 1
        gap = _gaps(at_m, track_m)
        for i, j in np.argwhere(gap <= SAME_M).tolist():
            pair = int(people[i]), int(tracks[j])
            self.together[pair] = self.together.get(pair, 0) + 1
        for i, j in _matched(gap, SAME_M):
            who, now = int(people[i]), int(tracks[j])
            self.switches += self.last.get(who, now) != now
            self.last[who] = now

    def idf1(self) -> float:
        """Per cent. Source: Ristani et al. 2016; TrackEval's Identity metric."""
        truth, given = sum(self.person.values()), sum(self.track.values())
        if not self.together:
            return 0.0
        rows = {name: k for k, name in enumerate({p for p, _ in self.together})}
        columns = {name: k for k, name in enumerate({t for _, t in self.together})}
        count = np.zeros((len(rows), len(columns)))
        for (p, t), n in self.together.items():
            count[rows[p], columns[t]] = n
        i, j = linear_sum_assignment(-count)
        return float(200.0 * count[i, j].sum() / (truth + given))


def _gaps(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2)).reshape(len(a), len(b))


def _matched(gap: Floats, within_m: float) -> list[tuple[int, int]]:
    i, j = linear_sum_assignment(np.minimum(gap, 3 * within_m))
    near = gap[i, j] <= within_m
    return list(zip(i[near].tolist(), j[near].tolist(), strict=True))


@dataclass(slots=True)
class Knowledge:
    """What the tracker said of people's identities, and what is true, question by question."""

    own: list[float] = field(default_factory=list)  # probability of the person's own visit
    best: list[float] = field(default_factory=list)  # of the likeliest visit
    right: list[bool] = field(default_factory=list)
    nobody: list[float] = field(default_factory=list)
    lost: int = 0  # no track near

    def ask(self, tracks: Tracks, visits: list[VisitId], at_m: Floats) -> None:
        """Who is each person? ``visits`` (k,) and ``at_m`` (k, 2) are true."""
        gap = _gaps(at_m, tracks.position_store_m)
        column = {visit: c for c, visit in enumerate(tracks.visits)}
        pairs = _matched(gap, NEAR_M)
        self.lost += len(visits) - len(pairs)
        for i, j in pairs:
            identity, own = tracks.identity[j], column.get(visits[i], -1)
            likeliest = int(identity[:-1].argmax()) if len(column) else -1
            self.own.append(float(identity[own]) if own >= 0 else 0.0)
            self.best.append(float(identity[likeliest]) if likeliest >= 0 else 0.0)
            self.right.append(likeliest == own >= 0)
            self.nobody.append(float(identity[-1]))

    def figures(self) -> dict[str, float]:
        """Right where one is named, log loss, calibration, and how often nobody is known."""
        own, best, nobody = (np.array(x) for x in (self.own, self.best, self.nobody))
        right: Bools = np.array(self.right, dtype=np.bool_)
        if not len(own):
            return {}
        named = nobody < NAMED_MIN
        loss = -np.log(np.maximum(own, LEAST))
        return {
            "identity_right": round(float(right[named].mean()), 5) if named.any() else 0.0,
            "identity_log_loss": round(float(loss.mean()), 5),
            "identity_calibration_error": round(_calibration(best[named], right[named]), 5),
            "nobody_known": round(float((~named).mean()), 5),
            "without_track": round(self.lost / (self.lost + len(own)), 5),
        }


def _calibration(said: Floats, right: Bools) -> float:
    """Expected calibration error, bins of equal count."""
    order = np.argsort(said, kind="stable")
    parts = [k for k in np.array_split(order, BINS) if len(k)]
    gaps = [len(k) * abs(float(said[k].mean()) - float(right[k].mean())) for k in parts]
    return sum(gaps) / max(len(said), 1)


def named_rows(tracks: Tracks) -> tuple[Ints, Floats]:
    """Numbers (n,) of visits and places (n, 2): what the store says of who is where.

    Left out are those unseen for a while, whose place is a guess, and tracks that are more likely
    nobody who came in: in a closed world no people.
    """
    identity = tracks.identity
    if identity.shape[1] == 1:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    who = identity[:, :-1].argmax(axis=1)
    said = identity[np.arange(len(who)), who] >= NAMED_MIN
    said &= tracks.at_ns - tracks.last_seen_ns <= SHOWN_NS
    numbers = np.array([int(v.rpartition("v")[2]) for v in tracks.visits], dtype=np.int64)
    return numbers[who[said]], tracks.position_store_m[said]
