"""Availability of a second system: the ramp, the circuit, its probes."""

from __future__ import annotations

import pytest

from cloud_sync.destinations import (
    DOWN_AFTER,
    PARALLEL_MAX,
    TABLE,
    UP_AFTER,
    Availability,
    Destination,
    Sign,
)

WAIT_NS = 100


def up(**fields: int) -> Destination:
    place = Destination(name="broker", **fields)
    for _ in range(200):
        place.answered(1)
    return place


def down() -> Destination:
    place = up()
    for _ in range(DOWN_AFTER):
        place.failed(10, "no answer", WAIT_NS)
    return place


def test_the_table_knows_every_state_and_sign() -> None:
    assert set(TABLE) == {(state, sign) for state in Availability for sign in Sign}


def test_answers_widen_the_window_to_its_bound_and_a_failure_halves_it() -> None:
    place = Destination(name="broker")
    assert place.room(0) == 4
    place.answered(0)
    assert place.room(0) == 5
    assert up().room(0) == PARALLEL_MAX
    degraded = up()
    degraded.failed(5, "no answer", WAIT_NS)
    assert (degraded.state, degraded.room(5)) == (Availability.DEGRADED, PARALLEL_MAX // 2)
    assert (degraded.since_ns, degraded.detail) == (5, "no answer")


def test_failures_in_a_row_open_the_circuit_for_one_probe_at_a_time() -> None:
    place = down()
    assert place.state is Availability.DOWN
    assert [place.room(109), place.room(110)] == [0, 1]
    place.in_flight = 1
    assert place.room(110) == 0
    assert place.opens_at_ns() is None


def test_an_answer_between_failures_keeps_the_circuit_closed() -> None:
    place = up()
    for _ in range(10 * DOWN_AFTER):
        place.failed(1, "500", WAIT_NS)
        place.answered(1)
    assert not place.down


def test_those_under_way_when_it_opened_do_not_lengthen_the_wait() -> None:
    place = down()
    place.failed(50, "late failure", 10 * WAIT_NS)
    assert (place.probe_at_ns, place.probes) == (110, 1)
    place.failed(120, "the probe failed", 10 * WAIT_NS)
    assert (place.probe_at_ns, place.probes) == (1120, 2)


def test_a_system_that_is_back_meets_a_ramp_and_is_up_after_some_answers() -> None:
    place, rooms = down(), list[int]()
    for _ in range(UP_AFTER + 1):
        place.answered(200)
        rooms.append(place.room(200))
    assert rooms == [2, 3, 4, 5]
    assert (place.state, place.detail) == (Availability.UP, "")
    place = down()
    place.answered(200)
    assert place.state is Availability.DEGRADED


@pytest.mark.parametrize("start", [up, down])
def test_who_throttles_is_there(start: type[Destination]) -> None:
    place = start()
    for _ in range(20):
        place.throttled(300, "429")
    assert (place.state, place.room(300)) == (Availability.DEGRADED, 1)


def test_one_rejection_opens_the_circuit_and_any_answer_closes_it() -> None:
    place = up()
    place.rejected(10, "401", WAIT_NS)
    assert (place.barred, place.room(109), place.room(110)) == (True, 0, 1)
    place.answered(110)
    assert (place.barred, place.down) == (False, False)


def test_a_disabled_destination_gets_nothing_whatever_its_state() -> None:
    for place in (up(), down()):
        place.disabled = "410"
        assert (place.room(10**12), place.opens_at_ns()) == (0, None)


def test_latency_is_a_mean_of_the_last_answers() -> None:
    place = up()
    place.took(0.1)
    assert place.latency_ms == pytest.approx(100.0)
    for _ in range(100):
        place.took(0.01)
    assert place.latency_ms == pytest.approx(10.0, rel=0.01)
