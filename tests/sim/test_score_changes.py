"""Two versions on the same recordings, and what the command line says of scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sim.score import ScoreError
from sim.score_changes import compare, compared
from walkout import app

Held = dict[str, int]


def _version(
    folder: Path, rows: list[tuple[str, Held, Held, Held]], *, seed: int = 1, scenario: str = "s"
) -> None:
    """A run of visits: name, truth, charged, in review."""
    folder.mkdir(parents=True)
    visits = [
        {
            "visit": name,
            "credential": f"code-{name}",
            "entered_at_s": float(i),
            "exited_at_s": i + 50.0,
            "lines": _lines(truth),
        }
        for i, (name, truth, _, _) in enumerate(rows)
        if truth is not GHOST
    ]
    receipts = [
        {
            "visit": f"v-{name}",
            "credential": f"code-{name}",
            "state": "review" if review else "closed",
            "lines": [
                *_lines(charged, state="charged", probability=0.99),
                *_lines(review, state="review", probability=0.6),
            ],
            "closed_at_s": i + 53.0,
        }
        for i, (name, _, charged, review) in enumerate(rows)
    ]
    run = {"scenario": scenario, "seed": seed, "crashed": None}
    for file, value in (
        ("truth.json", {"visits": visits, "actions": []}),
        ("receipts.json", receipts),
        ("run.json", run),
    ):
        (folder / file).write_text(json.dumps(value))


GHOST: Held = {"nobody": 0}


def _lines(held: Held, **more: Any) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": n, **more} for sku, n in held.items()]


def _two(tmp_path: Path) -> tuple[Path, Path]:
    """p stays, q gets better, r worse, t other: one wrong thing for another."""
    a, b = tmp_path / "a", tmp_path / "b"
    same = ("p", {"x": 1}, {"x": 1}, {})
    _version(
        a / "1",
        [
            same,
            ("q", {"x": 1}, {"y": 1}, {}),
            ("r", {"x": 1}, {"x": 1}, {}),
            ("t", {"x": 1}, {"y": 1}, {}),
        ],
    )
    _version(
        b / "elsewhere",
        [
            same,
            ("q", {"x": 1}, {}, {"x": 1}),
            ("r", {"x": 1}, {"x": 2}, {}),
            ("t", {"x": 1}, {"z": 1}, {}),
        ],
    )
    return a, b


def test_visits_that_changed_are_named_with_truth_before_and_after(tmp_path: Path) -> None:
    found = compared(*_two(tmp_path)).document()
    assert {row["visit"]: row["how"] for row in found["changed"]} == {
        "q": "better",
        "r": "worse",
        "t": "other",
    }
    assert found["changed_counts"] == {"better": 1, "worse": 1, "other": 1}
    worse = found["changed"][0]
    assert (worse["visit"], worse["truth"]) == ("r", {"x": 1})
    assert (worse["a"]["charged"], worse["b"]["charged"]) == ({"x": 1}, {"x": 2})
    assert found["runs_compared"] == 1


def test_difference_is_after_less_before_and_inside_its_interval(tmp_path: Path) -> None:
    found = compared(*_two(tmp_path)).document()
    recall = found["difference"]["item_recall"]
    assert (recall["a"], recall["b"], recall["by"]) == (0.5, 0.75, 0.25)
    for one in found["difference"].values():
        if one["by"] is not None:
            assert one["interval"][0] <= one["by"] <= one["interval"][1]


def test_pairing_takes_the_luck_of_the_visits_out(tmp_path: Path) -> None:
    """Where every visit gains the same, the difference is certain though the figures are not."""
    a = [(f"n{i}", {"x": 2}, {"x": 1} if i % 2 else {"x": 2}, {}) for i in range(40)]
    b = [(name, truth, guess | {"y": 1}, {}) for name, truth, guess, _ in a]
    _version(tmp_path / "a" / "1", a)
    _version(tmp_path / "b" / "1", b)
    found = compared(tmp_path / "a", tmp_path / "b").document()
    missed = found["difference"]["missed_per_1000_lines"]
    assert missed["interval"] == [0.0, 0.0]
    low, high = found["a"]["intervals"]["missed_per_1000_lines"]
    assert high - low > 100


def test_same_version_twice_differs_in_nothing(tmp_path: Path) -> None:
    rows = [("p", {"x": 1}, {"x": 1}, {"y": 1}), ("ghost", GHOST, {"x": 1}, {})]
    for name in "ab":
        _version(tmp_path / name / "1", rows)
    found = compared(tmp_path / "a", tmp_path / "b").document()
    assert found["changed"] == []
    assert all(one["by"] in (0.0, None) for one in found["difference"].values())


def test_receipt_of_nobody_that_went_away_is_better(tmp_path: Path) -> None:
    same = ("p", {"x": 1}, {"x": 1}, {})
    _version(tmp_path / "a" / "1", [same, ("ghost", GHOST, {"x": 1}, {})])
    _version(tmp_path / "b" / "1", [same])
    found = compared(tmp_path / "a", tmp_path / "b").document()
    assert [(r["credential"], r["how"]) for r in found["changed"]] == [("code-ghost", "better")]
    assert found["difference"]["item_precision"]["by"] == 0.5


def test_runs_without_counterpart_and_with_other_truth_are_named(tmp_path: Path) -> None:
    row = ("p", {"x": 1}, {"x": 1}, {})
    for seed in (1, 2, 3):
        _version(tmp_path / "a" / str(seed), [row], seed=seed)
    _version(tmp_path / "b" / "1", [row], seed=1)
    _version(tmp_path / "b" / "2", [("p", {"x": 2}, {"x": 1}, {})], seed=2)
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.only_in_a, found.only_in_b, found.other_truth) == (("3",), (), ("2",))
    assert not found.complete
    assert compared(tmp_path / "a", tmp_path / "b").document()["runs_compared"] == 1


def test_folders_with_nothing_in_common_cannot_be_compared(tmp_path: Path) -> None:
    row = ("p", {"x": 1}, {"x": 1}, {})
    _version(tmp_path / "a" / "1", [row], scenario="one")
    _version(tmp_path / "b" / "1", [row], scenario="two")
    with pytest.raises(ScoreError, match="no run in common"):
        compared(tmp_path / "a", tmp_path / "b")
    _version(tmp_path / "c" / "1", [("p", {"x": 2}, {"x": 1}, {})], scenario="one")
    with pytest.raises(ScoreError, match="replay the same"):
        compared(tmp_path / "a", tmp_path / "c")


# --- the command line -------------------------------------------------------------------------


def _walkout(*words: object) -> Any:
    return CliRunner().invoke(app, ["score", *map(str, words)], env={"COLUMNS": "200"})


def test_score_prints_one_json_object_or_tables(tmp_path: Path) -> None:
    a, _ = _two(tmp_path)
    found = _walkout(a, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["visits"] == 4
    table = _walkout(a)
    assert table.exit_code == 0
    for word in ("item_recall", "95 % interval", "wrong_sku", "4 visits in 1 run"):
        assert word in table.stdout


def test_two_folders_of_the_same_recordings_are_compared_without_asking(tmp_path: Path) -> None:
    a, b = _two(tmp_path)
    both = json.loads(_walkout(a, b, "--json").stdout)
    assert both["comparison"]["changed_counts"] == {"better": 1, "worse": 1, "other": 1}
    assert both["visits"] == 8
    table = _walkout(a, b).stdout
    assert "1 visits better, 1 worse, 1 other" in table
    changes = json.loads(_walkout(a, b, "--changes", "--json").stdout)
    assert changes == both["comparison"]


def test_folders_of_other_runs_are_pooled(tmp_path: Path) -> None:
    row = ("p", {"x": 1}, {"x": 1}, {})
    _version(tmp_path / "a" / "1", [row], scenario="one")
    _version(tmp_path / "b" / "1", [row], scenario="two")
    found = json.loads(_walkout(tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert found["visits"] == 2
    assert "comparison" not in found


@pytest.mark.parametrize("words", [("nowhere",), (".", "--changes"), ("a", "b", "c", "--changes")])
def test_mistakes_are_one_line_and_status_two(tmp_path: Path, words: tuple[str, ...]) -> None:
    places = [str(tmp_path / word) if not word.startswith("-") else word for word in words]
    found = _walkout(*places)
    assert found.exit_code == 2
    assert len(found.stderr.strip().splitlines()) == 1
