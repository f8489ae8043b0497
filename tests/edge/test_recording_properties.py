"""Whatever comes: recordings and imports answer with their own errors."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import ConfigError
from edge.csv_tables import CsvError
from edge.recording import Recording, RecordingError, RecordingWriter
from edge.recording_import import import_folder
from edge.recording_recover import recover
from messages import codec
from messages.ids import DeviceId, GateId
from messages.observations import DeviceHealth, DeviceState, GateSignal, GateSignalKind

STORE = """
[[plate]]
id = "p"
shelf = "s"
x_m = 1.0
y_m = 1.0
z_m = 1.0
width_m = 0.3
depth_m = 0.4
[[gate]]
id = "g"
x_m = 0.0
y_m = 0.0
"""
files = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
words = st.text(max_size=20)
instants = st.integers(0, 2**62)
signals = st.builds(
    GateSignal,
    gate=words.map(GateId),
    device=words.map(DeviceId),
    kind=st.sampled_from(GateSignalKind),
    received_at_ns=instants,
    credential=st.none() | words,
    number=st.none() | st.integers(0, 2**40),
)
health = st.builds(
    DeviceHealth,
    device=words.map(DeviceId),
    received_at_ns=instants,
    state=st.sampled_from(DeviceState),
    detail=words,
    counters=st.dictionaries(words, st.integers(0, 2**40), max_size=3),
)


@files
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 2**40), st.lists(signals | health, max_size=4)),
        max_size=6,
    )
)
def test_any_steps_come_out_as_they_went_in(
    steps: list[tuple[int, int, list[GateSignal | DeviceHealth]]], tmp_path: Path
) -> None:
    path, number, now_ns, given_ = tmp_path / "x.mcap", 0, 0, []
    with RecordingWriter(path, toml=STORE) as writer:
        for skip, wait_ns, observations in steps:
            number, now_ns = number + skip, now_ns + wait_ns
            writer.step(number, now_ns, observations)
            given_.append((number, now_ns, codec.encode_many(observations)))
    recording = Recording.open(path)
    found = [(s.step, s.now_ns, codec.encode_many(s.observations)) for s in recording.steps()]
    assert found == given_


@files
@given(data=st.binary(max_size=400), whole=st.booleans())
def test_any_bytes_are_a_recording_or_a_recording_error(
    data: bytes, whole: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.mcap"
    magic = bytes((137, 77, 67, 65, 80, 48, 13, 10))
    path.write_bytes(magic + data + magic if whole else data)
    with contextlib.suppress(RecordingError):
        list(Recording.open(path).steps())
    with contextlib.suppress(RecordingError):
        recover(path, tmp_path / "y.mcap")


@files
@given(
    name=st.sampled_from(["weights.csv", "detections.csv", "gates.csv", "truth.json"]),
    header=st.sampled_from(
        [
            b"t_s,plate,grams\n",
            b"t_s,camera,x_m,y_m,score\n",
            b"t_s,gate,signal,credential\n",
            b"",
        ]
    ),
    rows=st.lists(
        st.lists(
            st.sampled_from([b"1", b"2.5", b"-3", b"1e309", b"p", b"g", b"enter", b"exit", b"nan"])
            | st.binary(max_size=6),
            min_size=3,
            max_size=5,
        ),
        max_size=5,
    ),
)
def test_any_files_are_imported_or_refused_by_name(
    name: str, header: bytes, rows: list[list[bytes]], tmp_path: Path
) -> None:
    folder = tmp_path / "day"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(header + b"\n".join(b",".join(row) for row in rows))
    (tmp_path / "store.toml").write_text(STORE)
    with contextlib.suppress(CsvError, ConfigError):
        import_folder(folder, tmp_path / "store.toml", tmp_path / "x.mcap")
        Recording.open(tmp_path / "x.mcap")
