"""CSV files of a store that nobody here has built: import, receipts, errors that help."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import record, small_day

from edge.csv_tables import CsvError
from edge.recording import Recording
from edge.recording_export import export
from edge.recording_import import import_folder
from messages.observations import GateSignal, GateSignalKind, PersonDetections, ShelfSamples
from sim.replay import receipts, replay

# Only the keys that the format fixes; a camera 3 m above (3, 2) looks straight down.
MINIMAL = """
[[plate]]
id = "p1"
shelf = "s1"
x_m = 2.0
y_m = 0.3
z_m = 1.0
width_m = 0.3
depth_m = 0.4
[[plate]]
id = "p2"
shelf = "s1"
x_m = 3.0
y_m = 0.3
z_m = 1.0
width_m = 0.3
depth_m = 0.4
[[sku]]
id = "tea"
mass_g = 250.0
mass_sd_g = 2.0
[[sku]]
id = "jam"
mass_g = 450.0
mass_sd_g = 3.0
[[facing]]
sku = "tea"
plates = ["p1"]
[[facing]]
sku = "jam"
plates = ["p2"]
[[gate]]
id = "door"
x_m = 0.0
y_m = 2.0
"""
CAMERA = """
[[camera]]
id = "c1"
camera_matrix = [[300.0, 0.0, 320.0], [0.0, 300.0, 240.0], [0.0, 0.0, 1.0]]
distortion = [0.0, 0.0, 0.0, 0.0, 0.0]
store_from_camera = [[1.0, 0, 0, 2.0], [0, -1.0, 0, 1.5], [0, 0, -1.0, 6.0], [0, 0, 0, 1.0]]
"""
# (t_s, x_m, y_m): in, to the tea, out
WALK = [(5.0, 0.0, 2.0), (8.0, 2.0, 0.9), (14.0, 2.0, 0.9), (17.0, 0.0, 2.0)]
TAKEN_AT_S = 11.0


def write(path: Path, header: str, rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def weights(shift_s: float = 0.0, end_s: float = 20.0) -> list[tuple[float, str, float]]:
    """10 Hz, 1.5 g of noise; one tea leaves p1."""
    rng, rows = np.random.default_rng(1), []
    for i in range(int(end_s * 10)):
        t_s = i / 10
        tea = 2500.0 - (250.4 if t_s >= TAKEN_AT_S else 0.0)
        rows += [
            (t_s + shift_s, plate, round(mass + rng.normal(0, 1.5), 2))
            for plate, mass in (("p1", tea), ("p2", 4500.0))
        ]
    return rows


def walked(shift_s: float = 0.0) -> list[tuple[float, float, float]]:
    t_s = np.arange(5.0, 17.0, 0.1)
    x_m = np.interp(t_s, [w[0] for w in WALK], [w[1] for w in WALK])
    y_m = np.interp(t_s, [w[0] for w in WALK], [w[2] for w in WALK])
    return [
        (round(t + shift_s, 3), round(x, 3), round(y, 3))
        for t, x, y in zip(t_s, x_m, y_m, strict=True)
    ]


def gates(shift_s: float = 0.0) -> list[tuple[float, str, str, str]]:
    rows = [(4.0, "credential", "ann"), (5.0, "enter", ""), (17.0, "exit", "")]
    return [(t + shift_s, "door", signal, name) for t, signal, name in rows]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder ``day`` with a shopper on the floor, beside ``store.toml``."""
    (tmp_path / "store.toml").write_text(MINIMAL)
    day = tmp_path / "day"
    day.mkdir()
    write(day / "weights.csv", "t_s,plate,grams", weights())
    points = [(t, "up", x, y, 0.9) for t, x, y in walked()]
    write(day / "detections.csv", "t_s,camera,x_m,y_m,score", points)
    write(day / "gates.csv", "t_s,gate,signal,credential", gates())
    return tmp_path


def imported(store: Path) -> Recording:
    import_folder(store / "day", store / "store.toml", store / "x.mcap")
    return Recording.open(store / "x.mcap")


