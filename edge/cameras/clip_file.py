"""Clips on disk: encrypted with AES-256-GCM, gone after their days, every access in an audit.

A file is ``WOCLIP1\\n``, the length of its head (u32 little endian), the head (JSON: id, reason,
cameras, span), a nonce of 12 bytes and the images, encrypted; the head is authenticated with them.
Whoever has the files alone learns when and where something was asked, and sees nothing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.cameras.clip_ring import KeptImage

MAGIC = b"WOCLIP1\n"
SUFFIX = ".clip"
KEY_BYTES, NONCE_BYTES = 32, 12
HEAD_BYTES_MAX = 64 * 1024
CLIP_BYTES_MAX = 256 * 2**20  # four cameras' rings are 64 MB
CLIPS_MAX = 10_000  # files; beyond, the oldest goes whatever its age
AUDIT = "audit.jsonl"
DAY_S = 86_400.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LENGTH = struct.Struct("<I")


class ClipError(ValueError):
    """A clip, key or folder that cannot be used; says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipHead:
    """What a clip is about. Instants are of the wall clock."""

    id: str
    reason: str
    cameras: tuple[str, ...]
    started_at_ns: int
    ended_at_ns: int
    images: int
    kept_at_ns: int


_HEAD = msgspec.json.Decoder(ClipHead)
_IMAGES = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]])


def read_key(path: Path) -> bytes:
    """The key of ``paths.clips_key_file``. Raises ClipError."""
    try:
        mode = path.stat().st_mode & 0o077
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClipError(f"{path}: cannot be read ({error}); run: walkout clips new-key") from error
    if mode:
        raise ClipError(f"{path}: others may read it; run: chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise ClipError(f"{path}: is not hexadecimal; run: walkout clips new-key") from error
    if len(key) != KEY_BYTES:
        raise ClipError(f"{path}: {len(key)} bytes, {KEY_BYTES} are needed (walkout clips new-key)")
    return key


def new_key(path: Path) -> None:
    """Write a key of chance, mode 600. Raises ClipError where there is a file already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ClipError(
            f"{path}: {error.strerror}; clips need the key they were made with"
        ) from error
    with os.fdopen(fd, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(KEY_BYTES) + "\n")


def write_clip(
    folder: Path,
    key: bytes,
    name: str,
    reason: str,
    span_ns: tuple[int, int],
    images: Mapping[str, Sequence[KeptImage]],
) -> Path:
    """Encrypt and write the images of each camera, whole or not at all; mode 600.

    Raises:
        ClipError: a name that is no file name, or the disk refuses.
    """
    if not NAME.fullmatch(name):
        raise ClipError(f"clip {name!r}: letters, digits and . _ - only")
    head = ClipHead(
        id=name,
        reason=reason[:500],
        cameras=tuple(sorted(images)),
        started_at_ns=span_ns[0],
        ended_at_ns=span_ns[1],
        images=sum(len(of) for of in images.values()),
        kept_at_ns=time.time_ns(),
    )
    rows = [(c, k.captured_at_ns, k.jpeg) for c in sorted(images) for k in images[c]]
    said = msgspec.json.encode(head)
    nonce = os.urandom(NONCE_BYTES)
    secret = AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(rows), said)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / (name + SUFFIX)
        new = path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(MAGIC + _LENGTH.pack(len(said)) + said + nonce + secret)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except OSError as error:
        raise ClipError(f"{folder}: clip {name} cannot be written: {error.strerror}") from error
    audit(folder, "kept", name, head.reason)
    return path


def read_head(path: Path) -> ClipHead:
    """What a clip says of itself; not yet proven by its key. Raises ClipError."""
    return _parts(path)[0]


def read_clip(folder: Path, key: bytes, name: str) -> tuple[ClipHead, list[tuple[str, KeptImage]]]:
    """The images, camera by camera. Raises ClipError: another key, or a changed file."""
    head, said, nonce, secret = _parts(_path(folder, name))
    try:
        plain = AESGCM(key).decrypt(nonce, secret, said)
        rows = _IMAGES.decode(plain)
    except InvalidTag as error:
        raise ClipError(f"clip {name}: another key, or the file was changed") from error
    except msgspec.MsgspecError as error:
        raise ClipError(f"clip {name}: is damaged: {error}") from error
    return head, [(camera, KeptImage(at_ns, jpeg)) for camera, at_ns, jpeg in rows]


def clips_in(folder: Path) -> list[ClipHead]:
    """All clips that can be read, the newest first."""
    found = []
    for path in sorted(folder.glob("*" + SUFFIX))[: 2 * CLIPS_MAX]:
        try:
            found.append(read_head(path))
        except ClipError:
            continue
    return sorted(found, key=lambda head: -head.kept_at_ns)


def delete_clip(folder: Path, name: str) -> None:
    """Raises ClipError where there is none."""
    _path(folder, name).unlink(missing_ok=True)
    audit(folder, "deleted", name)


def expire(folder: Path, days: float, now_s: float) -> int:
    """Delete what is older than its days, whatever its head says, and what is too much."""
    paths = sorted(folder.glob("*" + SUFFIX), key=lambda p: p.stat().st_mtime)
    over = len(paths) - CLIPS_MAX
    old = [
        path
        for i, path in enumerate(paths)
        if i < over or now_s - path.stat().st_mtime > days * DAY_S
    ]
    for path in [*old, *_left_over(folder, now_s)]:
        path.unlink(missing_ok=True)
        audit(folder, "expired", path.stem)
    return len(old)


def audit(folder: Path, what: str, name: str = "", why: str = "") -> None:
    """One line for each access: when, who (the system's user), what. Only ever appended."""
    line = {"at_s": round(time.time(), 3), "uid": os.getuid(), "did": what, "clip": name}
    line |= {"why": why} if why else {}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with os.fdopen(os.open(folder / AUDIT, flags, 0o600), "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def as_row(head: ClipHead) -> dict[str, object]:
    return asdict(head)


def _left_over(folder: Path, now_s: float) -> list[Path]:
    """Of a process that died while it wrote."""
    return [p for p in folder.glob("*.new") if now_s - p.stat().st_mtime > 60.0]


def _path(folder: Path, name: str) -> Path:
    path = folder / (name + SUFFIX)
    if not NAME.fullmatch(name) or not path.is_file():
        raise ClipError(f"no clip {name!r} in {folder}; see: walkout clips list")
    return path


def _parts(path: Path) -> tuple[ClipHead, bytes, bytes, bytes]:
    try:
        if path.stat().st_size > CLIP_BYTES_MAX:
            raise ClipError(f"{path}: larger than any clip")
        data = path.read_bytes()
        start = len(MAGIC) + _LENGTH.size
        if not data.startswith(MAGIC) or len(data) < start:
            raise ClipError(f"{path}: is no clip")
        (length,) = _LENGTH.unpack_from(data, len(MAGIC))
        said, rest = data[start : start + length], data[start + length :]
        if length > HEAD_BYTES_MAX or len(rest) <= NONCE_BYTES:
            raise ClipError(f"{path}: is damaged")
        return _HEAD.decode(said), said, rest[:NONCE_BYTES], rest[NONCE_BYTES:]
    except OSError as error:
        raise ClipError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ClipError(f"{path}: is damaged: {error}") from error
