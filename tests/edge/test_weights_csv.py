"""``walkout weights``: a CSV of plates in, a row for each final step out."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge import csv_tables
from edge.csv_tables import CsvError
from edge.weights_csv import COLUMNS, Weighed, weigh_file
from walkout import app

PLATES = 12
STORE = "".join(
    f'[[plate]]\nid = "p{i}"\nshelf = "s{i // 6}"\nx_m = {0.1016 * (i % 6):.4f}\ny_m = 0.0\n'
    "z_m = 1.0\nwidth_m = 0.1016\ndepth_m = 0.4\n"
    for i in range(PLATES)
)


class Readings:
    """Grams of all plates at a rate; ``take`` lowers one from an instant on."""

    def __init__(self, seconds: float, rate_hz: float = 60.0, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.t_s = np.arange(0.0, seconds, 1.0 / rate_hz)
        self.grams = 1_000.0 + 1.1 * self.rng.standard_normal((len(self.t_s), PLATES))

    def take(self, at_s: float, plate: int, mass_g: float) -> None:
        self.grams[self.t_s > at_s, plate] -= mass_g

    def rows(self, base_s: float = 0.0, jitter_s: float = 0.0) -> list[tuple[float, int, float]]:
        late_s = self.rng.uniform(0.0, jitter_s, self.grams.shape) if jitter_s else 0.0
        t_s = base_s + self.t_s[:, None] + np.zeros(PLATES) + late_s
        return [
            (float(t_s[i, p]), p, float(self.grams[i, p]))
            for i in range(len(self.t_s))
            for p in range(PLATES)
        ]


def weighed(
    folder: Path, rows: list[tuple[float, int, float]]
) -> tuple[Weighed, list[dict[str, str]]]:
    (folder / "store.toml").write_text(STORE)
    lines = [f"{t:.4f},p{p},{g:.2f}\n" for t, p, g in rows]
    (folder / "in.csv").write_text("t_s,plate,grams\n" + "".join(lines))
    return read_back(folder)


def read_back(folder: Path) -> tuple[Weighed, list[dict[str, str]]]:
    done = weigh_file(folder / "in.csv", folder / "store.toml", folder / "out.csv")
    with (folder / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert done.steps == len(found)
    return done, found


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 60.0, 80.0, 100.0])
def test_steps_are_found_at_any_rate(tmp_path: Path, rate_hz: float) -> None:
    seen = Readings(30.0, rate_hz)
    seen.take(10.0, 2, 250.0)
    seen.take(20.0, 9, -120.0)
    _, steps = weighed(tmp_path, seen.rows())
    assert [(s["shelf"], s["plate"]) for s in steps] == [("s0", "p2"), ("s1", "p9")]
    assert [float(s["mass_g"]) for s in steps] == pytest.approx([-250.0, 120.0], abs=4.0)
    for step, at_s in zip(steps, (10.0, 20.0), strict=True):
        assert at_s - 0.5 < float(step["t_start_s"]) <= at_s + 0.02
        assert at_s <= float(step["t_end_s"]) < at_s + 0.5


def test_rows_may_stand_in_any_order_within_jitter_and_count_from_any_second(
    tmp_path: Path,
) -> None:
    seen = Readings(20.0)
    seen.take(10.0, 2, 250.0)
    rows = seen.rows(base_s=1_767_225_600.0, jitter_s=0.015)
    seen.rng.shuffle(rows)
    rows.sort(key=lambda row: round(row[0], 2))  # unsorted within 10 ms
    _, (step,) = weighed(tmp_path, rows)
    assert float(step["mass_g"]) == pytest.approx(-250.0, abs=4.0)
    assert float(step["t_end_s"]) == pytest.approx(1_767_225_610.1, abs=0.1)


def test_one_plate_after_another_gives_the_same_steps(tmp_path: Path) -> None:
    seen = Readings(120.0)
    seen.take(60.0, 2, 250.0)
    seen.take(80.0, 7, 90.0)
    by_time = weighed(tmp_path, seen.rows())
    by_plate = weighed(tmp_path, sorted(seen.rows(), key=lambda row: row[1]))
    assert by_plate == by_time
    assert len(by_time[1]) == 2


def test_plates_without_rows_and_plates_that_fall_silent_disturb_nobody(tmp_path: Path) -> None:
    seen = Readings(30.0)
    seen.take(20.0, 4, 250.0)
    rows = [r for r in seen.rows() if r[1] not in (0, 7) and not (r[1] == 3 and r[0] > 12.0)]
    done, (step,) = weighed(tmp_path, rows)
    assert done.plates == PLATES - 2
    assert float(step["mass_g"]) == pytest.approx(-250.0, abs=4.0)


def test_what_went_while_nothing_was_recorded_is_a_step_after_the_gap(tmp_path: Path) -> None:
    seen = Readings(40.0)
    seen.take(20.0, 4, 250.0)
    done, (step,) = weighed(tmp_path, [r for r in seen.rows() if not 15.0 < r[0] < 25.0])
    assert done.counters["gaps"] == 2
    assert float(step["t_start_s"]) <= 15.0 <= 24.9 < float(step["t_end_s"])


def test_file_without_rows_gives_a_file_without_steps(tmp_path: Path) -> None:
    done, steps = weighed(tmp_path, [])
    assert (done.rows, done.from_s, steps) == (0, None, [])
    assert (tmp_path / "out.csv").read_text() == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "in.csv: is empty"),
        ("t_s,plate,gram\n", "in.csv:1: unknown column 'gram'; did you mean grams"),
        ("t_s,plate,grams\n1,p1,2\n2,p1,heavy\n", "in.csv:3: grams = 'heavy' is no number"),
        ("t_s,plate,grams\n1,p1,nan\n", "in.csv:2: grams = nan is not finite"),
        ("t_s,plate,grams\n1,q1,2\n", "in.csv:2: unknown plate 'q1'; did you mean 'p1'?"),
        ("t_s,plate,grams\n1,p1\n", "in.csv:2: has 2 fields"),
        ("t_s,plate,grams\n1,p1,2\n0.9,p1,2\n", "in.csv:3: t_s = 0.900000 of 'p1' lies before"),
        ("t_s,plate,grams\n1e15,p1,2\n", "in.csv:2: t_s = 1e+15 is no time in seconds"),
    ],
)
def test_wrong_files_are_named_with_line_and_leave_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "store.toml").write_text(STORE)
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(CsvError) as error:
        read_back(tmp_path)
    assert message in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "store.toml"]


def test_the_file_itself_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "store.toml").write_text(STORE)
    (tmp_path / "in.csv").write_text("t_s,plate,grams\n")
    with pytest.raises(CsvError, match="is the file to be read"):
        weigh_file(tmp_path / "in.csv", tmp_path / "store.toml", tmp_path / "in.csv")


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_tables, "BLOCK_ROWS", 4_096)  # many blocks of a short file
    peaks = []
    for seconds in (30.0, 90.0):
        weighed(tmp_path, Readings(seconds).rows())
        tracemalloc.start()
        read_back(tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_command_writes_steps_and_prints_counts(tmp_path: Path) -> None:
    seen = Readings(15.0)
    seen.take(10.0, 2, 250.0)
    weighed(tmp_path, seen.rows())
    files = [str(tmp_path / name) for name in ("in.csv", "store.toml", "steps.csv")]
    command = ["weights", files[0], "--store", files[1], "--out", files[2]]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["steps"] == 1
    assert "1 steps in 10800 rows of 12 plates" in CliRunner().invoke(app, command).stdout
    wrong = CliRunner().invoke(app, ["weights", "gone.csv", "--store", files[1], "--out", files[2]])
    assert (wrong.exit_code, "gone.csv: cannot be read" in wrong.output) == (2, True)
