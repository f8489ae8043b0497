"""Which software made a run: the package's version and a hash of the source that decides results.

A suite resumes only runs of the same version, so the hash covers every file that can change what a
run concludes: messages, store core and simulator, with the data files (layouts, scenarios) left
out, which are hashed on their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

PACKAGES = ("messages", "edge", "hardware/protocol", "cloud_sync", "sim")
HASH_DIGITS = 12  # 48 bits: no two versions that anybody compares by hand collide


@cache
def version() -> str:
    """``0.1.0+1f0c...``: package version and source hash; read once a process."""
    try:
        package = package_version("walkout")
    except PackageNotFoundError:  # run from a checkout that was never installed
        package = "0"
    return f"{package}+{source_hash(Path(__file__).parents[1], PACKAGES)}"


def source_hash(root: Path, packages: Iterable[str]) -> str:
    """Hash names and bytes of the Python files below some folders, in order of their names."""
    digest = hashlib.sha256()
    paths = {path for package in packages for path in (root / package).rglob("*.py")}
    for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix()):
        body = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()[:HASH_DIGITS]
