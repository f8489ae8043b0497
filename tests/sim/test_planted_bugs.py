"""Bugs planted in real parts of a real run: each is seen by the referee or by the scores.

One run of the world is kept step by step; each test gives the same steps to a fresh engine with a
bug in it. Without a bug the engine says what it said in the run, and nobody complains.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker import ledger
from cloud_sync.purchase import Ask, Operation
from edge import cart_tracker
from edge.carts.decision import Verdict, take_verdict
from edge.engine import Engine
from edge.sensors.weight_steps import WeightSteps
from messages.commands import Command
from messages.events import CartClosed, Event, ItemReturned, ItemTaken, VisitEnded
from messages.observations import Observation, ShelfSamples
from sim import replay
from sim.in_process import Run, play, prepared
from sim.layouts import layout
from sim.money_leg import MoneyLeg
from sim.referee import Breach, check, money_breaches
from sim.referee_mass import StepWatch
from sim.score import RunScore, errors, score_run
from sim.script import Act, Do, Kind, Member, PartyScript, Scenario
from sim.world import Options

TOMATOES, RICE = "a2-tomatoes-tin-400g", "a2-rice-1kg"
SCENARIO = Scenario(
    name="planted",
    title="One takes two things and puts one back; another knocks the gondola four times",
    kind=Kind.HARD,
    store="corner",
    duration_s=12.0,
    parties=(
        PartyScript(
            name="anna",
            arrives_s=(1.0, 1.5),
            members=(
                Member(
                    do=(
                        Do(act=Act.TAKE, facing=TOMATOES),
                        Do(act=Act.TAKE, facing=RICE),
                        Do(act=Act.RETURN, sku="rice-1kg", facing=RICE, after_s=(1.0, 1.5)),
                    )
                ),
            ),
        ),
        PartyScript(
            name="ben",
            arrives_s=(9.0, 9.5),
            members=(
                Member(
                    do=(
                        Do(act=Act.BUMP, facing="b2-yoghurt-plain-150g"),
                        *(
                            Do(act=Act.BUMP, facing="b2-yoghurt-plain-150g", after_s=(1.5, 2.0))
                            for _ in range(3)
                        ),
                    )
                ),
            ),
        ),
    ),
)
SEED = 3
PRICE = 109  # of the tomatoes that anna keeps, in cents


@dataclass(slots=True)
class Tape:
    """What the engine was given."""

    steps: list[tuple[int, tuple[Observation, ...]]] = field(default_factory=list)

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        self.steps.append((now_ns, tuple(observations)))

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None: ...


@pytest.fixture(scope="module")
def day() -> tuple[Run, Tape]:
    """The run without a bug."""
    tape = Tape()
    done, seen = prepared(
        layout(SCENARIO.store), Options(seed=SEED), script=SCENARIO, review_deadline_s=5.0
    )
    play(done, seen, duration_s=SCENARIO.duration_s, tap=tape)
    return done, tape


def again(day: tuple[Run, Tape], plant: Callable[[Engine], None] = lambda engine: None) -> Run:
    """The same steps through a fresh engine with a bug planted in it."""
    clean, tape = day
    assert clean.watch is not None
    engine = Engine(clean.config)
    watch = StepWatch.on(engine, clean.world.stock)
    watch.start_g = clean.watch.start_g
    plant(engine)
    run = replace_run(clean, engine, watch)
    for now_ns, observations in tape.steps:
        run.events.extend(engine.step(now_ns, observations).events)
    return run


def replace_run(clean: Run, engine: Engine, watch: StepWatch) -> Run:
    return Run(
        clean.config,
        clean.world,
        engine,
        now_ns=clean.now_ns,
        doors_closed_ns=clean.doors_closed_ns,
        emptied_ns=clean.emptied_ns,
        watch=watch,
    )


def scored(run: Run, folder: Path) -> RunScore:
    """The run's receipts beside its truth, as ``walkout score`` sees them."""
    folder.mkdir()
    replay.write_json(folder / "truth.json", run.truth.document())
    replay.write_json(folder / "receipts.json", replay.receipts(run.events))
    return score_run(folder)


def kinds(breaches: Iterable[Breach]) -> set[str]:
    return {breach.kind for breach in breaches}


def test_run_without_a_bug_breaks_no_promise(day: tuple[Run, Tape], tmp_path: Path) -> None:
    clean, _ = day
    assert clean.settled
    assert {type(e) for e in clean.events} >= {ItemTaken, ItemReturned, VisitEnded, CartClosed}
    assert check(clean, replay.events_sha(again(day).events)) == []
    found = scored(clean, tmp_path / "run")
    assert len(found.visits) == 2
    assert not any(errors([found]).values())


