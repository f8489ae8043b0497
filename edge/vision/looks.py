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

from messages.arrays import Bools, Floats, Floats32, Ints

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
EVIDENCE_MAX = 12.0  # log likelihood ratio of one look; no descriptor is surer than that
TEMPER = 0.6  # galleries of those in doubt are older than those that the normals were learned on
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
SAME, DIFFERENT = (0.65, 0.04), (0.0, 0.10)
PRIOR = 20.0
LEARNED_MAX = 2_000.0  # observations; later ones replace earlier ones
VARIANCE_MIN = 0.002


@dataclass(slots=True, eq=False)
class Means:
    """Running means of r rows (tracks, or visits) for c cameras."""

    vector: Floats32 = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))  # (r, c, d)
    images: Floats32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (r, c)

    def __len__(self) -> int:
        return len(self.images)

    def keep(self, rows: Ints) -> None:
        self.vector, self.images = self.vector[rows], self.images[rows]

    def append(self, rows: int) -> None:
        """Rows of which nothing is known."""
        self.vector = np.concatenate((self.vector, np.zeros((rows, *self.vector.shape[1:]), "f4")))
        self.images = np.concatenate((self.images, np.zeros((rows, self.images.shape[1]), "f4")))

    def fit(self, rows: int, cameras: int, dimensions: int) -> None:
        """Have this shape; what was known of other cameras or another descriptor is forgotten."""
        if self.vector.shape != (rows, cameras, dimensions):
            self.vector = np.zeros((rows, cameras, dimensions), np.float32)
            self.images = np.zeros((rows, cameras), np.float32)

    def see(self, sightings: Sequence[Sighted], rate: float) -> None:
        """Take in what some images showed, the oldest first.

        The n-th vector of a mean counts p = max(1 / n, rate) in it and what was before 1 - p: so
        each counts p times the (1 - p) of those that follow, which is worked out for all at once.
        """
        r, c, d = self.vector.shape
        vector = np.zeros((len(sightings), r + 1, c, d), np.float32)
        for k, seen in enumerate(sightings):
            vector[k, seen.row, seen.camera] = seen.vector  # of row -1: into the one not looked at
        vector = vector[:, :r]
        shown = vector.any(axis=3)
        images = self.images + shown.cumsum(axis=0, dtype=np.float32)
        part = shown * np.maximum(1.0 / np.maximum(images, 1.0), np.float32(rate))
        remains = (1.0 - part)[::-1].cumprod(axis=0)[::-1]
        part[:-1] *= remains[1:]
        self.vector *= remains[0, :, :, None]
        self.vector += np.einsum("krc,krcd->rcd", part, vector)
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
    compared_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) of tracks
    compared: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) how often anew
    proven: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # (n,) see ``_remember``
    moments: Floats = field(default_factory=lambda: np.array([[*SAME, PRIOR], [*DIFFERENT, PRIOR]]))

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
        self.compared_ns, self.compared = self.compared_ns[rows], self.compared[rows]
        self.proven = self.proven[rows]

    def append(self, tracks: int) -> None:
        self.tracks.append(tracks)
        nothing = np.zeros(tracks, np.int64)
        self.compared_ns = np.concatenate((self.compared_ns, nothing))
        self.compared = np.concatenate((self.compared, nothing))
        self.proven = np.concatenate((self.proven, nothing > 0))

    def see(self, track: Ints, camera: Ints, vector: Floats32, cameras: int) -> None:
        """Vectors (k, d) of tracks, seen by cameras (k,), each pair at most once."""
        d = vector.shape[1]
        if self.tracks.vector.shape[1:] != (cameras, d):
            self.sightings = []
        self.tracks.fit(len(self.tracks), cameras, d)
        self.visits.fit(len(self.visits), cameras, d)
        self.sightings.append(Sighted(track, camera, vector))
        if len(self.sightings) == SIGHTINGS_MAX:
            self.take_in()

    def take_in(self) -> None:
        """The sightings so far into the means."""
        if self.sightings:
            self.tracks.see(self.sightings, RATE)
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
        self.compared_ns[tracks] = 0
        self.compared[tracks] = 0
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
    looks.take_in()
    if identity.shape[1] == 1:
        return identity
    cosine, known = _cosines(looks)
    ratio, member = _ratios(looks.moments, cosine, known)
    sure = settled & (identity[:, :-1].max(axis=1) >= SURE)
    visit = identity[:, :-1].argmax(axis=1)
    own = ratio[np.arange(len(visit)), visit]
    due = settled & (at_ns - looks.compared_ns >= AGAIN_NS) & known.any(axis=(1, 2, 3))
    _learn(looks, cosine, known, visit, member, due & sure & (own > MISMATCH))
    strange = strange & due & lost.any()
    doubt = due & ((identity.max(axis=1) < DOUBT) | (own < MISMATCH)) | strange
    looks.compared_ns[due] = at_ns
    alone = identity.sum(axis=0)[visit] < ALONE_MAX
    looks.verified_ns[visit[due & sure & alone & (own >= VERIFIED)]] = at_ns
    if doubt.any():
        looks.compared[doubt] += 1
        fresh = doubt / np.maximum(looks.compared, 1) ** 2  # much of it was seen before
        identity = shifted(_leaked(identity, strange, lost), ratio * fresh[:, None])
        sure &= ~doubt
    looks.proven |= settled & (own >= VERIFIED)
    _remember(looks, identity, visit, cosine, known, sure, looks.proven & (own > MISMATCH))
    begun = looks.visits.images.any(axis=1).reshape(-1, MEMBERS_MAX).any(axis=1)
    looks.begun_ns[begun & (looks.begun_ns == 0)] = at_ns
    return identity


