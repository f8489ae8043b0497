"""The commands for recordings, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recordings import record, small_day
from typer.testing import CliRunner, Result

from walkout import app


def walkout(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["recording", *map(str, arguments)])


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("day") / "day.mcap"
    return record(small_day(), path, truth=b'{"visits": [], "actions": []}')


def test_info_is_a_table_or_one_object(day: Path) -> None:
    table = walkout("info", day)
    assert table.exit_code == 0
    assert "200 steps, numbers 1 to 200" in table.output
    assert "ShelfSamples" in table.output
    assert "with truth" in table.output
    found = json.loads(walkout("info", day, "--json").output)
    assert found["steps"]["count"] == 200
    assert found["topics"][0]["rate_hz"] > 0


def test_cut_then_export_then_import(day: Path, tmp_path: Path) -> None:
    cut = walkout("cut", day, "--from", "5", "--to", "+14.9", "--out", tmp_path / "cut.mcap")
    assert (
        cut.output.strip() == f"{tmp_path / 'cut.mcap'}: 101 steps from step 50, truth of 0 visits"
    )
    exported = walkout("export", tmp_path / "cut.mcap", "--out", tmp_path / "csv", "--json")
    rows = json.loads(exported.output)
    assert rows["weights"] > 1000
    names = {path.name for path in (tmp_path / "csv").iterdir()}
    assert names == {
        "weights.csv",
        "detections.csv",
        "gates.csv",
        "events.jsonl",
        "store.toml",
        "truth.json",
    }
    store = tmp_path / "csv" / "store.toml"
    done = walkout("import", tmp_path / "csv", "--store", store, "--out", tmp_path / "y.mcap")
    assert f"{rows['weights']} weights" in done.output
    assert "with truth" in done.output


def test_recover_says_what_was_saved_and_what_was_lost(day: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(day.read_bytes()[: day.stat().st_size // 2])
    refused = walkout("info", cut)
    assert refused.exit_code == 2
    assert f"walkout recording recover {cut}" in refused.output
    assert len(refused.output.strip().splitlines()) == 1
    saved = walkout("recover", cut)
    assert saved.exit_code == 0
    assert "saved " in saved.output
    assert "lost: bytes " in saved.output
    assert walkout("info", tmp_path / "cut-recovered.mcap").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("info", "none.mcap"), "none.mcap: cannot be read"),
        (("cut", "{day}", "--from", "900", "--to", "950", "--out", "x.mcap"), "no step from 900"),
        (("cut", "{day}", "--from", "x", "--to", "9", "--out", "x.mcap"), "no number of seconds"),
        (("import", "none", "--store", "none.toml", "--out", "x.mcap"), "none.toml: cannot be"),
        (("export", "none.mcap", "--out", "x"), "none.mcap: cannot be read"),
        (("recover", "none.mcap"), "none.mcap: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...],
    wanted: str,
    day: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = walkout(*(one.format(day=day) for one in arguments))
    assert done.exit_code == 2
    assert wanted in done.output
    assert len(done.output.strip().splitlines()) == 1