def lines(recording: Recording) -> dict[str, dict[str, int]]:
    done = replay(recording)
    return {
        receipt["credential"]: {line["sku"]: line["quantity"] for line in receipt["lines"]}
        for receipt in receipts(done.events, done.zero_ns)
    }


def test_a_minimal_store_gives_the_receipt_of_what_was_taken(store: Path) -> None:
    recording = imported(store)
    assert lines(recording) == {"ann": {"tea": 1}}
    assert recording.meta["zero_ns"] == "1000000000"
    assert not recording.has_steps


def test_boxes_of_a_calibrated_camera_serve_as_well(store: Path) -> None:
    (store / "store.toml").write_text(MINIMAL + CAMERA)
    rows = [
        (t, "c1", *[round(v, 1) for v in (u - 12, v - 30, u + 12, v)], 0.9)
        for t, u, v in ((t, *pixel(x, y)) for t, x, y in walked())
    ]
    write(store / "day" / "detections.csv", "t_s,camera,x1,y1,x2,y2,score", rows)
    assert set(lines(imported(store))) == {"ann"}


def pixel(x_m: float, y_m: float) -> tuple[float, float]:
    return 320 + (x_m - 2.0) * 50, 240 - (y_m - 1.5) * 50


def test_unix_times_count_from_the_first_second(store: Path) -> None:
    day, shift_s = store / "day", 1_600_000_000.25
    write(day / "weights.csv", "t_s,plate,grams", weights(shift_s))
    points = [(t, "up", x, y, 0.9) for t, x, y in walked(shift_s)]
    write(day / "detections.csv", "t_s,camera,x_m,y_m,score", points)
    write(day / "gates.csv", "t_s,gate,signal,credential", gates(shift_s))
    recording = imported(store)
    assert lines(recording) == {"ann": {"tea": 1}}
    assert recording.meta["started"].startswith("2020-09-13T12:26:40")
    done = replay(recording)
    closed_s = receipts(done.events, done.zero_ns)[0]["closed_at_s"]
    assert shift_s + 17 < closed_s < shift_s + 40


def test_the_order_of_columns_and_of_sources_does_not_matter(store: Path) -> None:
    plain = lines(imported(store))
    by_plate = sorted(weights(), key=lambda row: row[1])
    rows = [(grams, t_s, plate) for t_s, plate, grams in by_plate]
    write(store / "day" / "weights.csv", "grams,t_s,plate", rows)
    assert lines(imported(store)) == plain


def test_plates_that_are_sampled_apart_are_held(store: Path) -> None:
    rows = [(t + 0.03 * (plate == "p2"), plate, grams) for t, plate, grams in weights()]
    thin = [row for i, row in enumerate(rows) if row[1] == "p1" or i % 3]
    write(store / "day" / "weights.csv", "t_s,plate,grams", thin)
    assert lines(imported(store)) == {"ann": {"tea": 1}}


def test_a_gap_in_the_weights_is_a_gap_and_no_step(store: Path) -> None:
    rows = [row for row in weights() if not 6 < row[0] < 9]
    write(store / "day" / "weights.csv", "t_s,plate,grams", rows)
    batches = [s for s in imported(store).observations() if isinstance(s, ShelfSamples)]
    spans = [len(b.readings) * b.sample_period_us for b in batches]
    assert max(spans) <= 250_000
    assert all(not (6.1e9 < b.received_at_ns - 1e9 < 8.9e9) for b in batches)


def test_a_party_is_as_large_as_it_went_in(store: Path) -> None:
    rows = [(4.0, "credential", "ann"), (5.0, "enter", ""), (6.0, "enter", "")]
    rows += [(20.0, "credential", "bob"), (21.0, "enter", "")]
    table = [(t, "door", signal, name) for t, signal, name in rows]
    write(store / "day" / "gates.csv", "t_s,gate,signal,credential", table)
    started = [e for e in replay(imported(store)).events if type(e).__name__ == "VisitStarted"]
    assert [(e.credential, e.party_size) for e in started] == [("ann", 2), ("bob", 1)]


