"""The store core as a whole: the same arguments give the same events, whatever happens between."""

from dataclasses import replace

import numpy as np
import pytest

from edge.engine import Engine, Outputs, restore, snapshot
from messages.codec import encode, encode_many
from messages.events import (
    AlarmCleared,
    AlarmRaised,
    CartClosed,
    EndReason,
    Event,
    ReviewRequested,
    ReviewResolved,
    VisitEnded,
    VisitStarted,
)
from messages.observations import (
    ClockAnchor,
    DeviceHealth,
    DeviceState,
    GateSignal,
    GateSignalKind,
    Observation,
    OperatorAction,
    OperatorActionKind,
    PersonDetections,
    ReviewAnswer,
    StepSetAside,
)
from messages.store_config import Decision, StoreConfig
from sim.first_store import first_store
from sim.in_process import WALL_START_NS, TokenIssuer, observed
from sim.world import options

S = 1_000_000_000
STEP_NS = 100_000_000
Day = list[tuple[int, list[Observation]]]


@pytest.fixture(scope="module")
def store() -> StoreConfig:
    config = replace(first_store(), decision=Decision(review_deadline_s=5.0))
    return replace(config, credential_keys=(TokenIssuer(str(config.store)).credential_key,))


@pytest.fixture(scope="module")
def day(store) -> tuple[StoreConfig, Day, list[Outputs]]:
    """The arguments of every step of a short store day, and what the engine answered."""
    config, world = observed(store, options("honest", seed=3))
    engine, steps, answers = Engine(config), [], []
    for k in range(1, 800):
        now_ns = k * STEP_NS
        seen = world.observations(now_ns)
        steps.append((now_ns, seen))
        answers.append(engine.step(now_ns, seen))
        world.obey(answers[-1].commands, now_ns)
    return config, steps, answers


def events_of(answers: list[Outputs]) -> list[Event]:
    return [event for answer in answers for event in answer.events]


def test_a_replay_gives_the_same_events_byte_for_byte(day):
    config, steps, answers = day
    again = Engine(config)
    for (now_ns, seen), answer in zip(steps, answers, strict=True):
        got = again.step(now_ns, seen)
        assert encode_many(got.events) == encode_many(answer.events)
        assert got.commands == answer.commands
    assert len(events_of(answers)) > 5


def test_an_engine_restored_from_a_snapshot_goes_on_as_if_nothing_had_happened(day):
    config, steps, answers = day
    engine = Engine(config)
    for k, ((now_ns, seen), answer) in enumerate(zip(steps, answers, strict=True)):
        if k % 37 == 36:
            engine = restore(config, snapshot(engine))
        got = engine.step(now_ns, seen)
        assert encode_many(got.events) == encode_many(answer.events), f"step {k}"


def test_observations_survive_the_journal_without_changing_a_step(day):
    from messages.codec import decode_many

    config, steps, answers = day
    engine = Engine(config)
    for (now_ns, seen), answer in zip(steps[:200], answers[:200], strict=True):
        got = engine.step(now_ns, decode_many(encode_many(seen)))
        assert encode_many(got.events) == encode_many(answer.events)


def test_ids_are_unique_and_name_store_step_and_index(day):
    config, _, answers = day
    ids = [event.id for event in events_of(answers)]
    assert len(ids) == len(set(ids))
    assert all(event_id.startswith(f"{config.store}-") for event_id in ids)


def test_every_visit_that_ended_gets_exactly_one_closed_cart(day):
    _, _, answers = day
    events = events_of(answers)
    ended = [e.visit for e in events if isinstance(e, VisitEnded)]
    closed = [e.visit for e in events if isinstance(e, CartClosed)]
    assert len(closed) == len(set(closed))
    assert set(closed) <= set(ended)
    assert closed


def test_an_open_visit_survives_a_change_of_the_configuration(day):
    config, steps, _ = day
    engine = Engine(config)
    for now_ns, seen in steps[:150]:
        engine.step(now_ns, seen)
    inside = set(engine.state.visits)
    changed = without_last_node(config)
    again = restore(changed, snapshot(engine))
    again.step(steps[150][0], [])
    assert inside
    assert set(again.state.visits) == inside
    assert len(again.sensing.level_g()) == len(changed.plates) < len(config.plates)


def without_last_node(config: StoreConfig) -> StoreConfig:
    gone = set(config.shelf_nodes[-1].plates)
    return replace(
        config,
        plates=tuple(plate for plate in config.plates if plate.id not in gone),
        facings=tuple(facing for facing in config.facings if not gone & set(facing.plates)),
        shelf_nodes=config.shelf_nodes[:-1],
        toml="another text",
    )


# --- small stories --------------------------------------------------------------------------


def open_store(store) -> Engine:
    engine = Engine(store)
    engine.step(S, [ClockAnchor(received_at_ns=S, wall_ns=WALL_START_NS + S, uncertainty_ms=5)])
    return engine