def test_attribution_that_ignores_put_backs_is_caught(
    day: tuple[Run, Tape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = Verdict(counted="nothing")
    monkeypatch.setattr(cart_tracker, "put_verdict", lambda *about: ignored)
    run = again(day)
    found = [breach for breach in check(run, None) if breach.kind == "mass"]
    assert any("came to a2" in breach.text for breach in found)
    truth = {action.kind: action.at_ns / 1e9 for action in run.truth.actions}
    assert any(abs(breach.at_s - truth["return"]) < 3.0 for breach in found)
    wrong = scored(run, tmp_path / "run")
    assert errors([wrong])["phantom"] == 1
    assert [v.guess for v in wrong.wrong] == [{"rice-1kg": 1, "tomatoes-tin-400g": 1}]


def test_step_detector_that_fires_on_bumps_is_caught(day: tuple[Run, Tape]) -> None:
    def plant(engine: Engine) -> None:
        honest = engine.sensing.step
        engine.sensing.step = lambda now_ns, batches: _with_jolts(  # type: ignore[method-assign]
            engine, now_ns, batches, honest(now_ns, batches)
        )

    found = [breach for breach in check(again(day, plant), None) if breach.kind == "mass"]
    assert any("weight steps add up to" in breach.text for breach in found)


JOLT_G = 12.0  # spread of one batch on half the plates of a shelf: it rings


def _with_jolts(
    engine: Engine, now_ns: int, batches: Sequence[ShelfSamples], steps: WeightSteps
) -> WeightSteps:
    """The honest steps, and one for each shelf that rings: a cup seems to be gone."""
    config = engine.config
    for batch in batches:
        node = next(n for n in config.shelf_nodes if n.id == batch.device)
        plates = [config.plate_index[p] for p in node.plates]
        span = np.array([config.plates[p].grams_per_count for p in plates])
        spread = np.ptp(batch.readings * span, axis=0)
        shelf = np.array([config.shelf_index[config.plates[p].shelf] for p in plates])
        for one in np.unique(shelf):
            if np.median(spread[shelf == one]) > JOLT_G:
                plate = plates[int(np.flatnonzero(shelf == one)[0])]
                steps = _one_more(steps, int(one), plate, now_ns, len(config.plates))
    return steps


def _one_more(steps: WeightSteps, shelf: int, plate: int, now_ns: int, plates: int) -> WeightSteps:
    mass = np.zeros((1, plates))
    mass[0, plate] = -160.0
    sd = np.zeros((1, plates))
    sd[0, plate] = 3.0
    ns = np.array([now_ns])
    new: dict[str, Any] = {
        "step_id": np.array([1_000_000 + now_ns // 1_000_000 * 100 + shelf]),
        "shelf": np.array([shelf]),
        "started_at_ns": ns - 400_000_000,
        "ended_at_ns": ns,
        "mass_g": np.array([-160.0]),
        "mass_sd_g": np.array([3.0]),
        "plate_mass_g": mass,
        "plate_sd_g": sd,
        "flags": np.array([0]),
    }
    return WeightSteps(**{k: np.concatenate([getattr(steps, k), v]) for k, v in new.items()})


def test_weight_step_that_is_lost_on_its_way_is_caught(day: tuple[Run, Tape]) -> None:
    def plant(engine: Engine) -> None:
        judged = engine.carts._judged
        dropped: list[int] = []

        def step(now_ns: int, held: Any, people: Any, *, final: bool) -> Any:
            if not dropped:
                dropped.append(held.step_id)
                return []
            return judged(now_ns, held, people, final=final)

        engine.carts._judged = step  # type: ignore[method-assign]

    found = check(again(day, plant), None)
    assert any("verdicts" in breach.text for breach in found)


def test_negative_quantity_is_caught(day: tuple[Run, Tape]) -> None:
    def plant(engine: Engine) -> None:
        honest = engine.carts._returned

        def returned(now_ns: int, part: Any, evidence: Any) -> Event:
            return honest(now_ns, replace(part, quantity=part.quantity + 2), evidence)

        engine.carts._returned = returned  # type: ignore[method-assign]

    found = [breach for breach in check(again(day, plant), None) if breach.kind == "cart"]
    assert len(found) == 1
    assert "returned 3 rice-1kg of 1: quantity -2" in found[0].text
    assert found[0].visit
    assert found[0].at_s > 0


def test_visit_that_never_ends_is_caught(day: tuple[Run, Tape]) -> None:
    def plant(engine: Engine) -> None:
        engine._visit_ended = lambda *about: None  # type: ignore[method-assign]

    found = check(again(day, plant), None)
    assert [b.text for b in found if b.kind == "visit"] == [
        "everybody is out, and it never ended"
    ] * 2


# --- money ------------------------------------------------------------------------------------


class TwiceOverTheWire(MoneyLeg):
    """An outbox that forgets what it sent: the capture goes again, under another id."""

    def _transacted(self, ask: Ask, asked: bytes) -> Any:
        if ask.operation is Operation.CAPTURE:
            MoneyLeg._transacted(self, ask, asked.replace(b'"capture-', b'"once-more-'))
        return MoneyLeg._transacted(self, ask, asked)


def test_double_capture_of_one_hold_is_caught(
    day: tuple[Run, Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    captured, again_ = ledger.HoldStatus.CAPTURED, ledger.HoldSignal.CAPTURE
    monkeypatch.setitem(ledger.TRANSITIONS, (captured, again_), captured)
    run, _ = day
    found = money_breaches(run.config, run.events, _leg(TwiceOverTheWire, run, unguarded=True))
    assert any(f"captured [{PRICE}, {PRICE}] instead of [{PRICE}]" in b.text for b in found)
    assert any(f"captured {2 * PRICE}, its price is {PRICE}" in b.text for b in found)


def test_double_capture_under_two_holds_is_caught(day: tuple[Run, Tape]) -> None:
    """A payment provider that holds twice, and captures both."""

    class TwoHolds(MoneyLeg):
        def _transacted(self, ask: Ask, asked: bytes) -> Any:
            if ask.operation in (Operation.HOLD, Operation.CAPTURE):
                second = replace(ask, hold=f"second-{ask.hold}")
                body = asked.replace(b'"hold-', b'"second-hold-')
                MoneyLeg._transacted(self, second, body.replace(b'"capture-', b'"second-capture-'))
            return MoneyLeg._transacted(self, ask, asked)

    run, _ = day
    found = money_breaches(run.config, run.events, _leg(TwoHolds, run))
    assert any("captured for no closed cart" in breach.text for breach in found)


def test_outbox_row_that_is_lost_is_caught(day: tuple[Run, Tape]) -> None:
    class Forgetful(MoneyLeg):
        def feed(self, events: Iterable[Event]) -> None:
            kept = [e for e in events if not (isinstance(e, CartClosed) and e.lines)]
            MoneyLeg.feed(self, kept)

    run, _ = day
    found = money_breaches(run.config, run.events, _leg(Forgetful, run))
    lost = next(e for e in run.events if isinstance(e, CartClosed) and e.lines)
    assert (lost.visit, "0 receipts instead of one") in {
        (b.visit, b.text.partition(": ")[2]) for b in found
    }
    assert all(breach.at_s > 0 for breach in found)


def test_cart_that_is_closed_twice_is_settled_once_and_caught(day: tuple[Run, Tape]) -> None:
    run, _ = day
    twice = [e for event in run.events for e in ((event,) * (1 + isinstance(event, CartClosed)))]
    found = money_breaches(run.config, twice)
    assert any("SettlementError" in breach.text for breach in found)


def _leg(kind: type[MoneyLeg], run: Run, *, unguarded: bool = False) -> MoneyLeg:
    plain = MoneyLeg.of(run.config)
    if unguarded:
        _without_unique_holds(plain.ledger)
    return kind(plain.terms, plain.catalogue, plain.ledger)


def _without_unique_holds(db: sqlite3.Connection) -> None:
    """The schema alone would stop it: one capture a hold. Take that guard away too."""
    [(made,)] = db.execute("SELECT sql FROM sqlite_master WHERE name = 'capture'").fetchall()
    db.execute("DROP TABLE capture")
    db.execute(made.replace("hold TEXT NOT NULL UNIQUE", "hold TEXT NOT NULL"))


# --- replay -----------------------------------------------------------------------------------


def _less_sure(*about: Any) -> Verdict:
    """The same conclusions, with a probability that differs in its last digits."""
    verdict = take_verdict(*about)
    sure = tuple(replace(part, probability=part.probability - 1e-9) for part in verdict.sure)
    return replace(verdict, sure=sure)


def test_replay_that_differs_is_caught(
    day: tuple[Run, Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, _ = day
    monkeypatch.setattr(cart_tracker, "take_verdict", _less_sure)
    other = again(day)
    found = check(clean, replay.events_sha(other.events))
    assert kinds(found) == {"replay"}
    assert found[0].at_s == clean.now_ns / 1e9