def test_a_said_party_and_named_passages_win(store: Path) -> None:
    header = "t_s,gate,signal,credential,party"
    rows = [(4.0, "door", "credential", "ann", 3), (5.0, "door", "enter", "", "")]
    write(store / "day" / "gates.csv", header, rows)
    started = [e for e in replay(imported(store)).events if type(e).__name__ == "VisitStarted"]
    assert [e.party_size for e in started] == [3]
    rows = [(4.0, "ann", "credential"), (5.0, "ann", "enter"), (6.0, "stranger", "enter")]
    table = [(t, "door", signal, name) for t, name, signal in rows[:2]]
    table.append((30.0, "door", "enter", "stranger"))
    write(store / "day" / "gates.csv", "t_s,gate,signal,credential", table)
    started = [e for e in replay(imported(store)).events if type(e).__name__ == "VisitStarted"]
    assert [(e.credential, e.party_size) for e in started] == [("ann", 1), ("stranger", 1)]


def test_a_name_that_comes_again_is_another_visit_under_the_same_name(store: Path) -> None:
    again = [row for shift in (0.0, 30.0) for row in gates(shift)]
    write(store / "day" / "gates.csv", "t_s,gate,signal,credential", again)
    recording = imported(store)
    started = [e for e in replay(recording).events if type(e).__name__ == "VisitStarted"]
    assert [e.credential for e in started] == ["ann", "ann#2"]
    assert json.loads(recording.attachments["credentials.json"]) == {"ann#2": "ann"}
    done = replay(recording)
    assert [r["credential"] for r in receipts(done.events, done.zero_ns, done.names)] == [
        "ann",
        "ann",
    ]


def test_a_code_that_is_shown_twice_before_going_in_is_used_once(store: Path) -> None:
    rows = [(4.0, "credential", "ann"), (4.4, "credential", "ann"), (5.0, "enter", "")]
    table = [(t, "door", signal, name) for t, signal, name in rows]
    write(store / "day" / "gates.csv", "t_s,gate,signal,credential", table)
    kinds = [type(e).__name__ for e in replay(imported(store)).events]
    assert kinds.count("VisitStarted") == 1
    assert kinds.count("EntryRefused") == 1


def test_only_weights_are_fine(store: Path) -> None:
    (store / "day" / "gates.csv").unlink()
    (store / "day" / "detections.csv").unlink()
    recording = imported(store)
    assert {type(seen).__name__ for seen in recording.observations()} == {
        "ClockAnchor",
        "ShelfSamples",
    }
    assert 195 <= sum(1 for _ in recording.steps()) <= 205


