"""Recordings: what goes in comes out, damage is named, other tools can read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcap.reader import make_reader
from recordings import record, replayed, small_day

from edge.recording import Recording, RecordingError, RecordingWriter
from edge.recording_schemas import OBSERVATIONS, observation_schema
from edge.snapshots import Snapshot
from messages import codec


def test_steps_come_out_as_they_went_in(tmp_path: Path) -> None:
    day = small_day()
    recording = Recording.open(record(day, tmp_path / "x.mcap"))
    found = list(recording.steps())
    assert [(s.step, s.now_ns) for s in found] == [
        (i, now_ns) for i, (now_ns, _) in enumerate(day.steps, start=1)
    ]
    for step, (_, observations) in zip(found, day.steps, strict=True):
        assert codec.encode_many(step.observations) == codec.encode_many(observations)
    assert recording.toml == day.toml


def test_a_replay_gives_the_events_of_the_live_run(tmp_path: Path) -> None:
    day = small_day()
    recording = Recording.open(record(day, tmp_path / "x.mcap"))
    live = [codec.to_json(output.message) for output in recording.live_events()]
    assert live == [line for step in day.events for line in step]
    assert live
    assert replayed(recording) == live


def test_events_know_the_step_that_they_followed(tmp_path: Path) -> None:
    recording = Recording.open(record(small_day(), tmp_path / "x.mcap"))
    for output in recording.live_events():
        assert output.message.id.split("-")[-2] == str(output.step)


def test_attachments_metadata_and_snapshot_come_back(tmp_path: Path) -> None:
    day, path = small_day(), tmp_path / "x.mcap"
    snapshot = Snapshot(step=41, now_ns=7, toml=day.toml, state=b"state")
    with RecordingWriter(path, toml=day.toml, snapshot=snapshot, meta={"seed": "7"}) as writer:
        writer.step(42, 4_200_000_000, day.steps[0][1])
        writer.attach("truth.json", "application/json", b"{}")
    recording = Recording.open(path)
    assert recording.snapshot == snapshot
    assert recording.attachments["truth.json"] == b"{}"
    assert recording.meta["store"] == "scaled"
    assert recording.meta["seed"] == "7"
    assert recording.meta["started"].startswith("2026-01-01T00:00:00")
    assert [step.step for step in recording.steps()] == [42]


def test_the_plain_mcap_reader_opens_it(tmp_path: Path) -> None:
    day = small_day()
    path = record(day, tmp_path / "x.mcap", scene=True)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        messages = list(reader.iter_messages(log_time_order=False))
        summary = reader.get_summary()
        names = [attachment.name for attachment in reader.iter_attachments()]
    topics = {channel.topic for _, channel, _ in messages}
    assert names == ["store.toml"]
    assert {"/steps", "/clock", "/events", "/commands", "/scene"} <= topics
    assert any(topic.startswith("/shelf/") for topic in topics)
    assert any(topic.startswith("/camera/") for topic in topics)
    assert any(topic.startswith("/gate/") for topic in topics)
    assert all(schema.encoding == "jsonschema" for schema, _, _ in messages)
    assert all(json.loads(schema.data)["type"] == "object" for schema, _, _ in messages)
    assert sum(channel.topic == "/steps" for _, channel, _ in messages) == len(day.steps)
    assert summary is not None
    for chunk in summary.chunk_indexes:
        assert chunk.compression == "zstd"
        assert chunk.message_end_time - chunk.message_start_time <= 1_300_000_000


def test_every_observation_has_a_schema_that_names_each_of_its_fields() -> None:
    for kind in OBSERVATIONS:
        schema = json.loads(observation_schema(kind))
        assert set(schema["properties"]) == set(kind.__dataclass_fields__)
        assert schema["title"] == f"walkout.{kind.__name__}"
    samples = json.loads(observation_schema(OBSERVATIONS[0]))["properties"]
    assert samples["readings"]["prefixItems"][0]["enum"] == ["<f4", "<i4"]


def test_a_truncated_file_names_the_place_and_the_remedy(tmp_path: Path) -> None:
    path = record(small_day(), tmp_path / "x.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(RecordingError) as error:
        Recording.open(cut)
    assert f"walkout recording recover {cut}" in str(error.value)
    assert error.value.offset is not None
    assert 0 < error.value.offset < cut.stat().st_size
