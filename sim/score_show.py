"""``walkout score``: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.score import ScoreError, Scores, score
from sim.score_changes import Comparison, compare, compared
from sim.score_metrics import HIGHER_IS_BETTER, RATES

CHANGES_SHOWN = 40

# Each measure in words, for people who do not have the documentation open.
MEANING = {
    "receipts_exact_rate": "best guess equals the truth",
    "auto_exact_rate": "exact, of those not sent to review",
    "review_rate": "visits sent to review",
    "item_precision": "guessed units that are right",
    "item_recall": "true units that are found",
    "item_f1": "both, over all units",
    "visit_f1_mean": "F1 per visit, averaged",
    "overcharged_per_1000_lines": "of charged lines",
    "missed_per_1000_lines": "of true lines",
    "calibration_error": "claimed probability against part right",
}
ERROR_MEANING = {
    "wrong_shopper": "on another visit's receipt",
    "wrong_sku": "another product of the same visit",
    "wrong_quantity": "right product, wrong number",
    "missed": "not on the receipt at all",
    "phantom": "on the receipt, never taken",
    "not_reviewed": "charged above the truth without a look",
}
SHORT = {
    "receipts_exact_rate": "exact",
    "auto_exact_rate": "auto exact",
    "review_rate": "review",
    "item_f1": "item F1",
    "visit_f1_mean": "visit F1",
    "overcharged_per_1000_lines": "over/1000",
    "missed_per_1000_lines": "missed/1000",
}


def main(folders: Sequence[Path], *, changes: bool, json_output: bool) -> int:
    """Print the scores of folders, or how two versions differ.

    Raises:
        ScoreError: something cannot be scored or compared.
    """
    if changes and len(folders) != 2:
        raise ScoreError("--changes compares two folders: walkout score BEFORE AFTER --changes")
    if changes:
        _print_comparison(compared(*folders), folders, json_output)
        return 0
    scores, versions = score(folders), _versions(folders)
    if json_output:
        more = {"comparison": versions.document()} if versions else {}
        _print_json(scores.document() | more)
    elif versions is not None:
        _print_comparison(versions, folders, json_output)
    else:
        _print_scores(scores)
    return 0


def _versions(folders: Sequence[Path]) -> Comparison | None:
    """Two folders with the same recordings in both are two versions."""
    if len(folders) != 2 or folders[0].resolve() == folders[1].resolve():
        return None
    found = compare(*folders)
    return found if found.complete else None


# --- scores -----------------------------------------------------------------------------------


def _print_scores(scores: Scores) -> None:
    found, console = scores.document(), Console()
    runs = f"{found['runs']} run" + ("s" if found["runs"] != 1 else "")
    console.print(_measures(found, f"{found['visits']} visits in {runs}"))
    console.print(_errors(found["errors"]))
    for title in ("kinds", "scenarios", "hard_cases"):
        if len(found[title]) > 1 or (title == "hard_cases" and found[title]):
            console.print(_groups(title.replace("_", " "), found[title]))
    if found["findings"]:
        console.print(_table("odd in the files", ("what", "how often"), found["findings"].items()))
    _complain(console, found)


def _measures(found: Mapping[str, Any], title: str) -> Table:
    rows = [
        (name, _number(name, found[name]), _between(name, found["intervals"][name]), MEANING[name])
        for name in RATES
    ]
    latency = found["receipt_latency_s"]
    for part in ("p50", "p99"):
        rows.append((f"receipt_latency_s {part}", _text(latency[part], "{:.2f}"), "", "after exit"))
    rows.append(("realtime_factor", _text(found["realtime_factor"], "{:.1f}"), "", "speed"))
    return _table(title, ("measure", "value", "95 % interval", "what it says"), rows)


def _errors(found: Mapping[str, int]) -> Table:
    rows = [(kind, str(n), ERROR_MEANING[kind]) for kind, n in found.items()]
    return _table("errors, in units", ("kind", "units", "what it says"), rows)


def _groups(title: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (name, str(one["visits"]), *(_number(m, one[m]) for m in SHORT), _trouble(one))
        for name, one in groups.items()
    ]
    return _table(title, ("", "visits", *SHORT.values(), "trouble"), rows)


def _trouble(found: Mapping[str, Any]) -> str:
    words = ((found["crashed_runs"], "crashed"), (found["breaches"], "breaches"))
    return ", ".join(f"{n} {word}" for n, word in words if n)


def _complain(console: Console, found: Mapping[str, Any]) -> None:
    for row in found["crashed"]:
        console.print(f"[red]crashed[/] {row['run']} seed {row['seed']}: {row['text']}")
    for row in found["breached"]:
        place = f"{row['run']} seed {row['seed']} at {row['at_s']:.1f} s"
        console.print(f"[red]breach[/] {place}, {row['kind']}: {row['text']}")


# --- two versions -----------------------------------------------------------------------------


def _print_comparison(found: Comparison, folders: Sequence[Path], json_output: bool) -> None:
    document = found.document()
    if json_output:
        _print_json(document)
        return
    console = Console()
    console.print(_differences(document, folders))
    console.print(_changes(document["changed"]))
    if len(document["changed"]) > CHANGES_SHOWN:
        console.print(f"{len(document['changed'])} visits changed; --json names them all")
    counts = document["changed_counts"]
    console.print(
        f"{counts['better']} visits better, {counts['worse']} worse, {counts['other']} other"
    )
    for name, what in (("only_in_a", folders[0]), ("only_in_b", folders[1])):
        if document[name]:
            console.print(f"only in {what}: {', '.join(document[name])}")
    if document["other_truth"]:
        console.print(f"not comparable, the truth differs: {', '.join(document['other_truth'])}")


def _differences(document: Mapping[str, Any], folders: Sequence[Path]) -> Table:
    rows = []
    for name, one in document["difference"].items():
        values = (_number(name, one["a"]), _number(name, one["b"]), _number(name, one["by"], "+"))
        rows.append((name, *values, _between(name, one["interval"], "+"), _verdict(name, one)))
    title = f"{document['runs_compared']} runs, A = {folders[0]}, B = {folders[1]}"
    return _table(title, ("measure", "A", "B", "B - A", "95 % interval", ""), rows)


def _verdict(name: str, one: Mapping[str, Any]) -> str:
    """Better or worse where chance alone does not explain it."""
    if one["interval"] is None or name == "review_rate":
        return ""
    low, high = one["interval"]
    if low <= 0.0 <= high:
        return ""
    return "better" if (low > 0) == (name in HIGHER_IS_BETTER) else "worse"


def _changes(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = []
    for row in rows[:CHANGES_SHOWN]:
        whose = row["visit"] or f"nobody ({row['credential']})"
        sides = (_units(row["truth"]) or "nothing", _receipt(row["a"]), _receipt(row["b"]))
        shown.append((row["how"], row["run"], whose, *sides))
    return _table("visits that changed", ("", "run", "visit", "truth", "A", "B"), shown)


def _receipt(side: Mapping[str, Any]) -> str:
    if side["state"] == "none":
        return "no receipt"
    asked = f"? {_units(side['review'])}" if side["review"] else ""
    return "\n".join(part for part in (_units(side["charged"]), asked) if part) or "nothing"


def _units(lines: Mapping[str, int]) -> str:
    return ", ".join(f"{n} x {sku}" for sku, n in lines.items())


# --- cells ------------------------------------------------------------------------------------


def _number(name: str, value: float | None, sign: str = "") -> str:
    return _text(value, f"{{:{sign}.1f}}" if name.endswith("_lines") else f"{{:{sign}.4f}}")


def _between(name: str, ends: Sequence[float] | None, sign: str = "") -> str:
    return (
        "" if ends is None else f"{_number(name, ends[0], sign)} to {_number(name, ends[1], sign)}"
    )


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
