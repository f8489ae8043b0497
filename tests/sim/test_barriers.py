"""Gate answers and drivers' words in virtual time."""

from __future__ import annotations

import pytest

from messages.ids import DeviceId
from messages.observations import DeviceHealth, DeviceState, ShelfSamples
from sim.barriers import OPENS_AFTER_NS, Barriers
from sim.driver_health import DriverHealth
from sim.first_store import first_store
from sim.in_process import shelf_samples
from sim.outputs import Output, Passage, Scan, ShelfBatch
from sim.world import World, options

MS = 1_000_000
S = 1_000_000_000


def walk_in(delay_ms: int, step_ms: int) -> tuple[list[Output], int]:
    """Ten seconds of a world whose gate is answered after a while; what its devices sent."""
    barriers = Barriers(World.of(first_store(), options("honest", seed=5)))
    sent: list[Output] = []
    owed: list[tuple[int, Scan]] = []
    for now_ns in range(step_ms * MS, 10 * S, step_ms * MS):
        for scan in [scan for due_ns, scan in owed if due_ns <= now_ns]:
            barriers.unlocked(scan.gate, scan.party_size)
        owed = [one for one in owed if one[0] > now_ns]
        new = barriers.advance(now_ns)
        owed += [(s.at_ns + delay_ms * MS, s) for s in new if isinstance(s, Scan)]
        sent += new
    return sent, barriers.late


def instants(sent: list[Output]) -> list[tuple[str, int]]:
    return sorted((type(one).__name__, one.at_ns) for one in sent)


def test_answers_in_time_give_the_same_world_whatever_their_delay_and_the_steps():
    fast, _ = walk_in(delay_ms=0, step_ms=100)
    assert any(isinstance(one, Passage) for one in fast)
    for delay_ms, step_ms in ((60, 20), (300, 50)):
        other, late = walk_in(delay_ms, step_ms)
        until_ns = min(fast[-1].at_ns, other[-1].at_ns) - S  # the last step differs in length
        assert late == 0
        assert [x for x in instants(other) if x[1] < until_ns] == [
            x for x in instants(fast) if x[1] < until_ns
        ]


def test_an_answer_slower_than_the_barrier_is_counted_and_people_go_in_later():
    fast, _ = walk_in(delay_ms=0, step_ms=50)
    slow, late = walk_in(delay_ms=1500, step_ms=50)
    assert late >= 1
    first = [min(x.at_ns for x in sent if isinstance(x, Passage)) for sent in (fast, slow)]
    assert first[1] >= first[0] + 1 * S - OPENS_AFTER_NS // 2


# --- drivers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batches() -> list[ShelfSamples]:
    world = World.of(first_store(), options("honest", seed=5))
    return [shelf_samples(x) for x in world.advance(1 * S) if isinstance(x, ShelfBatch)]


def words(found, device: str) -> list[tuple[int, DeviceState]]:
    return [
        (one.received_at_ns, one.state)
        for one in found
        if isinstance(one, DeviceHealth) and one.device == DeviceId(device)
    ]


def test_a_shelf_node_is_online_with_its_first_batch_and_silent_after_two_seconds(batches):
    health, said = DriverHealth.of(first_store()), []
    for now_ns in range(100 * MS, 6 * S, 100 * MS):
        new = [b for b in batches if now_ns - 100 * MS < b.received_at_ns <= now_ns]
        said += words(health.after(now_ns, new), "shelf-1")
    heard_ns = max(b.received_at_ns for b in batches if b.device == "shelf-1")
    assert [state for _, state in said] == [DeviceState.ONLINE, DeviceState.SILENT]
    assert 2 * S < said[1][0] - heard_ns <= 2 * S + 100 * MS


def test_a_node_that_never_sends_is_silent_and_a_reader_never_is():
    health, shelf, reader = DriverHealth.of(first_store()), [], []
    for now_ns in range(100 * MS, 25 * S, 100 * MS):
        found = health.after(now_ns, [])
        shelf += words(found, "shelf-1")
        reader += words(found, "reader-1")
    assert {state for _, state in shelf} == {DeviceState.SILENT}
    assert [at // S for at, _ in reader] == [0, 10, 20]  # a word each ten seconds
    assert {state for _, state in reader} == {DeviceState.ONLINE}