def at_the_gate(store, jti="c1", at_ns=2 * S, kind=GateSignalKind.CREDENTIAL, gate=None):
    token = None
    if kind is GateSignalKind.CREDENTIAL:
        token = TokenIssuer(str(store.store)).token(jti, "acct", 1, WALL_START_NS + at_ns)
    return GateSignal(
        gate=gate or store.gates[0].id,
        device="reader",
        kind=kind,
        received_at_ns=at_ns,
        credential=token,
    )


def test_time_that_goes_backwards_is_refused_and_changes_nothing(store):
    engine = open_store(store)
    before = snapshot(engine)
    with pytest.raises(ValueError, match="backwards"):
        engine.step(S - 1, [])
    assert snapshot(engine) == before


def test_an_empty_visit_ends_with_an_empty_cart(store):
    engine = open_store(store)
    engine.step(2 * S, [at_the_gate(store)])
    engine.step(3 * S, [at_the_gate(store, at_ns=3 * S, kind=GateSignalKind.ENTER)])
    assert engine.people_inside() == 1
    leave = at_the_gate(store, at_ns=9 * S, kind=GateSignalKind.EXIT, gate=store.gates[-1].id)
    ended = engine.step(9 * S, [leave])
    assert [type(e) for e in ended.events] == [VisitEnded]
    closed = [e for k in range(10, 16) for e in engine.step(k * S, []).events]
    assert [type(e) for e in closed] == [CartClosed]
    assert closed[0].lines == ()
    assert closed[0].started_at_wall_ns == WALL_START_NS + 2 * S
    assert engine.state.visits == {}


def test_visits_end_when_as_many_left_as_were_inside_though_nobody_was_recognized(
    store, monkeypatch
):
    engine = open_store(store)
    exit_gate = store.gates[-1].id
    for k, jti in enumerate(("c1", "c2")):
        engine.step((2 + 2 * k) * S, [at_the_gate(store, jti, at_ns=(2 + 2 * k) * S)])
        came = at_the_gate(store, at_ns=(3 + 2 * k) * S, kind=GateSignalKind.ENTER)
        engine.step((3 + 2 * k) * S, [came])
    monkeypatch.setattr(engine.people, "left", lambda gate, at_ns: {"": 1.0})
    events = []
    for at_s in (20, 21):
        gone = at_the_gate(store, at_ns=at_s * S, kind=GateSignalKind.EXIT, gate=exit_gate)
        events.append([type(event) for event in engine.step(at_s * S, [gone]).events])
    assert events == [[], [VisitEnded, VisitEnded]]
    assert engine.people_inside() == 0


def test_after_an_ambiguous_exit_who_may_have_left_is_asked_about(store, monkeypatch):
    engine = open_store(store)
    for k, jti in enumerate(("c1", "c2")):
        engine.step((2 + 2 * k) * S, [at_the_gate(store, jti, at_ns=(2 + 2 * k) * S)])
        came = at_the_gate(store, at_ns=(3 + 2 * k) * S, kind=GateSignalKind.ENTER)
        engine.step((3 + 2 * k) * S, [came])
    first, second = engine.state.visits
    monkeypatch.setattr(engine.people, "left", lambda gate, at_ns: {first: 0.6, second: 0.4})
    gone = at_the_gate(store, at_ns=9 * S, kind=GateSignalKind.EXIT, gate=store.gates[-1].id)
    (ended,) = engine.step(9 * S, [gone]).events
    assert ended.visit == first
    assert engine.carts.state.visits[second].mistakable_ns
    assert not engine.carts.state.visits[first].mistakable_ns


def test_a_passage_repeated_by_its_controller_counts_once_also_after_a_restart(store):
    engine = open_store(store)
    engine.step(2 * S, [at_the_gate(store)])
    came = replace(at_the_gate(store, at_ns=3 * S, kind=GateSignalKind.ENTER), number=256)
    engine.step(3 * S, [came])
    engine = restore(store, snapshot(engine))
    assert engine.step(4 * S, [came]).events == ()
    assert engine.people_inside() == 1
    assert engine.state.counters["gate_signals_repeated"] == 1


def test_nobody_passing_ends_the_visit_with_an_empty_cart(store):
    engine = open_store(store)
    engine.step(2 * S, [at_the_gate(store)])
    events = [e for k in range(3, 30) for e in engine.step(k * S, []).events]
    assert [type(e) for e in events] == [VisitEnded, CartClosed]
    assert events[0].reason is EndReason.NO_PASSAGE


def test_a_visit_whose_exit_nobody_saw_ends_after_the_time_limit(store):
    short = replace(store, decision=Decision(visit_timeout_s=60.0, review_deadline_s=1.0))
    engine = open_store(short)
    engine.step(2 * S, [at_the_gate(short)])
    engine.step(3 * S, [at_the_gate(short, at_ns=3 * S, kind=GateSignalKind.ENTER)])
    events = [e for k in range(4, 90) for e in engine.step(k * S, []).events]
    assert [e.reason for e in events if isinstance(e, VisitEnded)] == [EndReason.TIMEOUT]
    assert any(isinstance(e, AlarmRaised) and "exit not seen" in e.detail for e in events)
    assert sum(isinstance(e, CartClosed) for e in events) == 1


