"""The bench of carts: its published ways are no strawmen, its figures exact, its runs the same."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from bench import carts, carts_picture, carts_run, carts_sweep
from bench.carts_baselines import (
    METHODS,
    Book,
    Event,
    apart,
    by_mass,
    by_place_and_mass,
    events_of_reports,
)
from bench.carts_crowd import weight_step_ms
from bench.carts_figures import upper_per_1000
from bench.carts_run import OURS, Played, played
from bench.weight_match import Report
from sim.first_store import scaled
from sim.script import Act, Do, Kind, Member, PartyScript, Scenario
from sim.shelf_physics import Quirks

# One shopper, three things that no other thing of their shelf weighs like, quiet load cells.
EASY = Scenario(
    name="easy",
    title="What every way must get right",
    kind=Kind.ORDINARY,
    store="corner",
    duration_s=16.0,
    parties=(
        PartyScript(
            name="one",
            members=(
                Member(
                    do=(
                        Do(act=Act.TAKE, facing="b1-wine-red-750ml"),
                        Do(act=Act.TAKE, facing="b2-salad-bowl", after_s=(1.0, 2.0)),
                        Do(act=Act.RETURN, after_s=(2.0, 3.0)),
                    )
                ),
            ),
        ),
    ),
    quirks=Quirks(noise=0.3),
)


@pytest.fixture(scope="module")
def easy() -> Played:
    return played(EASY, 101)


def moved(grams: dict[int, float], shelf: int = 0) -> Event:
    moved_g = np.zeros(360)
    for plate, mass_g in grams.items():
        moved_g[plate] = mass_g
    return Event(shelf=shelf, from_ns=0, to_ns=1, moved_g=moved_g)


@pytest.fixture
def book() -> Book:
    return Book.of(replace(scaled(360), cameras=()))


def product_on(book: Book, plate: int) -> int:
    return int(np.flatnonzero(book.stands[:, plate])[0])


def all_of(book: Book, units: int) -> np.ndarray:
    return np.full(len(book.mass_g), units)


def test_every_way_gets_an_easy_visit_right(easy: Played) -> None:
    assert set(easy.scores) == {OURS, *METHODS}
    for name, score in easy.scores.items():
        (visit,) = score.visits
        assert visit.truth == {"wine-red-750ml": 1}
        assert visit.guess == visit.truth, name
    assert easy.weight_steps >= 3


def test_the_winner_takes_place_before_mass_and_the_other_one_mass_alone(book: Book) -> None:
    here = product_on(book, 0)
    other = next(p for p in range(5) if p != here and abs(book.mass_g[p] - book.mass_g[here]) > 20)
    event = moved({0: -float(book.mass_g[other])})
    assert by_place_and_mass(book, event, all_of(book, 3)) == (here, 1) or book.mass_g[here] < 100
    book.stands[other, 5] = True
    chosen = by_mass(book, event, all_of(book, 3))
    assert chosen is not None
    size = abs(event.moved_g.sum())
    assert abs(size - chosen[1] * book.mass_g[chosen[0]]) <= 1e-9


def test_a_put_back_is_chosen_among_what_is_carried_and_nothing_carried_is_nothing(
    book: Book,
) -> None:
    carried = all_of(book, 0)
    event = moved({0: float(book.mass_g[product_on(book, 0)])})
    assert by_place_and_mass(book, event, carried) is None
    assert by_mass(book, event, carried) is None
    carried[7] = 1
    assert by_place_and_mass(book, moved({0: float(book.mass_g[7])}), carried) == (7, 1)
    assert by_mass(book, moved({0: 1.1 * float(book.mass_g[7])}), carried) == (7, 1)


def test_the_winners_planogram_follows_what_is_put_down_elsewhere(book: Book) -> None:
    stray = next(p for p in range(len(book.mass_g)) if not book.stands[p, 0])
    event = moved({0: float(book.mass_g[stray])})
    book.moved(stray, 1, event)
    assert book.places()[stray, 0]
    book.moved(stray, 1, replace(event, moved_g=-event.moved_g))
    assert not book.places()[stray, 0]


def test_an_event_on_plates_that_lie_apart_is_two(book: Book) -> None:
    both = moved({0: -300.0, 1: -4.0, 4: -200.0, 5: -40.0})
    parts = apart(both, book.shelf_of)
    assert [round(part.moved_g.sum()) for part in parts] == [-300, -240]
    assert apart(moved({3: -300.0, 4: -200.0}), book.shelf_of)[0].moved_g.sum() == -500.0
    (kept,) = events_of_reports(
        [
            Report(
                shelf=0,
                plate=2,
                from_ns=0,
                to_ns=9,
                mass_g=-5.0,
                at_ns=9,
                moved=((2, -6.0), (3, 1.0)),
            )
        ],
        360,
    )
    assert kept.moved_g[2] == -6.0
    assert kept.moved_g.sum() == -5.0


def test_the_upper_bound_of_over_charges_is_exact() -> None:
    # 0 of n: 1 - 0.05 ** (1 / n); the "rule of three" says about 3 in n.
    assert upper_per_1000(0, 3000) == pytest.approx(1000 * (1 - 0.05 ** (1 / 3000)), abs=1e-3)
    assert upper_per_1000(2, 10) == pytest.approx(506.9, abs=0.1)  # tables: 0.5069
    assert upper_per_1000(4, 4) == 1000.0
    assert upper_per_1000(0, 0) is None


def test_figures_are_the_same_whatever_the_number_of_workers(easy: Played) -> None:
    jobs = [(EASY, 101), (replace(EASY, name="other", kind=Kind.HARD), 102)]
    runs = carts.play_all(jobs, workers=2)
    first = carts.figures(runs[:1], OURS)
    times = {"realtime_factor", "step_ms_p50", "step_ms_p99"}
    assert {k: v for k, v in first.items() if k not in times} == {
        k: v for k, v in carts.figures([easy], OURS).items() if k not in times
    }
    both = carts.figures(runs, "competition_winner")
    assert both["visits"] == 2
    assert both["hard_visits"] == both["ordinary_visits"] == 1
    assert both["hard_item_f1"] is not None
    shares = carts.where_time_goes(runs)
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.001)


def test_a_run_that_crashes_counts_as_crashed_for_every_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a planted crash")

    monkeypatch.setattr(carts_run, "play", breaks)
    run = played(EASY, 101)
    for name in run.scores:
        found = carts.figures([run], name)
        assert found["crashed_runs"] == 1
        assert found["receipts_exact_rate"] == 0.0


def test_the_cost_of_a_weight_step_is_measured_with_people_elsewhere() -> None:
    assert weight_step_ms(scaled(350), 5, takes=4) > 0


def test_each_axis_of_the_sweep_makes_one_thing_worse_and_leaves_the_rest() -> None:
    jobs = carts_sweep.jobs([EASY], [101])
    assert len(jobs) == sum(len(axis.levels) for axis in carts_sweep.AXES)
    for axis in carts_sweep.AXES:
        made = [axis.worse(EASY, level) for level in axis.levels]
        assert len({repr(one) for one in made}) == len(made), axis.name
        same = [(one.name, one.parties, one.duration_s, one.faults) for one in made]
        assert same == [same[0]] * len(made)
    assert carts_sweep.AXES[0].worse(EASY, 3.0).quirks.noise == 3.0
    assert carts_sweep.AXES[1].worse(EASY, 20).background.people_max == 20


def test_the_sweep_is_a_table_and_a_picture_with_every_level_and_method(easy: Played) -> None:
    jobs = carts_sweep.jobs([EASY], [101])
    swept = carts_sweep.table([easy] * len(jobs))
    found = {"sweep": swept, "scenarios": ["easy"], "seeds": "101"}
    assert [row["level"] for row in swept["noise"]["rows"]] == [1.0, 5.0, 15.0, 40.0]
    for axis in swept.values():
        for row in axis["rows"]:
            assert row[OURS]["visit_f1_mean"] == 1.0
            assert 0 < row["people_inside_mean"] <= 1
            assert 0 < row["floor_error_m_median"] < 1
    root = ElementTree.fromstring(carts_picture.draw(found))
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == len(swept) * len(carts_picture.ROWS) * (1 + len(METHODS))
    assert {len(one.attrib["points"].split()) for one in lines} == {4}