def test_truth_comes_along(store: Path) -> None:
    (store / "day" / "truth.json").write_text('{"visits": [], "actions": []}')
    assert imported(store).attachments["truth.json"] == b'{"visits": [], "actions": []}'


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("weights.csv", "t_s,plate,grams\n1,p1,5\n2,p1,NaN\n", "weights.csv:3: grams = NaN is not"),
        ("weights.csv", "t_s,plate,grams\n1,p1,5\n2,p1,heavy\n", ":3: grams = 'heavy' is no num"),
        ("weights.csv", "t_s,plate,grams\n1,p1,5\n2,p1,\n", "weights.csv:3: grams is empty"),
        ("weights.csv", "t_s,plate,grams\n1,p1,5\n\n2,p9,5\n", ":4: unknown plate 'p9'; did you"),
        ("weights.csv", "t_s,plate,grams\n2,p1,5\n1,p2,5\n1,p1,5\n", ":4: t_s = 1.000000 of 'p1'"),
        ("weights.csv", "t_s,plate,gramms\n1,p1,5\n", "column 'gramms'; did you mean grams?"),
        ("weights.csv", "t_s,plate\n1,p1\n", ":1: lacks the column grams; write t_s,plate,grams"),
        ("weights.csv", "t_s,plate,grams\n1,p1\n", "weights.csv:2: has 2 fields"),
        ("weights.csv", "t_s,plate,grams\n1600000000000000,p1,5\n", "divide by 1e3 or 1e9"),
        ("weights.csv", "", "weights.csv: is empty; its first line must be t_s,plate,grams"),
        ("weights.csv", 't_s,plate,grams\n1,"p1,5\n', "weights.csv:"),
        ("weights.csv", "t_s,plate,grams\n1,p\x001,5\n", "weights.csv:2"),
        ("detections.csv", "t_s,camera,x1,y1,x2,y2,score\n1,c1,1,1,5,5,.9\n", "has no [[camera]]"),
        ("detections.csv", "t_s,camera,x_m,y1,score\n1,c1,1,1,1\n", ":1: "),
        (
            "gates.csv",
            "t_s,gate,signal,credential\n1,door,entr,\n",
            "'entr'; did you mean 'enter'?",
        ),
        ("gates.csv", "t_s,gate,signal,credential\n1,dor,enter,\n", ":2: unknown gate 'dor'; did"),
        ("gates.csv", "t_s,gate,signal,credential\n1,door,credential,\n", "credential is empty"),
        ("gates.csv", "t_s,gate,signal,credential,party\n1,door,enter,,0\n", "write 1 to 99"),
        ("truth.json", "{", "truth.json:1: is no JSON"),
        ("truth.json", "[]", "truth.json: has no list of visits"),
        ("weight.csv", "t_s,plate,grams\n", "weight.csv: is no file of an import"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(
    store: Path, name: str, text: str, wanted: str
) -> None:
    if name == "weight.csv":
        (store / "day" / "weights.csv").unlink()
    (store / "day" / name).write_text(text)
    with pytest.raises(CsvError) as error:
        imported(store)
    assert wanted in str(error.value)
    assert not (store / "x.mcap").exists()


def test_boxes_and_bytes_that_are_wrong_are_named(store: Path) -> None:
    (store / "store.toml").write_text(MINIMAL + CAMERA)
    table = store / "day" / "detections.csv"
    table.write_text("t_s,camera,x1,y1,x2,y2,score\n1,c1,9,1,5,5,.9\n")
    with pytest.raises(CsvError, match=r"detections.csv:2: the box has no area"):
        imported(store)
    table.write_text("t_s,camera,x1,y1,x2,y2,score\n1,c2,1,1,5,5,.9\n")
    with pytest.raises(CsvError, match="unknown camera 'c2'; did you mean 'c1'"):
        imported(store)
    table.write_bytes(b"t_s,camera\xff\n")
    with pytest.raises(CsvError, match="byte 10 is not UTF-8"):
        imported(store)
    with pytest.raises(CsvError, match="is no folder"):
        import_folder(store / "none", store / "store.toml", store / "x.mcap")


def test_what_was_exported_comes_in_again_with_the_same_rows(tmp_path: Path) -> None:
    recording = Recording.open(record(small_day(), tmp_path / "x.mcap"))
    export(recording, tmp_path / "one")
    import_folder(tmp_path / "one", tmp_path / "one" / "store.toml", tmp_path / "y.mcap")
    export(Recording.open(tmp_path / "y.mcap"), tmp_path / "two")
    for name in ("weights.csv", "detections.csv", "gates.csv"):
        one, two = (rows_of(tmp_path / folder / name) for folder in ("one", "two"))
        assert one == two
        assert len(one) > 2
    events = (tmp_path / "one" / "events.jsonl").read_bytes().splitlines()
    assert events == [line for step in small_day().events for line in step]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return sorted(csv.reader(file))


def test_observations_of_an_import_are_what_the_files_say(store: Path) -> None:
    seen = list(imported(store).observations())
    packets = [s for s in seen if isinstance(s, PersonDetections)]
    assert len(packets) == len(walked())
    assert packets[0].positions_store_m is not None
    assert packets[0].positions_store_m.tolist() == [[0.0, 2.0]]
    batches = [s for s in seen if isinstance(s, ShelfSamples)]
    assert sum(len(b.readings) for b in batches) * 2 == len(weights())
    assert {b.unit for b in batches} == {"grams"}
    signals = [s for s in seen if isinstance(s, GateSignal)]
    assert [s.kind for s in signals] == [
        GateSignalKind.CREDENTIAL,
        GateSignalKind.ENTER,
        GateSignalKind.EXIT,
    ]
    assert seen == sorted(seen, key=lambda s: s.received_at_ns)
