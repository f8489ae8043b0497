"""What people look like decides who is who, as far as the descriptor can tell people apart."""

import numpy as np
import pytest

from edge.vision import looks
from edge.vision.looks import (
    DIMENSIONS_MAX,
    LOOK_EVERY_NS,
    MEMBERS_MAX,
    Looks,
    look,
    reduced,
    shifted,
)

SECOND_NS = 1_000_000_000
CAMERAS, DIMENSIONS = 3, 12


def person(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((CAMERAS, DIMENSIONS))


class Scene:
    """Tracks seen by all cameras; ``bodies[row]`` says whose looks each track shows."""

    def __init__(self, visits: int, tracks: int, noise: float = 0.5) -> None:
        self.looks, self.noise, self.at_ns = Looks(), noise, 0
        self.rng = np.random.default_rng(7)
        self.looks.append(tracks)
        for _ in range(visits):
            self.looks.add_visit()

    def seen(self, identity, bodies, seconds: float):
        """The tracks for a while, six images to a look."""
        tracks = np.arange(len(identity))
        nobody = np.zeros(len(identity), np.bool_)
        for _ in range(round(seconds * SECOND_NS / LOOK_EVERY_NS)):
            for _ in range(6):
                for camera in range(CAMERAS):
                    shown = np.stack([body[camera] for body in bodies])
                    shown = shown + self.noise * self.rng.standard_normal(shown.shape)
                    where = np.full(len(tracks), camera)
                    vectors = reduced(shown.astype(np.float32))
                    self.looks.see(tracks, where, vectors, CAMERAS)
            self.at_ns += LOOK_EVERY_NS
            settled = np.ones(len(identity), np.bool_)
            identity = look(self.looks, identity, settled, nobody, nobody, self.at_ns)
        return identity


def known(*visit: int, visits: int) -> np.ndarray:
    return np.eye(visits + 1)[list(visit)]


def test_an_even_chance_of_an_exchange_is_settled_either_way():
    a, b = person(1), person(2)
    for bodies, first in (([a, b], 0), ([b, a], 1)):
        scene = Scene(visits=2, tracks=2)
        scene.seen(known(0, 1, visits=2), [a, b], 10)
        scene.looks.begin_anew(np.array([0, 1]))
        even = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
        identity = scene.seen(even, bodies, 3)
        assert identity[0, first] > 0.99
        assert np.allclose(identity.sum(axis=0), even.sum(axis=0), atol=1e-3)


def test_an_exchange_that_places_did_not_show_is_found():
    a, b = person(1), person(2)
    scene = Scene(visits=2, tracks=2)
    identity = scene.seen(known(0, 1, visits=2), [a, b], 10)
    assert identity[0, 0] > 0.99
    scene.looks.begin_anew(np.array([0, 1]))
    identity = scene.seen(identity, [b, a], 5)
    assert identity[0, 1] > 0.9
    assert identity[1, 0] > 0.9


def test_people_who_look_alike_stay_in_doubt():
    a = person(1)
    scene = Scene(visits=2, tracks=2)
    scene.seen(known(0, 1, visits=2), [a, a], 20)
    scene.looks.begin_anew(np.array([0, 1]))
    even = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    assert scene.seen(even, [a, a], 3) == pytest.approx(even, abs=0.1)


def test_a_descriptor_that_tells_nothing_comes_to_count_for_nothing():
    scene = Scene(visits=2, tracks=2, noise=30.0)
    bodies = [person(1), person(2)]
    scene.seen(known(0, 1, visits=2), bodies, 60)
    scene.looks.begin_anew(np.array([0, 1]))
    even = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    assert scene.seen(even, bodies, 3)[0, 0] < 0.95


def test_each_member_of_a_party_has_looks_of_their_own():
    a, b, c = person(1), person(2), person(3)
    scene = Scene(visits=2, tracks=3)
    party = known(0, 0, 1, visits=2)
    scene.seen(party, [a, b, c], 15)
    begun = scene.looks.visits.images[:MEMBERS_MAX].any(axis=1)
    assert begun.tolist() == [True, True, False, False]
    scene.looks.begin_anew(np.array([1, 2]))
    doubt = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    identity = scene.seen(doubt, [a, c, b], 3)
    assert identity[1, 1] > 0.95
    assert identity[2, 0] > 0.95


def test_somebody_who_vanished_is_found_in_a_track_of_nobody():
    a, b = person(1), person(2)
    scene = Scene(visits=2, tracks=3)
    scene.seen(known(0, 1, 2, visits=2), [a, b, person(3)], 10)
    scene.looks.begin_anew(np.array([2]))
    identity = known(0, 1, 2, visits=2)
    settled = np.array([True, False, True])
    for camera in range(CAMERAS):
        for _ in range(6):
            vectors = reduced(b[camera][None].astype(np.float32))
            scene.looks.see(np.array([2]), np.array([camera]), vectors, CAMERAS)
    strange, lost = np.array([False, False, True]), np.array([False, True, False])
    later = scene.at_ns + 10 * SECOND_NS
    found = look(scene.looks, identity, settled, strange, lost, later)
    assert found[2, 1] > 0.95
    assert found[1, 2] > 0.95


def test_very_many_people_take_turns_and_are_told_apart_all_the_same(monkeypatch):
    monkeypatch.setattr(looks, "PAIRS_MAX", 3)
    a, b = person(1), person(2)
    scene = Scene(visits=2, tracks=2)
    scene.seen(known(0, 1, visits=2), [a, b], 20)
    scene.looks.begin_anew(np.array([0, 1]))
    even = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    identity = scene.seen(even, [b, a], 6)
    assert identity[0, 1] > 0.95
    assert identity[1, 0] > 0.95


def test_without_vectors_or_visits_nothing_changes():
    nothing = Looks()
    identity = np.ones((0, 1))
    none = np.zeros(0, np.bool_)
    assert look(nothing, identity, none, none, none, 5).shape == (0, 1)
    assert not nothing.used


def test_the_looks_of_a_visit_end_with_it():
    scene = Scene(visits=2, tracks=2)
    scene.seen(known(0, 1, visits=2), [person(1), person(2)], 5)
    second = scene.looks.visits.vector[MEMBERS_MAX:].copy()
    scene.looks.forget_visit(0)
    assert np.array_equal(scene.looks.visits.vector, second)
    assert len(scene.looks.verified_ns) == 1


def test_long_bad_and_empty_vectors_are_cut_to_size():
    vectors = np.random.default_rng(1).standard_normal((4, 512)).astype(np.float32)
    vectors[1], vectors[2, 7] = 0.0, np.nan
    short = reduced(vectors)
    assert short.shape == (4, DIMENSIONS_MAX)
    assert np.linalg.norm(short, axis=1) == pytest.approx([1.0, 0.0, 0.0, 1.0], abs=1e-5)
    assert reduced(np.zeros((0, 12), np.float32)).shape == (0, 12)


def test_identities_shift_between_tracks_and_none_is_made_or_lost():
    rng = np.random.default_rng(3)
    identity = rng.dirichlet(np.ones(6), size=9)
    moved = shifted(identity, rng.normal(0.0, 2.0, (9, 5)))
    assert moved.sum(axis=1) == pytest.approx(np.ones(9))
    assert moved.sum(axis=0) == pytest.approx(identity.sum(axis=0), abs=0.02)


def test_the_bound_of_evidence_holds_for_any_cosine():
    cosine = np.linspace(-1.0, 1.0, 41, dtype=np.float32).reshape(1, 41, 1)
    for lag in range(len(looks.LAGS_S) + 1):
        pairs = looks.Compared(
            gallery=np.array([0]),
            visits=1,
            cosine=cosine,
            known=np.ones(cosine.shape, np.bool_),
            lag=np.full(cosine.shape, lag, np.uint8),
        )
        ratio, _ = looks._ratios(Looks().moments, pairs, np.ones((41, 1)))
        assert (np.abs(ratio) <= looks.EVIDENCE_MAX).all()
        assert ratio.min() >= looks.TEMPER * looks.STRANGE_LOOK - 1e-6
        assert (np.diff(ratio[:, 0]) >= -1e-9).all() or ratio[-1, 0] > 0


def test_the_longer_ago_the_less_a_look_says():
    """Two people of whom one camera saw each a moment ago, or long ago."""
    pairs = [
        looks.Compared(
            gallery=np.array([0]),
            visits=1,
            cosine=np.full((1, 1, 1), 0.3, np.float32),
            known=np.ones((1, 1, 1), np.bool_),
            lag=np.full((1, 1, 1), lag, np.uint8),
        )
        for lag in (0, len(looks.LAGS_S))
    ]
    soon, late = (looks._ratios(Looks().moments, p, np.ones((1, 1)))[0][0, 0] for p in pairs)
    assert soon < late