def _cosines(looks: Looks) -> tuple[Floats, Bools]:
    """(n, v, k, c) cosine of each track's mean with the galleries of the same camera; if known."""
    tracks, visits = looks.tracks, looks.visits
    n, c = tracks.images.shape
    known = (tracks.images >= IMAGES_MIN)[:, None] & (visits.images >= LOOKS_MIN)[None]
    dot = np.einsum("ncd,vcd->nvc", tracks.vector, visits.vector)
    length = np.sqrt(np.einsum("ncd,ncd->nc", tracks.vector, tracks.vector))
    other = np.sqrt(np.einsum("vcd,vcd->vc", visits.vector, visits.vector))
    scale = length[:, None] * other[None]
    cosine = np.asarray(dot / np.where(scale > 0.0, scale, 1.0), np.float64)
    shape = (n, len(visits) // MEMBERS_MAX, MEMBERS_MAX, c)
    return cosine.reshape(shape), np.asarray(known).reshape(shape)


def _ratios(moments: Floats, cosine: Floats, known: Bools) -> tuple[Floats, Ints]:
    """(n, v) log likelihood ratio that each track is each visit's, and whose of its members."""
    (same, same_var, _), (different, different_var, _) = moments
    offset = np.log(different_var / same_var)
    ratio = (cosine - different) ** 2 / different_var - (cosine - same) ** 2 / same_var + offset
    # Nobody looks too much like oneself: above the mean of the same person nothing is held against.
    top = (same - different) ** 2 / different_var + offset
    ratio = 0.5 * np.where(cosine >= same, np.maximum(ratio, top), ratio)
    total = TEMPER * np.where(known, ratio, 0.0).sum(axis=3)
    total = np.where(known.any(axis=3), total, -np.inf)
    member = total.argmax(axis=2)
    best = total.max(axis=2)
    return np.clip(np.where(np.isfinite(best), best, 0.0), -EVIDENCE_MAX, EVIDENCE_MAX), member


def _learn(
    looks: Looks, cosine: Floats, known: Bools, visit: Ints, member: Ints, sure: Bools
) -> None:
    """The two normals, from tracks whose identity is sure."""
    rows = sure.nonzero()[0]
    if not len(rows):
        return
    own = visit[rows]
    mine = np.zeros(known[rows].shape, np.bool_)
    mine[np.arange(len(rows)), own, member[rows, own]] = True
    others = np.ones(known[rows].shape, np.bool_)
    others[np.arange(len(rows)), own] = False
    for k, which in enumerate((mine, others)):
        values = cosine[rows][which & known[rows]]
        if len(values):
            looks.moments[k] = _updated(looks.moments[k], values)


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
    cosine: Floats,
    known: Bools,
    sure: Bools,
    alike: Bools,
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
        gallery = _gallery(looks, visit[row], members[visit[row]], cosine, known, row)
        k, camera = (looks.tracks.images[row] >= IMAGES_MIN).nonzero()
        vector = looks.tracks.vector[row[k], camera]
        looks.visits.see([Sighted(gallery[k], camera, vector)], GALLERY_RATE)


def _turns(visit: Ints) -> list[Ints]:
    """Places of these in turns, in each of which no visit occurs twice."""
    order = visit.argsort(kind="stable")
    ordered = visit[order]
    turn = np.arange(len(visit)) - ordered.searchsorted(ordered)
    return [order[turn == k] for k in range(int(turn.max(initial=-1)) + 1)]


def _gallery(
    looks: Looks, visit: Ints, members: Ints, cosine: Floats, known: Bools, row: Ints
) -> Ints:
    """(t,) whose gallery of the party of so many members the looks of each track belong to."""
    of_party = np.arange(MEMBERS_MAX) < members[:, None]
    begun = looks.visits.images.any(axis=1).reshape(-1, MEMBERS_MAX)[visit]
    cosine, known = cosine[row, visit], known[row, visit]  # (t, k, c)
    alike = np.where(known, cosine, 0.0).sum(axis=2)
    alike = np.where(known.any(axis=2) & of_party, alike, -np.inf)
    room = of_party & ~begun
    own = (alike.max(axis=1) >= MEMBER_MIN) | ~room.any(axis=1)
    member = np.where(own, alike.argmax(axis=1), room.argmax(axis=1))
    return np.asarray(visit * MEMBERS_MAX + member)


def _leaked(identity: Floats, strange: Bools, lost: Bools) -> Floats:
    """A little of each identity on every track, and more of those lost on the strange ones.

    Columns keep their sums.
    """
    leaked = (1.0 - LEAK) * identity + LEAK * identity.mean(axis=0)
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
