"""The demo's child processes: readiness, restarts, clean ends."""

import asyncio
import os
import signal
import time

import pytest

from sim.processes import ProcessError, Processes


def serving(tmp_path):
    ready = tmp_path / "retailer.port"
    arguments = ("retailer", "serve", "--data", str(tmp_path / "data"), "--port", "0")
    return ready, (*arguments, "--ready", str(ready))


async def until(condition, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.02)


def test_a_child_that_is_killed_starts_again_and_ends_cleanly_when_asked(tmp_path):
    async def story():
        processes = Processes(tmp_path / "logs")
        ready, arguments = serving(tmp_path)
        child = await processes.start("retailer", *arguments)
        await processes.until(child, ready.exists, "no port")
        first = child.pid
        ready.unlink()
        os.kill(first, signal.SIGKILL)
        await until(ready.exists)
        assert child.restarts == 1
        assert child.pid != first
        await processes.stop_all()
        assert child.ended == 0
        assert processes.unclean() == []

    asyncio.run(story())


def test_a_child_that_keeps_dying_ends_the_run_and_names_its_log(tmp_path):
    async def story():
        processes = Processes(tmp_path / "logs", restarts_max=1)
        child = await processes.start("daemon", "run", "--config", str(tmp_path / "no.toml"))
        with pytest.raises(ProcessError, match=r"(?s)died 2 times.*daemon\.log.*no\.toml"):
            await processes.until(child, lambda: False, "never")
        await processes.stop_all()
        assert processes.unclean()

    asyncio.run(story())


def test_a_child_that_is_never_ready_is_named(tmp_path):
    async def story():
        processes = Processes(tmp_path / "logs")
        _, arguments = serving(tmp_path)
        child = await processes.start("retailer", *arguments)
        with pytest.raises(ProcessError, match=r"retailer was not ready.*retailer\.log"):
            await processes.until(child, lambda: False, "no port", within_s=0.2)
        await processes.stop_all()

    asyncio.run(story())


def test_a_child_that_runs_to_its_end_gives_its_status(tmp_path):
    async def story():
        processes = Processes(tmp_path / "logs")
        arguments = ("check", "--config", str(tmp_path / "no.toml"))
        assert await processes.run("check", *arguments, within_s=30) == 2
        assert "check ended with status 2" in processes.unclean()[0]

    asyncio.run(story())
