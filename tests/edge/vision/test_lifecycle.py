"""Tracks that turn out to be nobody give back what they may have been."""

import numpy as np
import pytest

from edge.vision.lifecycle import bequeath, wanted
from edge.vision.tracks import KNOWN, People

SECOND_NS = 1_000_000_000
SPACING_NS = 66_666_667


def people(identity: list[list[float]], lived_s: list[float], unseen_s: list[float]) -> People:
    """Known tracks at 100 s, each last seen ``unseen_s`` ago after being followed ``lived_s``."""
    n, found = len(identity), People()
    found.identity = np.zeros((0, len(identity[0])))
    found.append(np.zeros((4, n)), np.ones((10, n)), np.ones(n, np.bool_), 1, 0)
    found.phase[:] = KNOWN
    found.identity = np.array(identity)
    found.last_seen_ns = ((100.0 - np.array(unseen_s)) * SECOND_NS).astype(np.int64)
    found.born_ns = found.last_seen_ns - (np.array(lived_s) * SECOND_NS).astype(np.int64)
    return found


def test_a_short_lived_track_that_is_mostly_nobody_goes_after_three_seconds() -> None:
    found = people(
        [[0.06, 0.94], [0.06, 0.94], [0.94, 0.06]],
        lived_s=[0.8, 9.0, 0.8],
        unseen_s=[4.0, 4.0, 4.0],
    )
    assert wanted(found, 100 * SECOND_NS, SPACING_NS).tolist() == [False, True, True]


def test_the_others_of_a_visit_inherit_what_a_false_track_may_have_been() -> None:
    found = people([[0.06, 0.94], [0.94, 0.06]], lived_s=[0.8, 30.0], unseen_s=[4.0, 0.0])
    bequeath(found, np.array([False, True]))
    assert found.identity[1] == pytest.approx([1.0, 0.0])


def test_nobody_inherits_more_than_there_is_room_for() -> None:
    found = people([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]], [0.8, 30.0, 30.0], [4.0, 0.0, 0.0])
    bequeath(found, np.array([False, True, True]))
    assert found.identity[1:].sum(axis=1) == pytest.approx([1.0, 1.0])
    assert (found.identity[1:] >= 0.0).all()
    assert found.identity[1, 0] <= 1.0


def test_without_heirs_nothing_moves() -> None:
    found = people([[0.4, 0.0, 0.6], [0.0, 0.9, 0.1]], [0.8, 30.0], [4.0, 0.0])
    before = found.identity[1].copy()
    bequeath(found, np.array([False, True]))
    assert found.identity[1] == pytest.approx(before)