def empty_images(store: StoreConfig, at_ns: int, cameras: int) -> list[Observation]:
    none = np.zeros((0, 4), np.float32)
    return [
        PersonDetections(
            camera=camera.id,
            received_at_ns=at_ns,
            captured_at_ns=at_ns,
            sequence=at_ns // STEP_NS,
            boxes_px=none,
            feet_px=none[:, :2],
            scores=none[:, 0],
        )
        for camera in store.cameras[:cameras]
    ]


@pytest.mark.parametrize(("cameras", "ends"), [(4, [EndReason.EMPTY_STORE]), (3, [])])
def test_a_visit_whose_exit_was_not_counted_ends_once_all_cameras_see_an_empty_store(
    store, cameras, ends
):
    engine = open_store(store)
    engine.step(2 * S, [at_the_gate(store)])
    engine.step(3 * S, [at_the_gate(store, at_ns=3 * S, kind=GateSignalKind.ENTER)])
    events = []
    for step in range(31, 700):
        at_ns = step * STEP_NS
        events += engine.step(at_ns, empty_images(store, at_ns, cameras)).events
    assert [e.reason for e in events if isinstance(e, VisitEnded)] == ends
    assert sum(isinstance(e, CartClosed) for e in events) == len(ends)


def test_an_unplugged_shelf_raises_an_alarm_once_and_clears_it(store):
    engine = open_store(store)
    node = store.shelf_nodes[0].id
    lost = DeviceHealth(
        device=node, received_at_ns=2 * S, state=DeviceState.UNPLUGGED, detail="port gone"
    )
    (alarm,) = engine.step(2 * S, [lost]).events
    assert isinstance(alarm, AlarmRaised)
    assert "unknown" in alarm.detail
    assert engine.step(3 * S, [replace(lost, received_at_ns=3 * S)]).events == ()
    back = DeviceHealth(device=node, received_at_ns=4 * S, state=DeviceState.ONLINE)
    (cleared,) = engine.step(4 * S, [back]).events
    assert isinstance(cleared, AlarmCleared)


def test_a_step_set_aside_raises_an_alarm_and_sends_open_carts_to_review(store):
    engine = open_store(store)
    started = engine.step(2 * S, [at_the_gate(store)]).events[0]
    assert isinstance(started, VisitStarted)
    engine.step(3 * S, [at_the_gate(store, at_ns=3 * S, kind=GateSignalKind.ENTER)])
    aside = StepSetAside(received_at_ns=4 * S, step=3, error="boom")
    events = engine.step(4 * S, [aside]).events
    alarm = next(e for e in events if isinstance(e, AlarmRaised))
    assert alarm.severity == "critical"
    assert "boom" in alarm.detail
    (review,) = [e for e in events if isinstance(e, ReviewRequested)]
    assert review.visits == (started.visit,)
    answer = ReviewAnswer(review=review.review, visit=None)
    action = OperatorAction(
        kind=OperatorActionKind.REVIEW_ANSWER,
        received_at_ns=5 * S,
        operator="console",
        review_answer=answer,
    )
    (resolved,) = engine.step(5 * S, [action]).events
    assert isinstance(resolved, ReviewResolved)


def test_an_answer_to_an_unknown_review_is_an_alarm_and_no_crash(store):
    engine = open_store(store)
    action = OperatorAction(
        kind=OperatorActionKind.REVIEW_ANSWER,
        received_at_ns=2 * S,
        operator="console",
        review_answer=ReviewAnswer(review="nonsense", visit=None),
    )
    (alarm,) = engine.step(2 * S, [action]).events
    assert isinstance(alarm, AlarmRaised)
    assert "nonsense" in alarm.detail


def test_a_changed_planogram_is_taken_over_and_an_impossible_one_is_an_alarm(store):
    engine = open_store(store)
    facing = store.facings[0].id or store.facings[0].plates[0]

    def change(sku):
        return OperatorAction(
            kind=OperatorActionKind.PLANOGRAM_CHANGE,
            received_at_ns=2 * S,
            operator="console",
            facing_sku=(facing, sku),
        )

    assert engine.step(2 * S, [change(store.products[5].id)]).events == ()
    (alarm,) = engine.step(3 * S, [change("no-such-thing")]).events
    assert isinstance(alarm, AlarmRaised)
    assert "no-such-thing" in alarm.detail


def test_a_view_is_plain_json(day):
    import json

    config, steps, _ = day
    engine = Engine(config)
    for now_ns, seen in steps[:120]:
        engine.step(now_ns, seen)
    view = json.loads(json.dumps(engine.view()))
    assert view["visits"]
    assert view["people"]


def test_events_of_the_core_are_encodable(day):
    for event in events_of(day[2]):
        assert encode(event)
