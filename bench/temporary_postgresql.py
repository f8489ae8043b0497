"""A PostgreSQL cluster for a test or a bench: made from Debian's package, gone afterwards.

It listens on a Unix socket in a folder that only its user and root can enter. PostgreSQL refuses to
run as root, so root lends it another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql")  # Debian's and Ubuntu's place, one folder a version
START_S = 30.0
WITHOUT = "no PostgreSQL here: apt-get install postgresql"


def program(name: str) -> Path | None:
    """A PostgreSQL program of the newest version, None where there is none."""
    versions = [path for path in INSTALLED.glob("*/bin") if (path / "postgres").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name)) / name
    found = shutil.which(name)
    return Path(found) if found and shutil.which("postgres") else None


@dataclass
class Cluster:
    """A running cluster."""

    folder: Path
    user: str | None  # whose process it is; None: ours
    durable: bool
    process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def start(*, durable: bool) -> Cluster:
        """Make and start one. ``durable`` off: no flush to the disk, for tests of anything else.

        Raises:
            FileNotFoundError: no PostgreSQL; RuntimeError: it does not start.
        """
        if program("initdb") is None:
            raise FileNotFoundError(WITHOUT)
        user = _other_user() if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="walkout-pg-", dir=_base(durable)))
        if user:
            shutil.chown(folder, user)
        cluster = Cluster(folder, user, durable)
        cluster._call("initdb", "-D", folder / "data", "-A", "trust", "-U", "walkout", "--no-sync")
        cluster.run()
        return cluster

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://walkout@/{database}?host={self.folder}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def run(self) -> None:
        """Start its server, after ``kill`` too."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "shared_buffers": "128MB",
            "max_connections": "100",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program("postgres")), "-D", str(self.folder / "data"), *options],
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_S
        while self._ready() != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the server and every process of its own, as a crash does."""
        pids = [int(pid) for pid in children(self.pid)]
        os.kill(self.pid, signal.SIGKILL)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert self.process is not None
        self.process.wait()
        time.sleep(0.2)  # the kernel takes the shared memory back

    def end(self) -> None:
        """Stop it and delete it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        self._call(
            "psql", "-X", "-q", "-h", self.folder, "-U", "walkout", "-d", database, "-c", statement
        )

    def _ready(self) -> int:
        command = [str(program("pg_isready")), "-q", "-h", str(self.folder)]
        return subprocess.run(command, check=False).returncode

    def _call(self, name: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(program(name)), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.strip()}")


def children(pid: int) -> list[str]:
    """The processes that a process started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _other_user() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("root needs another user to lend: postgres or nobody")


def _base(durable: bool) -> str | None:
    """Memory for what need not last, as far as the system has it."""
    memory = Path("/dev/shm")
    return str(memory) if not durable and os.access(memory, os.W_OK) else None
