"""The bench of weight steps: its truth, its matching, its two rules and its figures, on little."""

from __future__ import annotations

import numpy as np
import pytest

from bench import weights as bench
from bench.weight_match import Report, Tally, matches, tally
from bench.weight_rules import VARIANCE, WINNER, Detector
from bench.weight_runs import NS, Shelves, TrueStep, drill, true_steps
from sim.first_store import scaled
from sim.gestures import Load


@pytest.fixture(scope="module")
def run() -> Shelves:
    return drill(seed=1, noise=1.0, seconds=20.0)


def load(plates: list[int], at_s: list[float], grams: list[float]) -> Load:
    parts = np.full(len(plates), 1.0 / len(plates))
    return Load(np.array(plates), parts, (np.array(at_s) * NS).astype(np.int64), np.array(grams))


def truth_of(*loads: Load) -> list[TrueStep]:
    return true_steps(scaled(360), loads, np.ones(360), 60 * NS)


def report(mass_g: float, from_s: float, to_s: float, shelf: int = 0) -> Report:
    return Report(
        shelf=shelf,
        plate=1,
        from_ns=int(from_s * NS),
        to_ns=int(to_s * NS),
        mass_g=mass_g,
        at_ns=int((to_s + 0.5) * NS),
    )


def test_release_is_when_nothing_loads_the_plates_for_a_fifth_of_a_second() -> None:
    taken = load([1, 2], [10.0, 10.5], [0.0, -300.0])
    hand = load([2, 3], [10.4, 10.5, 11.0], [0.0, 50.0, 0.0])
    brush = load([1], [11.15, 11.2, 11.4], [0.0, 20.0, 0.0])
    later = load([1], [11.7, 12.0, 12.4], [0.0, 20.0, 0.0])
    (step,) = truth_of(taken, hand, brush, later)
    assert step.released_ns == int(11.4 * NS)
    assert (step.mass_g, step.plates, step.overlaps) == (-300.0, (1, 2), False)


def test_units_of_one_gesture_are_one_change_and_so_are_two_without_a_rest_between() -> None:
    first, beside = load([1], [10, 10.5], [0, -90]), load([2], [10, 10.5], [0, -90])
    apart = load([6], [10, 10.5], [0, -90])
    assert [s.mass_g for s in truth_of(first, beside, apart)] == [-180.0, -90.0]
    at_once, after_rest = load([1], [10.6, 11], [0, -50]), load([1], [10.8, 11.2], [0, -50])
    assert [s.mass_g for s in truth_of(first, at_once)] == [-140.0]
    assert [s.mass_g for s in truth_of(first, after_rest)] == [-90.0, -50.0]
    assert all(s.overlaps for s in truth_of(first, after_rest))
    assert truth_of(load([1], [10, 11, 12], [0, 80, 0])) == []


def test_a_report_matches_by_shelf_time_and_sign_and_only_once() -> None:
    truth = truth_of(load([1], [10, 10.5], [0, -90]))
    assert len(matches(truth, [report(-90, 10, 10.6), report(-88, 10, 10.6)])) == 1
    assert matches(truth, [report(90, 10, 10.6)]) == []
    assert matches(truth, [report(-90, 13, 13.6)]) == []
    assert matches(truth, [report(-90, 10, 10.6, shelf=1)]) == []
    ((_, k),) = matches(truth, [report(-300, 10, 10.6), report(-88, 10, 10.6)])
    assert k == 1


def test_perfect_reports_have_perfect_figures_and_none_have_none(run: Shelves) -> None:
    perfect, silent = Tally(), Tally()
    told = [
        Report(
            shelf=t.shelf,
            plate=t.plates[0],
            from_ns=t.from_ns,
            to_ns=t.released_ns,
            mass_g=t.mass_g,
            at_ns=t.released_ns,
        )
        for t in run.truth
    ]
    tally(perfect, run, told)
    tally(silent, run, [])
    figures = perfect.figures()
    assert figures["step_recall"] == figures["step_precision"] == figures["step_mass_right"] == 1.0
    assert figures["delay_ms_p99"] == 0.0
    assert silent.figures()["step_recall"] == 0.0


def test_drill_is_the_same_for_the_same_seed_and_full_of_overlaps(run: Shelves) -> None:
    again = drill(seed=1, noise=1.0, seconds=20.0)
    assert again.truth == run.truth
    assert np.array_equal(again.batches[50].readings, run.batches[50].readings)
    assert sum(t.overlaps for t in run.truth) > 3
    assert drill(seed=2, noise=1.0, seconds=20.0).truth != run.truth


def test_ours_finds_what_the_rules_miss(run: Shelves) -> None:
    ours, rules = Tally(), {"variance": Tally(), "winner": Tally()}
    final, provisional = bench.reports(run)
    tally(ours, run, final, provisional)
    for name, rule in (("variance", VARIANCE), ("winner", WINNER)):
        tally(rules[name], run, Detector(run.config, rule).run(run.batches))
    assert ours.figures()["step_recall"] >= 0.7
    for theirs in rules.values():
        assert 0.0 < theirs.figures()["step_recall"] < ours.figures()["step_recall"]
    assert len(ours.delay_ms) == len(ours.final_delay_ms) - len(ours.delay_weak_ms)
    assert np.median(ours.delay_ms) < np.median(ours.final_delay_ms)


def test_figures_have_the_names_that_others_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SCENARIOS", ("hard-light-items",))
    monkeypatch.setattr(bench, "drill", lambda seed, noise: drill(seed, noise, seconds=8.0))
    monkeypatch.setattr(bench, "PLATES", 60)
    monkeypatch.setattr(bench, "BUSY_S", 5.0)
    monkeypatch.setattr(bench, "RUNS", 1)
    figures, speed = bench.quality((1,), (1.0,)), bench.speed()
    assert set(figures) == set(speed) == {"ours", "variance_rule", "winner_rule"}
    wanted = {"step_recall", "step_precision", "delay_ms_p50", "delay_ms_p99"}
    assert all(wanted <= set(one) for one in figures.values())
    assert all(factor > 0 for factor in speed.values())
