"""Snapshots of the engine's state: one file each, checksummed, the last three kept; of those
before, one each five minutes stays for two hours, for recordings that begin in the past.

Files beside the journal and not rows in it: a snapshot of some MB is flushed by its own thread and
never stands in front of a step in the journal's write-ahead log. A torn file, or one of another
version, is passed over for the one before; the journal keeps every step after the oldest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zstandard

MAGIC = b"WALKSNAP1\n"
DIGEST_BYTES = 32
KEPT = 3  # two older ones stand by for a torn or unreadable newest
SPARSE_STEPS = 3000  # five minutes: how far a recording of the past begins before what is asked
SPARSE_KEPT = 24  # two hours; a start never reads them
SNAPSHOT_BYTES_MAX = 512 * 2**20  # a hostile length must not take the memory
LEVEL = 1  # zstd: speed; the state shrinks threefold at any level


class SnapshotError(ValueError):
    """A file that is no whole snapshot; says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state after a step, and the configuration it was made under."""

    step: int
    now_ns: int
    toml: str
    state: bytes


class Snapshots:
    """The folder of snapshots of one journal. Blocking: call it from a worker thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, snapshot: Snapshot) -> Path:
        """Durable when it returns. Raises OSError."""
        path = self.folder / f"{snapshot.step:016d}.snapshot"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(pack(snapshot))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_folder(self.folder)
        for old in self._newest_first()[KEPT:]:
            self._retire(old)
        return path

    def _retire(self, path: Path) -> None:
        """Keep one of each ``SPARSE_STEPS`` a while longer, forget the others."""
        sparse = self._sparse_newest_first()
        span = int(path.stem) // SPARSE_STEPS
        if sparse and int(sparse[0].stem) // SPARSE_STEPS >= span:
            path.unlink(missing_ok=True)
            return
        self._sparse.mkdir(exist_ok=True)
        path.replace(self._sparse / path.name)
        for old in sparse[SPARSE_KEPT - 1 :]:
            old.unlink(missing_ok=True)

    def newest_first(self) -> Iterator[Snapshot | SnapshotError]:
        """Each kept snapshot, or why it cannot be read."""
        for path in self._newest_first():
            try:
                yield _unpacked(path)
            except SnapshotError as error:
                yield error

    def sparse_newest_first(self) -> Iterator[Snapshot]:
        """Older ones that can be read, some minutes apart: a recording may begin there."""
        for path in self._sparse_newest_first():
            with contextlib.suppress(SnapshotError):
                yield _unpacked(path)

    def oldest_step(self) -> int | None:
        """The step that every kept snapshot can be continued from."""
        paths = self._newest_first()
        return int(paths[-1].stem) if paths else None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.snapshot"), reverse=True)

    @property
    def _sparse(self) -> Path:
        return self.folder.with_name(self.folder.name + "-sparse")

    def _sparse_newest_first(self) -> list[Path]:
        return sorted(self._sparse.glob("*.snapshot"), reverse=True)


def pack(snapshot: Snapshot) -> bytes:
    """A snapshot as the bytes of its file; recordings carry them too."""
    body = zstandard.ZstdCompressor(level=LEVEL).compress(msgspec.msgpack.encode(snapshot))
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes, name: str) -> Snapshot:
    """The snapshot in the bytes. Raises SnapshotError, in which ``name`` says whose they are."""
    head = len(MAGIC) + DIGEST_BYTES
    body = data[head:]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != data[len(MAGIC) : head]:
        raise SnapshotError(f"{name}: torn or changed: its checksum does not fit")
    try:
        if zstandard.frame_content_size(body) > SNAPSHOT_BYTES_MAX:  # allocated as it says
            raise SnapshotError(f"{name}: above {SNAPSHOT_BYTES_MAX} bytes")
        plain = zstandard.ZstdDecompressor().decompress(body, max_output_size=SNAPSHOT_BYTES_MAX)
        return msgspec.msgpack.decode(plain, type=Snapshot)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise SnapshotError(f"{name}: {error}") from error


def _unpacked(path: Path) -> Snapshot:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path.name}: {error}") from error
    return unpack(data, path.name)


def _flush_folder(folder: Path) -> None:
    """The new name itself is durable only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
