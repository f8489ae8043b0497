"""The crowd bench on short scenes: what people see, the score, and the figures."""

from __future__ import annotations

import numpy as np
import pytest

from bench import crowd as bench
from bench.crowd_overlap import overlap_scene
from bench.crowd_scene import FLOOR_M, FPS, store_scene, visit_of
from bench.crowd_score import Knowledge, Rows, named_rows
from edge.vision.tracks import Tracks


def test_people_come_in_at_gates_and_go_out_at_gates():
    config, instants = store_scene(6, 1, seconds=22.0, stay_s=9.0)
    gates = {gate.id: gate for gate in config.gates}
    inside: set[int] = set()
    went = 0
    for seen in instants:
        for passage in seen.passages:
            assert gates[passage.gate].direction == ("entry" if passage.inwards else "exit")
            assert passage.inwards == (passage.person not in inside)
            inside ^= {passage.person}
            went += not passage.inwards
        assert set(seen.people.tolist()) == inside
        assert ((seen.position_m > -0.2) & (seen.position_m < FLOOR_M + 0.2)).all()
    assert went >= 1
    assert len(config.cameras) == 18


def test_the_same_seed_gives_the_same_detections_and_another_others():
    def boxes(seed):
        _, instants = store_scene(6, seed, seconds=4.0, stay_s=6.0)
        return np.concatenate([p.boxes_px for seen in instants for p in seen.packets])

    one = boxes(1)
    np.testing.assert_array_equal(one, boxes(1))
    assert len(one) > 20
    assert one.shape != boxes(2).shape


def test_four_cameras_on_high_see_nine_tenths_of_everybody():
    config, instants = overlap_scene(40, 1, seconds=4.0)
    images = list(instants)
    counts = [sum(len(p.scores) for p in seen.packets) for seen in images]
    assert 4 * 40 * 0.87 < np.mean(counts) < 4 * 40 * 0.97
    found = bench.played(config, iter(images), 40, introduce=True)["walkout"]
    assert found["idf1"] > 97.0
    assert found["identity_right"] > 0.97


def test_idf1_is_a_hundred_for_the_truth_and_half_after_an_exchange_half_way():
    same, exchanged = Rows(), Rows()
    at = np.array([[0.0, 0.0], [5.0, 0.0]])
    people = np.array([1, 2])
    for k in range(10):
        same.add(people, at, people, at)
        exchanged.add(people, at, people if k < 5 else people[::-1], at)
    assert same.idf1() == 100.0
    assert same.switches == 0
    assert exchanged.idf1() == 50.0
    assert exchanged.switches == 2


def test_tracks_that_are_elsewhere_or_missing_cost_idf1():
    rows = Rows()
    at = np.array([[0.0, 0.0], [5.0, 0.0]])
    for _ in range(10):
        rows.add(np.array([1, 2]), at, np.array([1, 7]), np.array([[0.0, 0.1], [9.0, 0.0]]))
    # ten of twenty people, ten of twenty tracks: 2 * 10 / 40
    assert rows.idf1() == 50.0


def _tracks(identity: list[list[float]], visits: tuple[int, ...], unseen_s: float = 0.0) -> Tracks:
    n, at_ns = len(identity), 10_000_000_000
    return Tracks(
        at_ns=at_ns,
        track_id=np.arange(n) + 3,
        position_store_m=np.column_stack((5.0 * np.arange(n), np.zeros(n))),
        velocity_m_s=np.zeros((n, 2)),
        covariance=np.zeros((n, 4, 4)),
        last_seen_ns=np.full(n, at_ns - int(unseen_s * 1e9)),
        visits=tuple(visit_of(v) for v in visits),
        identity=np.array(identity),
    )


def test_tracks_are_called_by_their_likeliest_visit_and_left_out_where_there_is_none():
    tracks = _tracks([[0.3, 0.3, 0.4], [0.1, 0.9, 0.0]], (4, 8))
    ids, place = named_rows(tracks)
    assert ids.tolist() == [8]
    np.testing.assert_array_equal(place, tracks.position_store_m[1:])
    assert len(named_rows(_tracks([[1.0, 0.0]], (4,), unseen_s=1.5))[0]) == 0


def test_sure_and_wrong_costs_more_than_a_doubt():
    told = [Knowledge(), Knowledge()]
    at = np.array([[0.0, 0.0], [5.0, 0.0]])
    for known, p in zip(told, (1.0, 0.5), strict=True):
        known.ask(
            _tracks([[1 - p, p, 0.0], [p, 1 - p, 0.0]], (1, 2)), [visit_of(1), visit_of(2)], at
        )
    sure, doubt = (known.figures() for known in told)
    assert sure["identity_log_loss"] == pytest.approx(-np.log(1e-4), abs=1e-4)
    assert doubt["identity_log_loss"] == pytest.approx(np.log(2), abs=1e-4)
    assert sure["identity_calibration_error"] == pytest.approx(1.0)
    assert sure["without_track"] == 0.0


def test_a_few_people_in_a_large_store_are_known_at_the_exit():
    config, instants = store_scene(3, 3, seconds=30.0, stay_s=14.0)
    found = bench.played(config, instants, round(20 * FPS))
    ours, plain = found["walkout"], found["plain"]
    assert ours["exits"] >= 2
    assert ours["right_credential"] == 1.0
    assert ours["identity_right"] > 0.99
    assert ours["idf1"] > 96.0
    assert ours["idf1"] > plain["idf1"] > 50.0
    assert 0 < ours["ms_per_instant"] <= ours["ms_per_instant_p99"]
