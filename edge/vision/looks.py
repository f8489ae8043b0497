"""What people look like: a second witness of who somebody is, where places alone cannot tell.

A descriptor (colour stripes, or a network of the user's) gives each box a vector. Every track keeps
a running mean of its vectors for each camera, begun anew when it parts from somebody it may have
been exchanged with. Every visit keeps the same of the tracks that surely were it: its *gallery*.
A track whose identity is in doubt, or that no longer looks like its visit, is compared with the
galleries of the same cameras, since views of two cameras hardly compare; the cosine c of the two
means gives a log likelihood ratio

    log N(c; same) - log N(c; different)

with both normals learned from tracks whose identity is sure, so a strong network counts for more
than a weak one. Identities then shift between tracks, and none is made or lost: rows and columns
keep their sums (Sinkhorn's iteration). Positions still decide who is where; looks only who is who.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Bools, Bytes8, Floats, Floats32, Ints

DIMENSIONS_MAX = 64  # longer vectors are projected: cosines keep to 0.1 and memory stays small
RATE = 0.1  # of a running mean at 15 images a second: 0.7 s, enough to average the noise out
IMAGES_MIN = 5  # of one camera, before a mean says something: a third of a second
LOOK_EVERY_NS = 400_000_000
GALLERY_RATE = 0.1  # at five looks in two seconds: 4 s of somebody's recent looks
LOOKS_MIN = 3  # of a gallery, before it says something
SIGHTINGS_MAX = 16  # images kept until they are taken in together: a look's are six at 15 Hz
SURE = 0.98  # identity from which a track shows what the visit looks like
DOUBT = 0.999  # below it a track is compared with the galleries
AGAIN_NS = 3_000_000_000  # looks change: so much later they are looked at again
STALE_S = 20.0  # a camera's mean that old says little
LAGS_S = (3.0, 8.0, 25.0)  # classes of the time between two means
EVIDENCE_MAX = 12.0  # log likelihood ratio of one look; no descriptor is surer than that
STRANGE_LOOK = -4.0  # of one camera: one look in fifty is of an arm, a bag, somebody else's coat
TEMPER = 0.6  # galleries of those in doubt are older than those that the normals were learned on
PAIRS_MAX = 600_000  # of means and galleries in one look, cameras times: more take turns
MEMBERS_MAX = 4  # of a party that have a gallery each
LEAK = 1e-4  # of each identity may be anybody's: an exchange that places did not show
MEMBER_MIN = 0.4  # cosines added up: less alike, it is another person of the party
ALONE_MAX = 1.5  # people of a visit
VERIFIED = 4.0  # log likelihood ratio with which a track looks like the visit it is taken for
GALLERY_NS = 3_000_000_000  # of sightings before a gallery proves anything
FOUND = 0.3  # of a strange track may be one of those lost, before looks are compared
MISMATCH = -3.0  # log likelihood ratio to the own visit, below which that is considered
ROUNDS, SETTLED = 60, 1e-3  # of Sinkhorn's iteration, until it hardly moves
# Moments before anything was learned: mean and variance of the cosine for the same person and for
# two people, as good as this many observations. Colour stripes on real recordings (PETS09-S2L1).
SAME = ((0.65, 0.04), (0.60, 0.05), (0.55, 0.06), (0.50, 0.06))  # after each class of lag
DIFFERENT = (0.0, 0.10)
PRIOR = 20.0
LEARNED_MAX = 2_000.0  # observations; later ones replace earlier ones
VARIANCE_MIN = 0.002


@dataclass(slots=True, eq=False)
class Means:
    """Running means of r rows (tracks, or visits) for c cameras."""

    vector: Floats32 = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))  # (r, c, d)
    images: Floats32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (r, c)
    begun_ns: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (r, c)
    of_s: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # (r, c) mean time, likewise

    def __len__(self) -> int:
        return len(self.images)

    def keep(self, rows: Ints) -> None:
        self.vector, self.images = self.vector[rows], self.images[rows]
        self.begun_ns, self.of_s = self.begun_ns[rows], self.of_s[rows]

    def append(self, rows: int) -> None:
        """Rows of which nothing is known."""
        c = self.images.shape[1]
        self.vector = np.concatenate((self.vector, np.zeros((rows, *self.vector.shape[1:]), "f4")))
        self.images = np.concatenate((self.images, np.zeros((rows, c), "f4")))
        self.begun_ns = np.concatenate((self.begun_ns, np.zeros((rows, c), np.int64)))
        self.of_s = np.concatenate((self.of_s, np.zeros((rows, c))))

    def fit(self, rows: int, cameras: int, dimensions: int) -> None:
        """Have this shape; what was known of other cameras or another descriptor is forgotten."""
        if self.vector.shape != (rows, cameras, dimensions):
            self.vector = np.zeros((rows, cameras, dimensions), np.float32)
            self.images = np.zeros((rows, cameras), np.float32)
            self.begun_ns = np.zeros((rows, cameras), np.int64)
            self.of_s = np.zeros((rows, cameras))

    def see(self, sightings: Sequence[Sighted], rate: float, at_ns: int) -> None:
        """Take in what some images showed until now, the oldest first.

        The n-th vector of a mean counts p = max(1 / n, rate) in it and what was before 1 - p: so
        each counts p times the (1 - p) of those that follow, which is worked out for all at once.
        """
        r, c, d = self.vector.shape
        vector = np.zeros((len(sightings), r + 1, c, d), np.float32)
        for k, seen in enumerate(sightings):
            vector[k, seen.row, seen.camera] = seen.vector  # of row -1: into the one not looked at
        vector = vector[:, :r]
        shown = vector.any(axis=3)
        some = shown.any(axis=0)
        self.begun_ns[some & (self.images == 0)] = at_ns
        images = self.images + shown.cumsum(axis=0, dtype=np.float32)
        part = shown * np.maximum(1.0 / np.maximum(images, 1.0), np.float32(rate))
        remains = (1.0 - part)[::-1].cumprod(axis=0)[::-1]
        part[:-1] *= remains[1:]
        self.vector *= remains[0, :, :, None]
        self.vector += np.einsum("krc,krcd->rcd", part, vector)
        self.of_s += (1.0 - remains[0]) * (at_ns * 1e-9 - self.of_s)
        self.images = images[-1]


@dataclass(slots=True, eq=False)
class Sighted:
    """What one image, or those of one instant, showed: k vectors, zeros say nothing.

    ``row`` (k,): of the means, -1 of none any more. Each (row, camera) occurs at most once.
    """

    row: Ints
    camera: Ints
    vector: Floats32  # (k, d)


@dataclass(slots=True)
class Looks:
    """Everything about looks that a restart needs."""

    tracks: Means = field(default_factory=Means)
    sightings: list[Sighted] = field(default_factory=list)  # of tracks, not in their means yet
    visits: Means = field(default_factory=Means)  # galleries: (visits x MEMBERS_MAX) rows
    verified_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (v,) last time
    begun_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (v,) of the gallery
    looked_ns: int = -1
    weighed_ns: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (n, c) of tracks
    weighed: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (n, c) as evidence
    proven: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # (n,) see ``_remember``
    # (lags + 1, 3) mean, variance, observations: same person by lag, different people.
    moments: Floats = field(
        default_factory=lambda: np.array([[*x, PRIOR] for x in (*SAME, DIFFERENT)])
    )

    @property
    def used(self) -> bool:
        """True once a packet had vectors."""
        return bool(self.tracks.vector.shape[2])

    def keep(self, rows: Ints) -> None:
        """Tracks that stay."""
        place = np.full(len(self.tracks), -1)
        place[rows] = np.arange(len(rows))
        self._move_sightings(place)
        self.tracks.keep(rows)
        self.weighed_ns, self.weighed = self.weighed_ns[rows], self.weighed[rows]
        self.proven = self.proven[rows]

    def append(self, tracks: int) -> None:
        self.tracks.append(tracks)
        nothing = np.zeros((tracks, self.weighed.shape[1]), np.int64)
        self.weighed_ns = np.concatenate((self.weighed_ns, nothing))
        self.weighed = np.concatenate((self.weighed, nothing))
        self.proven = np.concatenate((self.proven, np.zeros(tracks, np.bool_)))

    def see(
        self, track: Ints, camera: Ints, vector: Floats32, cameras: int, at_ns: int = 0
    ) -> None:
        """Vectors (k, d) of tracks, seen by cameras (k,) now, each pair at most once."""
        d = vector.shape[1]
        if self.tracks.vector.shape[1:] != (cameras, d):
            self.sightings = []
            self.weighed = np.zeros((len(self.tracks), cameras), np.int64)
            self.weighed_ns = self.weighed.copy()
        self.tracks.fit(len(self.tracks), cameras, d)
        self.visits.fit(len(self.visits), cameras, d)
        self.sightings.append(Sighted(track, camera, vector))
        if len(self.sightings) == SIGHTINGS_MAX:
            self.take_in(at_ns)

    def take_in(self, at_ns: int) -> None:
        """The sightings so far into the means."""
        if self.sightings:
            self.tracks.see(self.sightings, RATE, at_ns)
            self.sightings = []

    def _move_sightings(self, place: Ints) -> None:
        """Sightings of each track go to its place, -1: nobody's."""
        for seen in self.sightings:
            seen.row = np.where(seen.row < 0, -1, place[seen.row])

    def add_visit(self) -> None:
        self.visits.append(MEMBERS_MAX)
        self.verified_ns = np.append(self.verified_ns, 0)
        self.begun_ns = np.append(self.begun_ns, 0)

    def forget_visit(self, column: int) -> None:
        """The visit is over, and its people's looks go with it."""
        rows = np.arange(len(self.visits))
        self.visits.keep(rows[rows // MEMBERS_MAX != column])
        self.verified_ns = np.delete(self.verified_ns, column)
        self.begun_ns = np.delete(self.begun_ns, column)

    def plainly(self, visit: int, since_ns: int) -> bool:
        """True when who is taken for the visit has looked, since then, as the visit did before."""
        before = 0 < self.begun_ns[visit] <= since_ns - GALLERY_NS
        return bool(before and self.verified_ns[visit] > since_ns)

    def begin_anew(self, tracks: Ints) -> None:
        """These tracks may be other bodies from here on: what was seen of them before is void."""
        place = np.arange(len(self.tracks))
        place[tracks] = -1
        self._move_sightings(place)
        self.tracks.images[tracks] = 0.0
        self.weighed[tracks] = 0
        self.proven[tracks] = False


def reduced(vectors: Floats32) -> Floats32:
    """(n, d) vectors of length 1 with at most ``DIMENSIONS_MAX`` dimensions; zeros where bad."""
    d = vectors.shape[1]
    if d > DIMENSIONS_MAX:
        vectors = vectors @ _projection(d)
    length: Floats = np.sqrt(np.einsum("nd,nd->n", vectors, vectors)).astype(np.float64)
    good: Bools = np.isfinite(length) & (length > 0.0)
    scaled = np.where(good[:, None], vectors, 0.0) / np.where(good, length, 1.0)[:, None]
    return np.asarray(scaled, dtype=np.float32)


def _projection(d: int) -> Floats32:
    """(d, DIMENSIONS_MAX) the same for every run: Johnson and Lindenstrauss's random projection."""
    rng = np.random.Generator(np.random.PCG64(d))
    return rng.standard_normal((d, DIMENSIONS_MAX)).astype(np.float32)


def look(
    looks: Looks, identity: Floats, settled: Bools, strange: Bools, lost: Bools, at_ns: int
) -> Floats:
    """Identities (n, v + 1) after one more look at everybody; galleries and normals learn.

    Args:
        settled: (n,) tracks that are in sight, and not beside somebody they may be exchanged with.
        strange: (n,) tracks of nobody who came in. lost: (n,) people inside whom nobody sees:
            they may well be those.
    """
    looks.looked_ns = at_ns
    looks.take_in(at_ns)
    if identity.shape[1] == 1:
        return identity
    chosen = _turn(looks, at_ns)
    settled, strange = settled & chosen, strange & chosen
    pairs = _compared(looks, chosen)
    visit = identity[:, :-1].argmax(axis=1)
    sure = settled & (identity[:, :-1].max(axis=1) >= SURE)
    doubtful = settled & (identity.max(axis=1) < DOUBT) | strange
    due = _due(looks, settled, doubtful, at_ns)
    ratio, member = _some_ratios(looks.moments, pairs, due / (looks.weighed + 1.0) ** 2)
    rows = np.arange(len(visit))
    own = ratio[rows, visit]
    _learn(
        looks, pairs, visit, member, due & (looks.weighed == 0) & (sure & (own > MISMATCH))[:, None]
    )
    strange = strange & due.any(axis=1) & lost.any()
    doubt = due.any(axis=1) & ((doubtful & ~strange) | (own < MISMATCH)) | strange
    looks.weighed_ns[due] = at_ns
    looks.weighed[due] += 1
    alone = identity.sum(axis=0)[visit] < ALONE_MAX
    looks.verified_ns[visit[sure & alone & (own >= VERIFIED)]] = at_ns
    if doubt.any():
        apart = np.where((settled & ~doubt)[:, None], 1.0, np.zeros(due.shape))
        witness, _ = _some_ratios(looks.moments, pairs, apart)
        known = np.where(doubt[:, None], ratio, witness)
        identity = shifted(_leaked(identity, strange, lost), known)
        sure &= ~doubt
    looks.proven |= settled & (own >= VERIFIED)
    _remember(looks, identity, visit, pairs, sure, looks.proven & (own > MISMATCH), at_ns)
    begun = looks.visits.images.any(axis=1).reshape(-1, MEMBERS_MAX).any(axis=1)
    looks.begun_ns[begun & (looks.begun_ns == 0)] = at_ns
    _refresh(looks, sure, at_ns)
    return identity


def _due(looks: Looks, settled: Bools, doubtful: Bools, at_ns: int) -> Bools:
    """(n, c) means that say something new: never used, or so old a doubt that they do again."""
    again = doubtful[:, None] & (at_ns - looks.weighed_ns >= AGAIN_NS)
    ripe = settled[:, None] & (looks.tracks.images >= IMAGES_MIN)
    return np.asarray(ripe & ((looks.weighed == 0) | again))


def _refresh(looks: Looks, sure: Bools, at_ns: int) -> None:
    """Means of those who are surely known begin anew, so that they are compared with what was
    seen before them, not with themselves."""
    tracks = looks.tracks
    old = sure[:, None] & (looks.weighed > 0) & (at_ns - tracks.begun_ns >= AGAIN_NS)
    old |= at_ns * 1e-9 - tracks.of_s > STALE_S
    tracks.images[old] = 0.0
    looks.weighed[old] = 0


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Every track's means with every gallery that was begun (g,), camera by camera.

    ``cosine``, ``known``: (c, n, g). ``lag``: (c, n, g) class of the time between both.
    """

    gallery: Ints
    visits: int
    cosine: Floats32
    known: Bools
    lag: Bytes8


def _turn(looks: Looks, at_ns: int) -> Bools:
    """(n,) whose turn it is to be looked at: everybody's, unless there are very many."""
    n, c = looks.tracks.images.shape
    begun = np.count_nonzero(looks.visits.images.any(axis=1))
    parts = 1 + n * c * begun // PAIRS_MAX
    return np.asarray(np.arange(n) % parts == at_ns // LOOK_EVERY_NS % parts)


def _compared(looks: Looks, chosen: Bools) -> Compared:
    """Of the rows ``chosen``; of the others nothing is known."""
    if chosen.all():
        return _all_compared(looks.tracks, looks.visits)
    rows = np.flatnonzero(chosen)
    tracks = Means(
        looks.tracks.vector, looks.tracks.images, looks.tracks.begun_ns, looks.tracks.of_s
    )
    tracks.keep(rows)
    some = _all_compared(tracks, looks.visits)
    shape = (some.cosine.shape[0], len(chosen), some.cosine.shape[2])
    every = Compared(
        some.gallery,
        some.visits,
        np.zeros(shape, np.float32),
        np.zeros(shape, np.bool_),
        np.zeros(shape, np.uint8),
    )
    every.cosine[:, rows], every.known[:, rows] = some.cosine, some.known
    every.lag[:, rows] = some.lag
    return every


def _all_compared(tracks: Means, visits: Means) -> Compared:
    gallery = np.flatnonzero((visits.images >= LOOKS_MIN).any(axis=1))
    seen, before = tracks.images >= IMAGES_MIN, visits.images[gallery] >= LOOKS_MIN
    a, b = _unit(tracks.vector), _unit(visits.vector[gallery])
    cosine = a.transpose(1, 0, 2) @ b.transpose(1, 2, 0)
    lag_s = np.abs(tracks.of_s.T[:, :, None] - visits.of_s[gallery].T[:, None])
    lag = (lag_s > LAGS_S[0]).astype(np.uint8)
    for edge in LAGS_S[1:]:
        lag += lag_s > edge
    visit_count = len(visits) // MEMBERS_MAX
    return Compared(gallery, visit_count, cosine, seen.T[:, :, None] & before.T[:, None], lag)


def _unit(vector: Floats32) -> Floats32:
    length = np.sqrt(np.einsum("rcd,rcd->rc", vector, vector))
    return np.asarray(vector / np.where(length > 0.0, length, 1.0)[..., None])


def _some_ratios(moments: Floats, pairs: Compared, weight: Floats) -> tuple[Floats, Ints]:
    """``_ratios``; of rows that count nothing it is known beforehand."""
    ratio, member = (
        np.zeros((len(weight), pairs.visits)),
        np.zeros((len(weight), pairs.visits), int),
    )
    rows = np.flatnonzero(weight.any(axis=1))
    if len(rows):
        some = Compared(
            pairs.gallery,
            pairs.visits,
            pairs.cosine[:, rows],
            pairs.known[:, rows],
            pairs.lag[:, rows],
        )
        ratio[rows], member[rows] = _ratios(moments, some, weight[rows])
    return ratio, member


def _ratios(moments: Floats, pairs: Compared, weight: Floats) -> tuple[Floats, Ints]:
    """(n, v) log likelihood ratio that each track is each visit's, and whose of its members.

    Args:
        weight: (n, c) how much each camera's means count.
    """
    different, different_var, _ = moments[-1].astype(np.float32)
    by_lag = moments[:-1].astype(np.float32)
    same, same_var = by_lag[:, 0].take(pairs.lag), by_lag[:, 1].take(pairs.lag)
    offset = np.log(different_var / by_lag[:, 1]).take(pairs.lag)
    cosine = pairs.cosine
    ratio = (cosine - different) ** 2 / different_var - (cosine - same) ** 2 / same_var + offset
    # Nobody looks too much like oneself: above the mean of the same person nothing is held against.
    top = (same - different) ** 2 / different_var + offset
    ratio = 0.5 * np.where(cosine >= same, np.maximum(ratio, top), ratio)
    ratio = np.maximum(ratio, STRANGE_LOOK)
    part = np.where(pairs.known, weight.astype(np.float32).T[:, :, None], np.float32(0.0))
    total = TEMPER * (part * ratio).sum(axis=0)
    some = part.any(axis=0)
    return _of_visits(pairs.gallery, np.where(some, total, -np.inf), pairs.visits)


def _of_visits(gallery: Ints, total: Floats, visits: int) -> tuple[Floats, Ints]:
    """The best member of each visit: (n, g) to (n, v), 0 where nothing is known."""
    n = len(total)
    flat = np.full((n, visits * MEMBERS_MAX), -np.inf)
    flat[:, gallery] = total
    table = flat.reshape(n, visits, MEMBERS_MAX)
    best = table.max(axis=2)
    bounded = np.clip(np.where(np.isfinite(best), best, 0.0), -EVIDENCE_MAX, EVIDENCE_MAX)
    return bounded, table.argmax(axis=2)


def _learn(looks: Looks, pairs: Compared, visit: Ints, member: Ints, use: Bools) -> None:
    """The normals, from means (n, c) of tracks whose identity is sure."""
    mine = visit[:, None] * MEMBERS_MAX == pairs.gallery - pairs.gallery % MEMBERS_MAX
    best = visit * MEMBERS_MAX + member[np.arange(len(visit)), visit]
    own = best[:, None] == pairs.gallery
    used = pairs.known & use.T[:, :, None]
    for lag in range(len(LAGS_S) + 1):
        _take(looks.moments, lag, pairs.cosine[used & own & (pairs.lag == lag)])
    _take(looks.moments, -1, pairs.cosine[used & ~mine])


def _take(moments: Floats, k: int, values: Floats32) -> None:
    if len(values):
        moments[k] = _updated(moments[k], values.astype(np.float64))


def _updated(moments: Floats, values: Floats) -> Floats:
    mean, variance, n = moments
    m = len(values)
    total = n + m
    new_mean = (n * mean + values.sum()) / total
    spread = n * (variance + (mean - new_mean) ** 2) + ((values - new_mean) ** 2).sum()
    return np.array([new_mean, max(spread / total, VARIANCE_MIN), min(total, LEARNED_MAX)])


def _remember(
    looks: Looks,
    identity: Floats,
    visit: Ints,
    pairs: Compared,
    sure: Bools,
    alike: Bools,
    at_ns: int,
) -> None:
    """Galleries take in what the tracks that surely are a visit's look like now.

    A party has a gallery for each of its people: a track goes to the one it looks most like, or
    begins one where there are fewer than people. Nobody adds to a gallery, not even the view of
    another camera, who has not looked like it (``alike``) since the track began, or begun it.
    """
    members = np.clip(np.rint(identity.sum(axis=0)[:-1]), 1, MEMBERS_MAX).astype(np.int64)
    begun = looks.visits.images.any(axis=1).reshape(-1, MEMBERS_MAX).sum(axis=1)
    room = (begun < members)[visit]
    looks.proven |= sure & room & (looks.tracks.images >= IMAGES_MIN).any(axis=1)
    rows = (sure & (alike | room)).nonzero()[0]
    for some in _turns(visit[rows]):
        row = rows[some]
        gallery = _gallery(looks, visit[row], members[visit[row]], pairs, row)
        k, camera = (looks.tracks.images[row] >= IMAGES_MIN).nonzero()
        vector = looks.tracks.vector[row[k], camera]
        looks.visits.see([Sighted(gallery[k], camera, vector)], GALLERY_RATE, at_ns)


def _turns(visit: Ints) -> list[Ints]:
    """Places of these in turns, in each of which no visit occurs twice."""
    order = visit.argsort(kind="stable")
    ordered = visit[order]
    turn = np.arange(len(visit)) - ordered.searchsorted(ordered)
    return [order[turn == k] for k in range(int(turn.max(initial=-1)) + 1)]


def _gallery(looks: Looks, visit: Ints, members: Ints, pairs: Compared, row: Ints) -> Ints:
    """(t,) whose gallery of the party of so many members the looks of each track belong to."""
    of_party = np.arange(MEMBERS_MAX) < members[:, None]
    begun = looks.visits.images.any(axis=1).reshape(-1, MEMBERS_MAX)[visit]
    total = np.where(pairs.known, pairs.cosine, 0.0)[:, row].sum(axis=0)
    table = np.full((len(row), len(looks.visits)), -np.inf)
    table[:, pairs.gallery] = np.where(pairs.known[:, row].any(axis=0), total, -np.inf)
    alike = table.reshape(len(row), -1, MEMBERS_MAX)[np.arange(len(row)), visit]
    alike = np.where(of_party, alike, -np.inf)
    room = of_party & ~begun
    own = (alike.max(axis=1) >= MEMBER_MIN) | ~room.any(axis=1)
    member = np.where(own, alike.argmax(axis=1), room.argmax(axis=1))
    return np.asarray(visit * MEMBERS_MAX + member)


def _leaked(identity: Floats, strange: Bools, lost: Bools) -> Floats:
    """A little of each identity on every track of somebody, and more of those lost on the strange.

    Columns keep their sums.
    """
    somebody = identity[:, -1] < SURE
    leaked = identity.copy()
    if somebody.any():
        leaked[somebody] += LEAK * (identity[somebody].mean(axis=0) - identity[somebody])
    either = strange | lost
    if strange.any() and lost.any():
        leaked[either] += FOUND * (leaked[either].mean(axis=0) - leaked[either])
    return np.asarray(leaked)


def shifted(identity: Floats, log_ratio: Floats) -> Floats:
    """Identities (n, v + 1) weighed with ratios (n, v); rows and columns keep their sums.

    Who is exchanged is exchanged with somebody, so the odds of two tracks are those of one event:
    with the ratios squared the iteration's limit is exactly its posterior probability.
    """
    weight = identity.copy()
    weight[:, :-1] *= np.exp(2.0 * log_ratio)
    columns = identity.sum(axis=0)
    for _ in range(ROUNDS):
        total = weight.sum(axis=0)
        scale = np.divide(columns, total, out=np.ones_like(columns), where=total > 0.0)
        weight *= scale
        weight /= weight.sum(axis=1, keepdims=True)
        if np.abs(scale - 1.0).max() < SETTLED:
            break
    return weight
