"""Scores by hand: every measure of design.md section 7, and its fine print."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.score import ScoreError, pool, score, score_run
from sim.score_metrics import RATES, Table, calibration_error

Row = dict[str, Any]


def true_visit(name: str, held: dict[str, int], at_s: float = 0.0, **more: Any) -> Row:
    return {
        "visit": name,
        "credential": more.pop("credential", f"code-{name}"),
        "entered_at_s": at_s,
        "exited_at_s": at_s + 60.0,
        "lines": [{"sku": sku, "quantity": n} for sku, n in held.items()],
        **more,
    }


def receipt(
    name: str,
    charged: dict[str, int],
    review: dict[str, int] | None = None,
    *,
    closed_at_s: float = 63.0,
    probability: float = 1.0,
    **more: Any,
) -> Row:
    states = (("charged", charged), ("review", review or {}))
    lines = [
        {"sku": sku, "quantity": n, "probability": probability, "state": state}
        for state, held in states
        for sku, n in held.items()
    ]
    return {
        "visit": f"v-{name}",
        "credential": f"code-{name}",
        "state": "review" if review else "closed",
        "lines": lines,
        "closed_at_s": closed_at_s,
        **more,
    }


def write(folder: Path, visits: list[Row], receipts: list[Row] | None, **run: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    truth = {"visits": visits, "actions": run.pop("actions", [])}
    (folder / "truth.json").write_text(json.dumps(truth))
    if receipts is not None:
        (folder / "receipts.json").write_text(json.dumps(receipts))
    if run:
        (folder / "run.json").write_text(json.dumps(run))
    return folder


def scored(tmp_path: Path, visits: list[Row], receipts: list[Row]) -> Row:
    return score([write(tmp_path / "run", visits, receipts)]).document()


def test_every_measure_of_a_small_day_is_what_a_pencil_gives(tmp_path: Path) -> None:
    visits = [
        true_visit("a", {"x": 2, "y": 1}),
        true_visit("b", {"x": 1}, 1),
        true_visit("c", {}, 2),
        true_visit("d", {"z": 1}, 3),
    ]
    receipts = [
        receipt("a", {"x": 2, "y": 1}, closed_at_s=62.0),
        receipt("b", {"x": 2}, closed_at_s=64.0),
        receipt("c", {}, closed_at_s=66.0),
        receipt("d", {}, {"z": 1}, closed_at_s=73.0),
    ]
    found = scored(tmp_path, visits, receipts)
    assert found["visits"] == 4
    assert found["receipts_exact_rate"] == 3 / 4
    assert found["auto_exact_rate"] == 2 / 3
    assert found["review_rate"] == 1 / 4
    assert found["item_precision"] == 5 / 6
    assert found["item_recall"] == 1.0
    assert found["item_f1"] == 10 / 11
    assert found["visit_f1_mean"] == pytest.approx((1 + 2 / 3 + 1 + 1) / 4, abs=1e-9)
    assert found["overcharged_per_1000_lines"] == pytest.approx(1000 / 3)
    assert found["missed_per_1000_lines"] == 0.0
    assert found["receipt_latency_s"] == {"p50": 3.5, "p99": pytest.approx(9.82)}
    assert found["realtime_factor"] is None


def test_all_names_that_others_rely_on_are_there(tmp_path: Path) -> None:
    found = scored(tmp_path, [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})])
    names = (
        "visits receipts_exact_rate auto_exact_rate review_rate item_precision item_recall "
        "item_f1 visit_f1_mean overcharged_per_1000_lines missed_per_1000_lines "
        "calibration_error receipt_latency_s realtime_factor"
    )
    assert set(names.split()) <= set(found)
    assert set(found["receipt_latency_s"]) == {"p50", "p99"}
    json.dumps(found, allow_nan=False)


def test_review_lines_are_the_best_guess_but_no_charge(tmp_path: Path) -> None:
    found = scored(tmp_path, [true_visit("a", {"x": 1})], [receipt("a", {}, {"y": 1})])
    assert found["overcharged_per_1000_lines"] == 0.0
    assert found["missed_per_1000_lines"] == 1000.0
    assert found["item_precision"] == found["item_recall"] == found["item_f1"] == 0.0
    assert found["auto_exact_rate"] is None  # everything was sent to review


def test_empty_visit_left_empty_has_f1_one_and_one_with_lines_zero(tmp_path: Path) -> None:
    empty = scored(tmp_path / "1", [true_visit("a", {})], [receipt("a", {})])
    filled = scored(tmp_path / "2", [true_visit("a", {})], [receipt("a", {"x": 1})])
    assert (empty["visit_f1_mean"], filled["visit_f1_mean"]) == (1.0, 0.0)
    assert (empty["item_f1"], filled["item_f1"]) == (1.0, 0.0)


def test_visit_without_receipt_counts_as_an_empty_guess(tmp_path: Path) -> None:
    visits = [true_visit("a", {"x": 2}), true_visit("b", {})]
    found = scored(tmp_path, visits, [])
    assert (found["visits"], found["visit_f1_mean"], found["item_recall"]) == (2, 0.5, 0.0)
    assert found["receipts_exact_rate"] == found["auto_exact_rate"] == 0.5
    assert found["missed_per_1000_lines"] == 1000.0
    assert found["findings"] == {"visits_without_receipt": 2}


def test_receipt_of_nobody_counts_against_precision_and_as_over_charge(tmp_path: Path) -> None:
    receipts = [receipt("a", {"x": 1}), receipt("ghost", {"x": 3})]
    found = scored(tmp_path, [true_visit("a", {"x": 1})], receipts)
    assert (found["visits"], found["receipts_exact_rate"]) == (1, 1.0)
    assert found["item_precision"] == 1 / 4
    assert found["overcharged_per_1000_lines"] == 500.0
    assert found["findings"] == {"phantom_receipts": 1}


def test_empty_receipt_of_somebody_who_never_came_in_is_as_it_should_be(tmp_path: Path) -> None:
    receipts = [receipt("a", {"x": 1}), receipt("outside", {})]
    found = scored(tmp_path, [true_visit("a", {"x": 1})], receipts)
    assert (found["visits"], found["item_f1"], found["findings"]) == (1, 1.0, {})


def test_visits_of_one_credential_match_in_order_of_entry(tmp_path: Path) -> None:
    visits = [
        true_visit("late", {"y": 1}, 100, credential="code-a"),
        true_visit("early", {"x": 1}, 0, credential="code-a"),
    ]
    second = receipt("a", {"y": 1}, closed_at_s=163.0, visit="v-2")
    first = receipt("a", {"x": 1}, closed_at_s=63.0, visit="v-1")
    assert scored(tmp_path, visits, [second, first])["receipts_exact_rate"] == 1.0


def test_receipt_that_says_when_its_visit_entered_may_close_late(tmp_path: Path) -> None:
    visits = [
        true_visit("one", {"x": 1}, 0, credential="code-a"),
        true_visit("two", {"y": 1}, 100, credential="code-a"),
    ]
    reviewed = receipt("a", {}, {"x": 1}, closed_at_s=963.0, entered_at_s=0.4)
    quick = receipt("a", {"y": 1}, closed_at_s=163.0, entered_at_s=100.4, visit="v-9")
    assert scored(tmp_path, visits, [quick, reviewed])["receipts_exact_rate"] == 1.0


def test_third_receipt_of_two_visits_is_a_phantom(tmp_path: Path) -> None:
    receipts = [receipt("a", {"x": 1}), receipt("a", {"x": 1}, closed_at_s=70.0)]
    found = scored(tmp_path, [true_visit("a", {"x": 1})], receipts)
    assert found["item_precision"] == 0.5
    assert found["findings"] == {"phantom_receipts": 1, "receipts_of_the_same_visit": 1}


def test_staff_are_left_out_with_their_receipts(tmp_path: Path) -> None:
    visits = [true_visit("a", {"x": 1}), true_visit("boss", {}, kind="staff")]
    found = scored(tmp_path, visits, [receipt("a", {"x": 1}), receipt("boss", {"q": 9})])
    assert (found["visits"], found["item_precision"]) == (1, 1.0)


def test_who_came_in_without_a_credential_is_missed(tmp_path: Path) -> None:
    visits = [true_visit("a", {"x": 1}), true_visit("tail", {"y": 1}, credential="")]
    found = scored(tmp_path, visits, [receipt("a", {"x": 1})])
    assert (found["visits"], found["item_recall"]) == (2, 0.5)


def test_rows_of_one_sku_count_by_their_units_however_they_are_cut(tmp_path: Path) -> None:
    whole = receipt("a", {"x": 2}, {"x": 1})
    cut = receipt("a", {"x": 1}, {"x": 1})
    cut["lines"].append({"sku": "x", "quantity": 1, "probability": 1.0, "state": "charged"})
    truth = [true_visit("a", {"x": 2})]
    documents = [scored(tmp_path / str(i), truth, [r]) for i, r in enumerate((whole, cut))]
    for found in documents:
        assert found["item_precision"] == 2 / 3
        assert found["overcharged_per_1000_lines"] == 0.0
        assert found["counts"]["charged_lines"] == 1
    assert documents[0]["errors"]["wrong_quantity"] == 1


def test_more_charged_than_held_is_over_charged_though_another_row_is_in_review(
    tmp_path: Path,
) -> None:
    found = scored(tmp_path, [true_visit("a", {"x": 1})], [receipt("a", {"x": 2}, {"x": 1})])
    assert found["overcharged_per_1000_lines"] == 1000.0
    assert found["errors"]["not_reviewed"] == 1


def test_reviewing_everything_does_not_flatter_the_guess(tmp_path: Path) -> None:
    truth = [true_visit("a", {"x": 1}), true_visit("b", {"y": 2}, 5)]
    sure = scored(tmp_path / "1", truth, [receipt("a", {"y": 1}), receipt("b", {"y": 1})])
    asked = scored(tmp_path / "2", truth, [receipt("a", {}, {"y": 1}), receipt("b", {}, {"y": 1})])
    for name in (
        "item_precision",
        "item_recall",
        "item_f1",
        "visit_f1_mean",
        "receipts_exact_rate",
    ):
        assert sure[name] == asked[name]
    assert (sure["review_rate"], asked["review_rate"]) == (0.0, 1.0)


# --- calibration ------------------------------------------------------------------------------


def _ece(rows: list[tuple[float, bool]]) -> float:
    rows = sorted(rows, key=lambda row: row[0])
    table = Table(
        np.zeros((len(rows), 13)),
        np.arange(len(rows)),
        np.array([p for p, _ in rows]),
        np.array([r for _, r in rows], dtype=bool),
    )
    return float(calibration_error(table, np.ones((1, len(rows))))[0])


def _ece_by_hand(rows: list[tuple[float, bool]]) -> float:
    """The definition, bin by bin, for rows whose probabilities all differ."""
    rows = sorted(rows)
    bins = [part for part in np.array_split(np.array(rows, dtype=float), 10) if len(part)]
    gaps = [len(part) * abs(part[:, 0].mean() - part[:, 1].mean()) for part in bins]
    return sum(gaps) / len(rows)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 67), st.integers(0, 10_000))
def test_calibration_error_is_that_of_ten_bins_of_equal_count(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_rows = list(zip(rng.permutation(1000)[:rows] / 1000, rng.random(rows) < 0.7, strict=True))
    assert _ece(given_rows) == pytest.approx(_ece_by_hand(given_rows), abs=1e-12)


def test_rows_of_equal_probability_share_their_mean_in_every_bin() -> None:
    assert _ece([(0.9, True)] * 18 + [(0.9, False)] * 2) == pytest.approx(0.0)
    assert _ece([(0.9, False)] * 2 + [(0.9, True)] * 18) == pytest.approx(0.0)


def test_fewer_than_ten_rows_are_a_bin_each() -> None:
    assert _ece([(0.8, True), (0.6, False)]) == pytest.approx((0.2 + 0.6) / 2)


def test_row_is_right_when_the_truth_covers_it_and_charged_rows_come_first(tmp_path: Path) -> None:
    one = receipt("a", {"x": 1}, {"x": 1}, probability=0.5)
    folder = write(tmp_path / "run", [true_visit("a", {"x": 1})], [one])
    assert score_run(folder).visits[0].rows == ((0.5, True), (0.5, False))


def test_no_rows_have_no_calibration(tmp_path: Path) -> None:
    assert scored(tmp_path, [true_visit("a", {})], [receipt("a", {})])["calibration_error"] is None


# --- kinds of errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "charged", "review", "kinds"),
    [
        ({"x": 1}, {}, {}, {"missed": 1}),
        ({}, {"x": 2}, {}, {"phantom": 2, "not_reviewed": 2}),
        ({}, {}, {"x": 2}, {"phantom": 2}),
        ({"x": 1}, {"y": 1}, {}, {"wrong_sku": 1, "not_reviewed": 1}),
        ({"x": 3}, {"x": 1}, {}, {"wrong_quantity": 2}),
        ({"x": 1}, {"x": 3}, {}, {"wrong_quantity": 2, "not_reviewed": 2}),
        ({"x": 2}, {"x": 1}, {"y": 1}, {"wrong_sku": 1}),
    ],
)
def test_each_kind_of_error_of_one_visit(
    tmp_path: Path,
    held: dict[str, int],
    charged: dict[str, int],
    review: dict[str, int],
    kinds: dict[str, int],
) -> None:
    found = scored(tmp_path, [true_visit("a", held)], [receipt("a", charged, review)])
    assert {kind: n for kind, n in found["errors"].items() if n} == kinds


def test_unit_on_the_wrong_receipt_is_one_error_of_two_visits(tmp_path: Path) -> None:
    visits = [true_visit("a", {"x": 1}), true_visit("b", {}, 10)]
    found = scored(tmp_path, visits, [receipt("a", {}), receipt("b", {"x": 1})])
    assert found["errors"]["wrong_shopper"] == 1
    assert found["errors"]["missed"] == found["errors"]["phantom"] == 0


def test_two_who_never_met_are_not_taken_for_each_other(tmp_path: Path) -> None:
    visits = [true_visit("a", {"x": 1}), true_visit("b", {}, 500)]
    found = scored(tmp_path, visits, [receipt("a", {}), receipt("b", {"x": 1})])
    assert found["errors"]["wrong_shopper"] == 0
    assert found["errors"]["missed"] == found["errors"]["phantom"] == 1


# --- runs, crashes, groups --------------------------------------------------------------------


def test_crashed_run_is_told_and_its_truth_is_missed(tmp_path: Path) -> None:
    write(tmp_path / "good", [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})], scenario="s")
    write(
        tmp_path / "bad",
        [true_visit("b", {"x": 1})],
        None,
        scenario="s",
        seed=4,
        crashed="Error: x",
    )
    found = score([tmp_path]).document()
    assert (found["visits"], found["item_recall"], found["crashed_runs"]) == (2, 0.5, 1)
    assert found["crashed"] == [{"run": "bad", "seed": 4, "text": "Error: x"}]


def test_crash_before_there_was_a_truth_still_lowers_the_averages(tmp_path: Path) -> None:
    write(tmp_path / "good", [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text('{"scenario": "s", "crashed": "killed"}')
    found = score([tmp_path]).document()
    assert (found["visits"], found["receipts_exact_rate"], found["visit_f1_mean"]) == (2, 0.5, 0.5)


def test_break_down_by_scenario_hard_case_and_kind(tmp_path: Path) -> None:
    good = ([true_visit("a", {"x": 1})], [receipt("a", {"x": 1})])
    bad = ([true_visit("a", {"x": 1})], [receipt("a", {})])
    write(tmp_path / "p" / "1", *good, scenario="p", seed=1, hard_cases=["swap", "lean"])
    write(tmp_path / "q" / "1", *bad, scenario="q", seed=1, hard_cases=["swap"], kind="hard")
    found = score([tmp_path]).document()
    assert {k: v["item_recall"] for k, v in found["scenarios"].items()} == {"p": 1.0, "q": 0.0}
    assert {k: v["visits"] for k, v in found["hard_cases"].items()} == {"lean": 1, "swap": 2}
    assert found["hard_cases"]["swap"]["item_recall"] == 0.5
    assert list(found["kinds"]) == ["hard"]


def test_same_run_named_twice_counts_once(tmp_path: Path) -> None:
    run = write(tmp_path / "run", [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})])
    assert score([run, tmp_path, run]).document()["visits"] == 1


def test_breaches_and_speed_are_read_where_they_are(tmp_path: Path) -> None:
    run = write(tmp_path / "run", [true_visit("a", {})], [receipt("a", {})])
    breach = {"kind": "money", "at_s": 4.0, "visit": "v-1", "text": "captured twice"}
    (run / "referee.json").write_text(json.dumps({"breaches": [breach]}))
    (run / "timing.json").write_text('{"wall_s": 2.0, "store_s": 120.0, "realtime_factor": 60}')
    found = score([run]).document()
    assert (found["breaches"], found["realtime_factor"]) == (1, 60.0)
    assert found["breached"] == [{"run": "run", "seed": None, **breach}]


# --- properties -------------------------------------------------------------------------------


def _random_day(seed: int) -> tuple[list[Row], list[Row]]:
    rng = random.Random(seed)
    visits, receipts = [], []
    for i in range(rng.randint(1, 9)):
        held = {sku: rng.randint(1, 3) for sku in rng.sample("pqrstu", rng.randint(0, 4))}
        charged = {s: rng.randint(1, 3) for s in held if rng.random() < 0.8}
        review = {s: 1 for s in rng.sample("pqrstu", rng.randint(0, 2))}
        visits.append(true_visit(f"n{i}", held, rng.uniform(0, 90)))
        given_receipt = receipt(f"n{i}", charged, review, closed_at_s=rng.uniform(95, 200))
        for line in given_receipt["lines"]:
            line["probability"] = round(rng.random(), 2)
        if rng.random() < 0.9:
            receipts.append(given_receipt)
    return visits, receipts


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_visits_and_lines_changes_nothing(seed: int) -> None:
    visits, receipts = _random_day(seed)
    with tempfile.TemporaryDirectory() as folder:
        before = scored(Path(folder) / "1", visits, receipts)
        rng = random.Random(seed)
        for rows in (visits, receipts, *(row["lines"] for row in (*visits, *receipts))):
            rng.shuffle(rows)
        assert scored(Path(folder) / "2", visits, receipts) == before


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_perfect_receipts_are_perfect(seed: int) -> None:
    visits, _ = _random_day(seed)
    receipts = []
    for row in visits:
        held = {line["sku"]: line["quantity"] for line in row["lines"]}
        receipts.append(receipt(row["visit"], held))
    with tempfile.TemporaryDirectory() as folder:
        found = scored(Path(folder), visits, receipts)
    ones = ("receipts_exact_rate", "auto_exact_rate", "item_precision", "item_recall", "item_f1")
    assert all(found[name] == 1.0 for name in (*ones, "visit_f1_mean"))
    assert found["overcharged_per_1000_lines"] == found["missed_per_1000_lines"] == 0.0
    assert found["calibration_error"] in (0.0, None)
    assert not any(found["errors"].values())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_intervals_contain_the_figure_and_are_the_same_each_time(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = score_run(write(Path(folder) / "run", *_random_day(seed)))
    found = pool([run])
    for name in RATES:
        if found[name] is None:
            assert found["intervals"][name] is None
        else:
            low, high = found["intervals"][name]
            assert low <= found[name] <= high
    assert pool([run]) == found


def test_interval_of_a_proportion_is_as_wide_as_theory_says(tmp_path: Path) -> None:
    visits = [true_visit(f"n{i}", {"x": 1}, i) for i in range(400)]
    receipts = [receipt(f"n{i}", {"x": 1} if i % 5 else {}) for i in range(400)]
    low, high = scored(tmp_path, visits, receipts)["intervals"]["receipts_exact_rate"]
    assert (low, high) == pytest.approx((0.8 - 1.96 * 0.02, 0.8 + 1.96 * 0.02), abs=0.006)


# --- bad input --------------------------------------------------------------------------------


def _edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


BROKEN = [
    ("truth.json", lambda d: d["visits"][0]["lines"][0].update(quantity=-1), "lines[0].quantity"),
    ("truth.json", lambda d: d["visits"].append(d["visits"][0]), "$.visits[1].visit"),
    ("truth.json", lambda d: d["visits"][0].pop("credential"), "credential"),
    ("truth.json", lambda d: d["visits"][0].update(exited_at_s=-5), "exited_at_s"),
    (
        "truth.json",
        lambda d: d["actions"].append(
            {"t_s": 1, "kind": "take", "visit": "nobody", "sku": "x", "quantity": 1}
        ),
        "$.actions[0].visit",
    ),
    ("receipts.json", lambda d: d[0]["lines"][0].update(probability=1.2), "probability"),
    ("receipts.json", lambda d: d[0].update(state="paid"), "$[0].state"),
    ("receipts.json", lambda d: d[0]["lines"][0].update(state="free"), "lines[0].state"),
    ("receipts.json", lambda d: d[0]["lines"][0].pop("sku"), "sku"),
]


@pytest.mark.parametrize(("name", "change", "field"), BROKEN)
def test_broken_input_is_named_with_file_field_and_remedy(
    tmp_path: Path, name: str, change: Any, field: str
) -> None:
    run = write(tmp_path / "run", [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})])
    _edit(run / name, change)
    with pytest.raises(ScoreError) as told:
        score([run])
    assert str(run / name) in str(told.value)
    assert field in str(told.value)
    assert ";" in str(told.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", "\ufeff{}", "[" * 100_000])
def test_file_that_is_no_truth_is_an_error(tmp_path: Path, text: str) -> None:
    run = write(tmp_path / "run", [], [])
    (run / "truth.json").write_text(text)
    with pytest.raises(ScoreError, match=r"truth\.json"):
        score([run])


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="no such folder"):
        score([tmp_path / "nowhere"])
    with pytest.raises(ScoreError, match="no run in it"):
        score([tmp_path])
    run = write(tmp_path / "run", [], None)
    with pytest.raises(ScoreError, match="walkout replay"):
        score([run])
    (run / "truth.json").unlink()
    (run / "receipts.json").write_text("[]")
    with pytest.raises(ScoreError, match="no truth"):
        score([run])


def test_truth_whose_actions_give_other_lines_is_a_finding(tmp_path: Path) -> None:
    action = {"t_s": 1.0, "kind": "take", "visit": "a", "sku": "x", "quantity": 2, "facing": "f"}
    run = write(
        tmp_path / "run", [true_visit("a", {"x": 1})], [receipt("a", {"x": 1})], actions=[action]
    )
    assert score([run]).document()["findings"] == {"visits_whose_actions_give_other_lines": 1}
