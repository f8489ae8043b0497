"""A full inbox sheds detections, oldest first, and counts them; nothing else is ever dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inbox import KEPT_FACTOR, Inbox
from messages.ids import CameraId, DeviceId, GateId
from messages.observations import (
    DeviceHealth,
    DeviceState,
    GateSignal,
    GateSignalKind,
    Observation,
    PersonDetections,
    ShelfSamples,
)


def inbox(limit: int = 4) -> Inbox:
    return Inbox(limit, now_ns=lambda: 7, wall_to_store_ns=lambda wall: wall)


def seen(sequence: int) -> PersonDetections:
    empty = np.zeros((0, 4), np.float32)
    return PersonDetections(
        camera=CameraId("c1"),
        received_at_ns=sequence,
        captured_at_ns=sequence,
        sequence=sequence,
        boxes_px=empty,
        feet_px=empty[:, :2],
        scores=empty[:, 0],
    )


def weighed(sequence: int) -> ShelfSamples:
    return ShelfSamples(
        device=DeviceId("n1"),
        received_at_ns=sequence,
        sequence=sequence,
        ticks_us=0,
        sample_period_us=1,
        flags=np.zeros(1, np.uint8),
        readings=np.zeros((1, 1), np.int32),
    )


def signal(sequence: int) -> GateSignal:
    return GateSignal(
        gate=GateId("g"),
        device=DeviceId("r"),
        kind=GateSignalKind.ENTER,
        received_at_ns=sequence,
    )


def numbers(observations: list[Observation]) -> list[int]:
    return [o.received_at_ns for o in observations]


def test_observations_leave_in_order_of_arrival() -> None:
    box = inbox()
    for i, make in enumerate((weighed, seen, signal)):
        box.put(make(i))
    assert numbers(box.drain()) == [0, 1, 2]
    assert box.drain() == []
    assert len(box) == 0


def test_full_inbox_sheds_the_oldest_detection_and_counts_it() -> None:
    box = inbox(limit=3)
    for i, make in enumerate((seen, weighed, seen, seen, weighed)):
        box.put(make(i))
    assert numbers(box.drain()) == [1, 3, 4]
    assert box.counts()["shed_by_source"] == {"c1": 2}


def test_weights_and_gate_signals_are_kept_beyond_the_limit_and_the_daemon_is_told() -> None:
    box = inbox(limit=2)
    count = 2 * KEPT_FACTOR + 1
    for i in range(count):
        assert not box.overfull
        box.put((weighed if i % 2 else signal)(i))
    assert box.overfull
    assert numbers(box.drain()) == list(range(count))
    assert box.shed.total() == 0


def test_gate_signal_asks_for_a_step_at_once() -> None:
    box = inbox()
    box.put(weighed(0))
    assert not box.urgent.is_set()
    box.put(signal(1))
    assert box.urgent.is_set()
    box.drain(1)
    assert box.urgent.is_set()  # the signal still waits
    box.drain()
    assert not box.urgent.is_set()


def test_last_word_on_each_device_is_kept_for_the_status() -> None:
    box = inbox()
    for state in (DeviceState.ONLINE, DeviceState.SILENT):
        box.put(DeviceHealth(device=DeviceId("n1"), received_at_ns=1, state=state))
    assert box.health["n1"].state is DeviceState.SILENT


def test_only_messages_of_the_catalogue_that_are_observations_enter() -> None:
    with pytest.raises(KeyError):
        inbox().put("nonsense")  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["w", "g", "d", "drain"]), max_size=60), st.integers(1, 6))
def test_only_detections_are_ever_missing(story: list[str], limit: int) -> None:
    box, put, got = inbox(limit), list[int](), list[int]()
    detections: set[int] = set()
    for i, what in enumerate(story):
        if what == "drain":
            got += numbers(box.drain(2))
            continue
        box.put({"w": weighed, "g": signal, "d": seen}[what](i))
        put.append(i)
        if what == "d":
            detections.add(i)
    while len(box):
        got += numbers(box.drain())
    assert got == sorted(got)
    missing = set(put) - set(got)
    assert missing <= detections
    assert len(missing) == box.shed.total()


def test_who_asked_is_told_once_the_observation_is_journalled() -> None:
    box, told = inbox(), list[str]()
    box.put(signal(1), lambda: told.append("gate"))
    drained = box.drain()
    assert told == []
    box.journalled(drained)
    box.journalled(drained)
    assert told == ["gate"]


def test_a_shed_detection_is_never_reported_as_durable() -> None:
    """Ids of objects come again: the next observation must not answer for one that is gone."""
    box, told = inbox(limit=1), []
    for sequence in range(200):
        box.put(seen(sequence), lambda n=sequence: told.append(n))
    kept = box.drain()
    box.journalled(kept)
    assert told == [199]
    for sequence in range(200, 400):
        box.put(seen(sequence))
        box.journalled(box.drain())
    assert told == [199]
