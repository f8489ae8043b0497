"""Clips: blurred in memory, encrypted on disk, gone in time, every access written down."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import walkout
from edge.cameras.clip_file import (
    AUDIT,
    ClipError,
    clips_in,
    delete_clip,
    expire,
    new_key,
    read_clip,
    read_key,
    write_clip,
)
from edge.cameras.clip_keeper import ASKED_MAX, LATER_NS, ClipKeeper
from edge.cameras.clip_ring import ClipRing, KeptImage
from edge.vision.detectors.found import Found, nothing
from messages.commands import KeepClip
from messages.ids import CameraId, CommandId

S = 1_000_000_000
KEY = bytes(range(32))
SPAN = (10 * S, 20 * S)


def person(x: float = 100.0) -> Found:
    return Found(np.array([[x, 40.0, x + 60, 220.0]]), np.array([0.9]))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def decoded(image: KeptImage) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR).astype(float)


def sharpness(image: np.ndarray, x: int, y: int) -> float:
    return float(np.abs(np.diff(image[y : y + 30, x : x + 40], axis=1)).mean())


def test_a_ring_keeps_the_last_seconds_with_heads_blurred() -> None:
    ring = ClipRing(2.0)
    for i in range(30):
        ring.add(i * S // 5, noise(i), person())
    kept = ring.between(0, 10 * S)
    assert [k.captured_at_ns for k in kept] == [i * S // 5 for i in range(19, 29)]
    image = decoded(kept[-1])
    assert sharpness(image, 110, 45) < 0.3 * sharpness(image, 110, 150)
    assert ring.bytes == sum(len(k.jpeg) for k in kept)
    ring.forget(100 * S)
    assert ring.between(0, 10 * S) == []
    assert ring.bytes == 0


def test_a_head_that_was_missed_in_one_image_is_blurred_from_its_neighbours() -> None:
    ring = ClipRing(10.0)
    for i in range(6):
        ring.add(i * S // 5, noise(i), nothing() if i == 3 else person(100.0))
    image = decoded(ring.between(3 * S // 5, 3 * S // 5)[0])
    assert sharpness(image, 110, 45) < 0.3 * sharpness(image, 110, 150)


def test_an_image_in_which_nobody_was_found_shows_nothing_fine() -> None:
    ring = ClipRing(10.0)
    for i in range(4):
        ring.add(i * S // 5, noise(i), nothing())
    image = decoded(ring.between(0, S)[1])
    assert max(sharpness(image, x, y) for x in (20, 200) for y in (20, 150)) < 6.0


def test_a_ring_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.cameras.clip_ring.RING_BYTES_MAX", 200_000)
    ring = ClipRing(1000.0)
    for i in range(40):
        ring.add(i * S, noise(i), person())
    assert 0 < ring.bytes <= 200_000
    assert len(ring.between(0, 1000 * S)) < 20


def a_clip(folder: Path, name: str = "store-1-c0.0") -> Path:
    images = {"cam-1": [KeptImage(11 * S, b"jpeg-of-somebody"), KeptImage(12 * S, b"second")]}
    return write_clip(folder, KEY, name, "r1: who took it?", SPAN, images)


def test_a_clip_comes_back_with_its_key_and_shows_nothing_without(tmp_path: Path) -> None:
    path = a_clip(tmp_path / "clips")
    data = path.read_bytes()
    assert b"somebody" not in data
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    head, images = read_clip(path.parent, KEY, "store-1-c0.0")
    assert (head.reason, head.cameras, head.images) == ("r1: who took it?", ("cam-1",), 2)
    assert [(c, i.jpeg) for c, i in images] == [
        ("cam-1", b"jpeg-of-somebody"),
        ("cam-1", b"second"),
    ]
    with pytest.raises(ClipError, match="another key"):
        read_clip(path.parent, bytes(32), "store-1-c0.0")
    assert a_clip(tmp_path / "other").read_bytes() != data  # a nonce of its own


@pytest.mark.parametrize("at", [12, 40, -20])
def test_a_changed_byte_is_found_also_in_the_head(tmp_path: Path, at: int) -> None:
    path = a_clip(tmp_path)
    data = bytearray(path.read_bytes())
    where = data.index(b"who") if at == 40 else at
    data[where] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ClipError):
        read_clip(tmp_path, KEY, "store-1-c0.0")


def test_clips_end_after_their_days_and_every_access_is_written_down(tmp_path: Path) -> None:
    old, young = a_clip(tmp_path, "old"), a_clip(tmp_path, "young")
    (tmp_path / "half.new").write_bytes(b"x")
    now_s = time.time()
    for path, days in ((old, 31.0), (tmp_path / "half.new", 1.0)):
        os.utime(path, (now_s - days * 86_400, now_s - days * 86_400))
    assert expire(tmp_path, 30.0, now_s) == 1
    assert [head.id for head in clips_in(tmp_path)] == ["young"]
    assert not (tmp_path / "half.new").exists()
    delete_clip(tmp_path, "young")
    assert not young.exists()
    lines = [json.loads(line) for line in (tmp_path / AUDIT).read_text().splitlines()]
    assert [(x["did"], x["clip"]) for x in lines] == [
        ("kept", "old"),
        ("kept", "young"),
        ("expired", "old"),
        ("expired", "half"),
        ("deleted", "young"),
    ]
    assert lines[0]["uid"] == os.getuid()
    assert (tmp_path / AUDIT).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../etc", "", "a/b", ".hidden", "x" * 200])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClipError):
        a_clip(tmp_path, name)
    with pytest.raises(ClipError, match="walkout clips list"):
        delete_clip(tmp_path, name)


def test_a_key_others_may_read_or_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    new_key(path)
    assert len(read_key(path)) == 32
    with pytest.raises(ClipError, match="File exists"):
        new_key(path)
    path.chmod(0o644)
    with pytest.raises(ClipError, match="chmod 600"):
        read_key(path)
    for text, what in (("abcd", "2 bytes"), ("zz" * 32, "not hexadecimal")):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(ClipError, match=what):
            read_key(path)
    with pytest.raises(ClipError, match="new-key"):
        read_key(tmp_path / "none")


def asked(name: str = "q", end_ns: int = 5 * S) -> KeepClip:
    return KeepClip(
        id=CommandId(name),
        not_after_ns=2**62,
        reason="why",
        cameras=(CameraId("cam-1"), CameraId("cam-9")),
        started_at_ns=S,
        ended_at_ns=end_ns,
    )


def keeper(tmp_path: Path, *, key: bool = True) -> ClipKeeper:
    path = tmp_path / "key"
    if key:
        new_key(path)
    return ClipKeeper(["cam-1"], str(tmp_path / "clips"), str(path) if key else "", 20.0, 30.0)


def test_a_clip_that_was_asked_for_waits_for_its_end_and_is_kept(tmp_path: Path) -> None:
    mine = keeper(tmp_path)
    mine.ask(asked())
    for i in range(40):
        mine.saw("cam-1", i * S // 5, noise(i % 3), person())
        mine.work(i * S // 5)
        assert mine.kept == (i * S // 5 >= 5 * S + LATER_NS)
    (head,) = clips_in(tmp_path / "clips")
    assert (head.id, head.cameras, head.images) == ("q", ("cam-1",), 21)
    _, images = read_clip(tmp_path / "clips", read_key(tmp_path / "key"), "q")
    assert (images[0][1].captured_at_ns, images[-1][1].captured_at_ns) == (S, 5 * S)


def test_without_a_key_nothing_is_kept_not_even_in_memory(tmp_path: Path) -> None:
    mine = keeper(tmp_path, key=False)
    mine.ask(asked())
    for i in range(40):
        mine.saw("cam-1", i * S // 5, noise(), person())
        mine.work(i * S // 5)
    assert (mine.kept, mine.failed) == (0, 0)
    assert not (tmp_path / "clips").exists()
    assert mine._rings == {}


def test_a_key_that_went_bad_and_too_many_questions_are_counted(tmp_path: Path) -> None:
    bad = ClipKeeper(["cam-1"], str(tmp_path), str(tmp_path / "none"), 20.0, 30.0)
    bad.saw("cam-1", S, noise(), person())
    assert (bad.failed, bad._rings) == (1, {})
    mine = keeper(tmp_path)
    for i in range(ASKED_MAX + 3):
        mine.ask(asked(f"q{i}", 10**18))
    assert mine.failed == 3


def test_clips_are_listed_shown_and_deleted_by_the_command_line(tmp_path: Path) -> None:
    store, run = tmp_path / "store.toml", CliRunner()
    key = tmp_path / "clips.key"
    assert run.invoke(walkout.app, ["clips", "new-key", str(key)]).exit_code == 0
    store.write_text('[paths]\nclips_key_file = "clips.key"\n')
    jpeg = cv2.imencode(".jpg", noise())[1].tobytes()
    images = {"cam-1": [KeptImage(11 * S, jpeg)]}
    write_clip(tmp_path / "clips", read_key(key), "s-1-c0.0", "r1: who?", SPAN, images)

    def clips(*words: str) -> str:
        done = run.invoke(walkout.app, ["clips", *words, "--config", str(store)])
        assert done.exit_code == 0, done.output
        return done.stdout

    (row,) = json.loads(clips("list", "--json"))
    assert (row["id"], row["reason"]) == ("s-1-c0.0", "r1: who?")
    assert "r1: who?" in clips("list")
    clips("show", "s-1-c0.0", "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "cam-1-0000.jpg").read_bytes() == jpeg
    clips("delete", "s-1-c0.0")
    assert json.loads(clips("list", "--json")) == []
    gone = run.invoke(walkout.app, ["clips", "delete", "s-1-c0.0", "--config", str(store)])
    assert gone.exit_code == 2
    assert "see: walkout clips list" in gone.output
    did = [json.loads(x)["did"] for x in (tmp_path / "clips" / AUDIT).read_text().splitlines()]
    assert did == ["kept", "listed", "listed", "shown", "deleted", "listed"]
