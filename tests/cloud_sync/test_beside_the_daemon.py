"""`walkout run` starts the sync process beside the daemon, and it ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from second_systems import store_config

from cloud_sync.beside import Keeper, beside, ends_with, sync_command, wanted
from edge import status as daemon_status
from messages.store_config import StoreConfig
from sim.store_toml import store_toml

WAIT_S = 60.0
SLEEPS = "import time; open(r'{0}', 'a').write('x'); time.sleep(600)"
ENDS = "import sys; open(r'{0}', 'a').write('x'); sys.exit({1})"


def until(good: Callable[[], object]) -> None:
    last = time.monotonic() + WAIT_S
    while not good():
        assert time.monotonic() < last, "it did not happen"
        time.sleep(0.02)


def config_file(folder: Path, **cloud: str) -> Path:
    config = store_config(folder, "http://127.0.0.1:9", **cloud)
    paths = replace(
        config.paths,
        runtime=str(folder / "run"),
        camera_socket=str(folder / "run" / "cameras.sock"),
        control_socket=str(folder / "run" / "control.sock"),
    )
    (folder / "store.toml").write_text(store_toml(replace(config, paths=paths)))
    return folder / "store.toml"


def test_it_is_started_where_there_is_somebody_to_talk_to(tmp_path: Path) -> None:
    assert wanted(config_file(tmp_path))
    assert not wanted(config_file(tmp_path, process="apart"))
    (tmp_path / "alone.toml").write_text(store_toml(StoreConfig(store="s1")))
    assert not wanted(tmp_path / "alone.toml")
    assert not wanted(tmp_path / "none.toml")  # the daemon says what is wrong
    assert sync_command(tmp_path / "store.toml")[-1] == str(os.getpid())


def test_one_that_dies_is_started_again_and_the_last_one_ends_with_the_block(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    keeper = Keeper((sys.executable, "-c", ENDS.format(told, 1)), pauses_s=(0.01,))
    keeper.start()
    until(lambda: keeper.starts >= 3)
    keeper.stop()
    assert len(told.read_text()) >= 2
    lasting = (sys.executable, "-c", SLEEPS.format(tmp_path / "lasting"))
    with beside(config_file(tmp_path), lasting):
        until((tmp_path / "lasting").exists)
    assert (tmp_path / "lasting").read_text() == "x"


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    keeper = Keeper((sys.executable, "-c", ENDS.format(tmp_path / "told", 78)), pauses_s=(0.01,))
    keeper.start()
    keeper._thread.join(WAIT_S)
    assert not keeper._thread.is_alive()
    assert (keeper.starts, (tmp_path / "told").read_text()) == (1, "x")
    keeper.stop()


def test_whose_parent_is_gone_stops() -> None:
    stopped = []
    asyncio.run(ends_with(os.getppid() + 1, lambda: stopped.append("orphan")))
    assert stopped == ["orphan"]
    asyncio.run(ends_with(0, lambda: stopped.append("alone")))
    assert stopped == ["orphan"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_daemon_runs_it_and_takes_it_along(tmp_path: Path, number: signal.Signals) -> None:
    file = config_file(tmp_path)
    daemon = subprocess.Popen([sys.executable, "-m", "walkout", "run", "--config", str(file)])
    try:
        lock = tmp_path / "sync.db.lock"
        until(lambda: lock.exists() and lock.read_text().strip())
        until((tmp_path / "run" / daemon_status.FILE_NAME).exists)
        sync = int(lock.read_text())
        assert sync != daemon.pid
        daemon.send_signal(number)
        assert daemon.wait(WAIT_S) == (0 if number is signal.SIGTERM else -9)
        until(lambda: not alive(sync))
    finally:
        with contextlib.suppress(ProcessLookupError):
            daemon.kill()


def alive(pid: int) -> bool:
    """A zombie is gone, though nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
