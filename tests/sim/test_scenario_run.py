"""One scenario under one seed: its folder, its crashes, its breaches."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.engine import Engine
from edge.recording import Recording, RecordingWriter
from messages.observations import GateSignal, GateSignalKind
from sim import replay
from sim.run_commands import run_main
from sim.scenario_run import FILES, RunResult, run_scenario
from sim.scenario_write import scenario_toml
from tests.sim.small_runs import two_takes

NS = 1_000_000_000
WALL_CLOCK = {"timing.json", "crash.txt"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, RunResult]:
    out = tmp_path_factory.mktemp("run") / "one"
    return out, run_scenario(two_takes(), 3, out)


def text(out: Path, name: str):
    return json.loads((out / name).read_text())


def test_a_run_leaves_everything_that_judges_need(run):
    out, result = run
    assert result.ok, result.complaints()
    assert {path.name for path in out.iterdir()} == set(FILES) - {"crash.txt"}
    assert text(out, "run.json") == {
        "scenario": "two-takes",
        "kind": "ordinary",
        "hard_cases": [],
        "title": "A chocolate goes back, a bottle goes out",
        "seed": 3,
        "store": "corner",
        "duration_s": 8.0,
        "version": text(out, "run.json")["version"],
        "crashed": None,
    }
    assert text(out, "referee.json") == {"breaches": []}
    assert set(text(out, "timing.json")) >= {"wall_s", "store_s", "realtime_factor"}


def test_it_ends_when_everybody_is_out_and_every_cart_is_closed(run):
    out, result = run
    truth, receipts = text(out, "truth.json"), text(out, "receipts.json")
    assert [visit["exited_at_s"] is not None for visit in truth["visits"]] == [True, True]
    assert {r["credential"] for r in receipts} == {v["credential"] for v in truth["visits"]}
    assert result.store_s < 8.0 + 240


def test_receipts_have_the_fields_that_others_read(run):
    receipts = text(run[0], "receipts.json")
    for receipt in receipts:
        assert list(receipt) == ["visit", "credential", "state", "lines", "closed_at_s"]
        assert receipt["state"] in ("closed", "review")
        for line in receipt["lines"]:
            assert list(line) == ["sku", "quantity", "probability", "state"]
            assert line["state"] in ("charged", "review")
    taken = {line["sku"] for receipt in receipts for line in receipt["lines"]}
    assert "wine-red-750ml" in taken


def test_the_recording_holds_truth_and_run(run):
    out, _ = run
    recording = Recording.open(out / "recording.mcap")
    assert recording.attachments["truth.json"] == (out / "truth.json").read_bytes()
    assert recording.attachments["run.json"] == (out / "run.json").read_bytes()
    assert (recording.meta["scenario"], recording.meta["seed"]) == ("two-takes", "3")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_run(run, tmp_path):
    out, _ = run
    run_scenario(two_takes(), 3, tmp_path / "again")
    run_scenario(two_takes(), 4, tmp_path / "other")
    for name in sorted(set(FILES) - WALL_CLOCK - {"recording.mcap"}):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name
    assert (tmp_path / "other" / "events.jsonl").read_bytes() != (out / "events.jsonl").read_bytes()


def test_without_keeping_the_recording_is_gone_when_all_is_well(tmp_path):
    result = run_scenario(two_takes(), 3, tmp_path, keep_recording=False)
    assert result.ok
    assert not (tmp_path / "recording.mcap").exists()


# --- what breaks ----------------------------------------------------------------------------------


def breaks_at(monkeypatch, at_s: float):
    """An engine that raises once store time has come so far."""
    step = Engine.step

    def broken(self, now_ns, observations):
        if now_ns >= at_s * NS:
            raise ZeroDivisionError("planted")
        return step(self, now_ns, observations)

    monkeypatch.setattr(Engine, "step", broken)


def test_a_run_that_raises_is_a_result_that_says_so(tmp_path, monkeypatch):
    breaks_at(monkeypatch, 6.0)
    result = run_scenario(two_takes(), 3, tmp_path, keep_recording=False)
    assert not result.ok
    assert result.crashed == "after 5.9 s of store time: ZeroDivisionError: planted"
    assert text(tmp_path, "run.json")["crashed"] == result.crashed
    assert "Traceback" in (tmp_path / "crash.txt").read_text()
    assert text(tmp_path, "receipts.json") == []
    assert [visit["exited_at_s"] for visit in text(tmp_path, "truth.json")["visits"]] == [None]
    steps = list(Recording.open(tmp_path / "recording.mcap").steps())
    assert steps[-1].now_ns == 6 * NS  # the step that broke it is kept, to look into


def test_a_crash_is_told_loudly_and_ends_with_status_1(tmp_path, monkeypatch, capsys):
    (tmp_path / "two-takes.toml").write_text(scenario_toml(two_takes()))
    breaks_at(monkeypatch, 6.0)
    status = run_main(
        str(tmp_path / "two-takes.toml"),
        seed=3,
        out=tmp_path / "out",
        on_devices=False,
        keep=True,
        json_output=True,
    )
    printed = capsys.readouterr()
    assert status == 1
    assert "two-takes seed 3 CRASHED after 5.9 s" in printed.err
    assert json.loads(printed.out)["crashed"].startswith("after 5.9 s")


def test_a_recording_that_lacks_an_exit_does_not_replay_to_the_same_events(tmp_path, monkeypatch):
    step = RecordingWriter.step

    def forgetful(self, number, now_ns, observations):
        kept = [
            seen
            for seen in observations
            if not (isinstance(seen, GateSignal) and seen.kind is GateSignalKind.EXIT)
        ]
        step(self, number, now_ns, kept)

    monkeypatch.setattr(RecordingWriter, "step", forgetful)
    result = run_scenario(two_takes(), 3, tmp_path, keep_recording=False)
    assert "replay" in [breach.kind for breach in result.breaches]
    assert any("two-takes seed 3 BREACH" in line for line in result.complaints())
    assert "replay" in [breach["kind"] for breach in text(tmp_path, "referee.json")["breaches"]]
    assert (tmp_path / "recording.mcap").exists()


def test_a_replay_that_raises_is_a_crash_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(replay.Player, "_begun", _no_engine)
    result = run_scenario(two_takes(duration_s=1.0), 3, tmp_path)
    assert result.crashed is not None
    assert "ReplayError: planted" in result.crashed
    assert text(tmp_path, "run.json")["crashed"] == result.crashed


def _no_engine(self, source, config):
    raise replay.ReplayError("planted")


def test_files_of_an_earlier_run_do_not_survive(tmp_path):
    (tmp_path / "crash.txt").write_text("old")
    run_scenario(two_takes(duration_s=1.0), 3, tmp_path)
    assert not (tmp_path / "crash.txt").exists()


def test_the_command_runs_a_scenario_file_and_prints_one_object(tmp_path):
    (tmp_path / "quick.toml").write_text(scenario_toml(replace(two_takes(), name="quick")))
    command = [sys.executable, "-m", "walkout", "sim", "run", str(tmp_path / "quick.toml")]
    done = subprocess.run(
        [*command, "--seed", "5", "--out", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["scenario"], found["seed"], found["breaches"]) == ("quick", 5, [])


def test_an_unknown_scenario_is_one_line_and_status_2(tmp_path):
    command = [sys.executable, "-m", "walkout", "sim", "run", "hard-nonsense"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("walkout: ")
    assert "hard-nonsense" in done.stderr
