"""Replay: the same bytes each time, the same as live, and what is not replayable says why."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edge.config import parse
from edge.engine import snapshot
from edge.recording import RecordedStep, Recording, RecordingError, RecordingWriter
from edge.snapshots import Snapshot
from messages.codec import encode
from messages.events import CartClosed, VisitKind
from messages.observations import ConfigLoaded
from sim.replay import (
    ZERO,
    Player,
    Replayed,
    ReplayError,
    copy_attachments,
    differences,
    events_text,
    live_events,
    receipts,
    replay,
    write,
)
from sim.run_commands import replay_main
from sim.scenario_run import run_scenario
from sim.store_toml import store_toml
from tests.sim.small_runs import two_takes

NS = 1_000_000_000


@dataclass
class Kept:
    """A recording in memory."""

    toml: str
    steps_kept: list[RecordedStep]
    snapshot: Snapshot | None = None
    meta: dict[str, str] = field(default_factory=dict)

    def steps(self):
        return iter(self.steps_kept)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    result = run_scenario(two_takes(), 3, out)
    assert result.ok, result.complaints()
    return out


@pytest.fixture(scope="module")
def recording(folder) -> Recording:
    return Recording.open(folder / "recording.mcap")


@pytest.fixture(scope="module")
def replayed(folder) -> Replayed:
    return replay(folder / "recording.mcap")


def kept(recording: Recording) -> Kept:
    return Kept(recording.toml, list(recording.steps()))


# --- the same ---------------------------------------------------------------------------------


def test_two_replays_and_the_live_run_give_the_same_bytes(folder, recording, replayed, tmp_path):
    for name in ("a", "b"):
        write(replay(folder / "recording.mcap"), tmp_path / name)
    for name in ("events.jsonl", "receipts.json"):
        live = (folder / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() == live
        assert (tmp_path / "b" / name).read_bytes() == live
    assert differences(live_events(recording), replayed.events) == []
    assert len(replayed.events) > 5


def test_every_line_of_events_is_an_object_with_its_type(replayed):
    lines = events_text(replayed.events).decode().splitlines()
    assert [json.loads(line)["type"] for line in lines] == [
        type(event).__name__ for event in replayed.events
    ]


def test_steps_in_memory_replay_like_the_file(recording, replayed):
    assert replay(kept(recording)).events == replayed.events


def test_a_replayed_folder_has_truth_and_run_beside_the_receipts(folder, recording, tmp_path):
    assert copy_attachments(recording, tmp_path) == ["truth.json", "run.json"]
    assert (tmp_path / "truth.json").read_bytes() == (folder / "truth.json").read_bytes()


def test_receipts_count_from_the_zero_of_the_recording(recording, replayed):
    late = kept(recording)
    late.meta = {ZERO: str(5 * NS)}
    again = replay(late)
    assert again.zero_ns == 5 * NS
    first = receipts(replayed.events)[0]["closed_at_s"]
    assert receipts(again.events, again.zero_ns)[0]["closed_at_s"] == pytest.approx(first - 5)


def test_staff_have_no_receipt(replayed):
    closed = [event for event in replayed.events if isinstance(event, CartClosed)]
    staff = [replace(cart, kind=VisitKind.STAFF) for cart in closed]
    assert len(receipts(closed)) == len(closed) == 2
    assert receipts(staff) == []


# --- beginnings and changes --------------------------------------------------------------------


def test_a_recording_that_begins_with_a_snapshot_goes_on_with_the_same_events(recording, replayed):
    whole = kept(recording)
    middle = len(whole.steps_kept) // 2
    player = Player(whole, None, name="first half")
    for step in whole.steps_kept[:middle]:
        player.play(step)
    state = Snapshot(
        step=middle, now_ns=player.now_ns, toml=whole.toml, state=snapshot(player.engine)
    )
    rest = replay(Kept(whole.toml, whole.steps_kept[middle:], state))
    assert rest.events == replayed.events[len(player.events) :]
    assert 0 < len(rest.events) < len(replayed.events)


def test_a_configuration_loaded_on_the_way_carries_visits_over(recording, replayed):
    whole, config = kept(recording), parse(recording.toml)
    other = store_toml(replace(config, decision=replace(config.decision, review_deadline_s=2.0)))
    middle = len(whole.steps_kept) // 2
    step = whole.steps_kept[middle]
    loaded = ConfigLoaded(received_at_ns=step.now_ns, digest="", toml=other)
    whole.steps_kept[middle] = replace(step, observations=[loaded, *step.observations])
    again = replay(whole)
    assert again.config.decision.review_deadline_s == 2.0
    assert {r["credential"] for r in receipts(again.events)} == {
        r["credential"] for r in receipts(replayed.events)
    }


def test_a_given_configuration_takes_the_place_of_every_recorded_one(recording):
    config = parse(recording.toml)
    strict = replace(config.decision, charge_probability_min=0.999_999)
    asked = parse(store_toml(replace(config, decision=strict)))
    again = replay(kept(recording), asked)
    states = {line["state"] for r in receipts(again.events) for line in r["lines"]}
    assert states == {"review"}


def test_an_import_without_steps_replays_and_finds_the_same_lines(recording, replayed, tmp_path):
    seen = sorted(
        (one for step in recording.steps() for one in step.observations),
        key=lambda one: one.received_at_ns,
    )
    meta = {"drain_s": "30"}
    with RecordingWriter(tmp_path / "import.mcap", toml=recording.toml, meta=meta) as writer:
        writer.observe(seen)
    again = replay(tmp_path / "import.mcap")
    assert lines(again) == lines(replayed)


def lines(replayed: Replayed) -> list:
    return [
        (row["credential"], [(n["sku"], n["quantity"], n["state"]) for n in row["lines"]])
        for row in receipts(replayed.events)
    ]


def test_numbers_of_steps_that_were_set_aside_stay_free(recording):
    whole = kept(recording)
    shifted = [replace(step, step=step.step + 100) for step in whole.steps_kept]
    again = replay(Kept(whole.toml, shifted))
    first = next(event for event in again.events)
    assert int(str(first.id).split("-")[-2]) > 100


# --- what is wrong -----------------------------------------------------------------------------


def test_a_step_that_raises_is_named_with_its_time(recording):
    whole = kept(recording)
    back = replace(whole.steps_kept[5], now_ns=0)
    whole.steps_kept[5] = back
    with pytest.raises(ReplayError, match=r"run: step 6 at 0\.000 s.*backwards.*; cut"):
        replay(whole)


def test_a_snapshot_of_another_version_says_so(recording):
    state = Snapshot(step=1, now_ns=1, toml=recording.toml, state=b"\x01")
    with pytest.raises(ReplayError, match="another version"):
        replay(Kept(recording.toml, [], state))


def test_a_zero_that_is_no_number_says_so(recording):
    with pytest.raises(ReplayError, match="zero_ns = 'noon'"):
        replay(Kept(recording.toml, [], meta={ZERO: "noon"}))


def test_a_file_that_is_no_recording_is_refused(tmp_path):
    (tmp_path / "x.mcap").write_bytes(b"hello")
    with pytest.raises(RecordingError, match=r"x\.mcap"):
        replay(tmp_path / "x.mcap")


def test_the_first_difference_is_named_with_its_fields(replayed):
    events = list(replayed.events)
    changed = [events[0], replace(events[1], at_ns=events[1].at_ns + 1), *events[2:-1]]
    found = differences(events, changed)
    assert [one.index for one in found] == [1, len(events) - 1]
    assert f"at_ns: {events[1].at_ns} live" in str(found[0])
    assert str(found[1]).startswith(f"event {len(events) - 1}: only the live run has")


# --- the command -------------------------------------------------------------------------------


def test_the_command_writes_the_folder_and_checks_against_live(folder, tmp_path, capsys):
    status = replay_main(
        folder / "recording.mcap", out=tmp_path, store=None, check=True, json_output=True
    )
    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert found["differences"] == []
    assert found["live_events"] == found["events"]
    assert {"events.jsonl", "receipts.json", "truth.json", "run.json", "timing.json"} == {
        path.name for path in tmp_path.iterdir()
    }


def test_the_check_ends_with_status_1_where_the_live_run_concluded_something_else(
    recording, tmp_path, capsys
):
    path = tmp_path / "other.mcap"
    live = {}
    for output in recording.live_events():
        live.setdefault(output.step, []).append(output.message)
    with RecordingWriter(path, toml=recording.toml) as writer:
        for step in recording.steps():
            writer.step(step.step, step.now_ns, step.observations)
            told = [replace(e, at_ns=e.at_ns + 1) for e in live.get(step.step, [])]
            writer.events(step.now_ns, told)
    status = replay_main(path, out=tmp_path / "out", store=None, check=True, json_output=False)
    printed = capsys.readouterr()
    assert status == 1
    assert "walkout: differs: event 0 (VisitStarted" in printed.err


def test_another_store_file_is_used_in_place_of_the_recorded_one(folder, recording, tmp_path):
    config = parse(recording.toml)
    strict = replace(config, decision=replace(config.decision, charge_probability_min=0.999_999))
    (tmp_path / "strict.toml").write_text(store_toml(strict))
    command = [sys.executable, "-m", "walkout", "replay", str(folder / "recording.mcap")]
    command += ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "strict.toml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "receipts.json").read_text())
    assert {line["state"] for receipt in found for line in receipt["lines"]} == {"review"}


def test_a_broken_recording_is_one_line_and_status_2(folder, tmp_path):
    whole = (folder / "recording.mcap").read_bytes()
    (tmp_path / "half.mcap").write_bytes(whole[: len(whole) // 2])
    command = [sys.executable, "-m", "walkout", "replay", str(tmp_path / "half.mcap")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "recover" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_observations_come_back_from_the_file_as_they_were(recording):
    twice = [[encode(one) for step in kept(recording).steps_kept for one in step.observations]] * 2
    assert twice[0] == [encode(one) for step in recording.steps() for one in step.observations]
