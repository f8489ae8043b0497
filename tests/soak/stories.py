"""The stories of ``make soak``: each takes a folder and a seed, and gives what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fault_stories import CHILD, broken_promises, killed_at, over_a_bad_network, written
from second_systems import SecondSystems, serving, store_config
from test_power_cuts_and_broken_disks import cuts
from test_stripe import Till, until_answered
from test_week_offline import live

from cloud_sync.database import FULL
from sim.psp import Faults, Psp
from sim.psp import serving as serving_psp
from sim.store_toml import store_toml

VISITS = 24
CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink"
SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)
NOLOGFLUSH = 2  # what a power cut leaves: no flush of the file system's own log
STEP_S = 60.0
FUZZ_S = 60
ROOT = Path(__file__).parents[2]
PLANTED_TRIES = 12  # a cut hits an unflushed commit about one time in three


class CannotRun(Exception):
    """This machine lacks what the story needs."""


def network(folder: Path, seed: int) -> list[str]:
    """Cut, stalled, split and repeated requests."""
    share = (0.3, 0.5, 0.7)[seed % 3]
    systems, _ = over_a_bad_network(folder, seed, VISITS, share)
    return broken_promises(systems, folder / "sync.db", VISITS)


def kills(folder: Path, seed: int) -> list[str]:
    """kill -9 before and after commits, and a disk that fills up."""
    chance = random.Random(seed)
    moments = [("before", 2), ("after", 2)]
    moments += [(chance.choice(["before", "after"]), chance.randint(2, 6)) for _ in range(4)]
    moments.insert(chance.randint(0, 3), ("full", chance.randrange(120_000, 160_000)))
    systems = killed_at(folder, moments, VISITS)
    return broken_promises(systems, folder / "sync.db", VISITS)


def week(folder: Path, seed: int) -> list[str]:
    """A week offline in virtual time, with kills."""
    try:
        live(seed).check()
    except AssertionError as error:
        return [str(error)]
    return []


def model_disk(folder: Path, seed: int) -> list[str]:
    """Some hundred power cuts on a model disk that drops and tears what was not flushed."""
    return [text for wrong in cuts(folder, seed, FULL) for text in wrong]


def parsers(folder: Path, seed: int) -> list[str]:
    """A minute of bytes for every parser, led by coverage."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.soak.fuzz", "--seconds", str(FUZZ_S)),
            *("--seed", str(seed), "--out", str(folder / "fuzz")),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
    )
    if done.returncode == 0:
        return []
    at = done.stderr.find("Traceback")
    return [done.stdout[-2000:] + done.stderr[max(0, at - 200) :][:2000]]


def provider(folder: Path, seed: int) -> list[str]:
    """A payment provider that loses answers, breaks and throttles."""
    chance, wrong = random.Random(seed), list[str]()
    faults = Faults(seed=seed, lost=0.2, dropped=0.15, broken=0.1, throttled=0.1)
    with serving_psp(Psp(faults=faults)) as psp:
        till, captured, refunded = Till(psp, folder / "psp.db"), 0, 0
        for number in range(60):
            visit, card = f"v{number}", chance.choice(["pm_visa", "pm_no_increment"])
            until_answered(lambda v=visit, c=card: till.hold(v, c), 200)
            total = chance.randint(1, 9000)
            if total > 5000:
                raised = {"amount_minor": total}
                until_answered(lambda v=visit, r=raised: till.ask(v, "adjust", **r), 200)
            done = until_answered(lambda v=visit, t=total: till.capture(v, t), 200)
            captured += total if done.status == 201 else 0
            if chance.random() < 0.4:
                back = chance.randint(1, total)
                if until_answered(lambda v=visit, b=back: till.refund(v, b), 200).status == 201:
                    refunded += back
        books = (psp.held_minor(), psp.captured_minor(), psp.refunded_minor())
        if books != (0, captured, refunded):
            wrong.append(f"theirs {books}, ours {(0, captured, refunded)}")
        wrong += [f"unknown: {one}" for one in till.book.unknown()]
        till.book.close()
    return wrong


def system_calls(folder: Path, seed: int) -> list[str]:
    """kill -9 at the k-th system call on the sync file, for a dozen of them."""
    if shutil.which("strace") is None:
        raise CannotRun("strace is not installed")
    start, deaths = seed % 7, list[int]()
    wrong = _with_child_deaths(
        folder,
        lambda config: [_traced(folder, config, k, deaths) for k in range(3 + start, 90, 11)],
    )
    return wrong if -9 in deaths else [*wrong, f"nothing was killed: {deaths}"]


def power_cuts(folder: Path, seed: int, kind: str = "let be") -> list[str]:
    """The power goes while the sync file is on a real ext4, mounted from a file."""
    if os.geteuid() != 0:
        raise CannotRun("only root mounts a file system")
    image, disk = folder / "ext4.img", folder / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    chance = random.Random(seed)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    def mount() -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", str(image), str(disk)], capture_output=True, text=True
        )
        if done.returncode:
            raise CannotRun(f"mount: {done.stderr.strip()}")

    async def cut(config: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD, str(config), kind, "0"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await _at_work(process, disk / "sync.db.lock")
        await asyncio.sleep(0.7 * chance.random())
        _shut_down(disk)
        with contextlib.suppress(ProcessLookupError):  # it may have ended with an I/O error
            process.kill()
        await process.wait()
        await asyncio.to_thread(subprocess.run, ["umount", str(disk)], check=True)
        await asyncio.to_thread(mount)  # ext4 replays its log

    mount()
    try:
        return _with_child_deaths(
            folder, lambda config: [cut(config) for _ in range(4)], sync=disk / "sync.db"
        )
    finally:
        subprocess.run(["umount", str(disk)], check=False)


async def _at_work(process: asyncio.subprocess.Process, lock: Path) -> None:
    """Until the process has opened its file, which takes seconds on a busy machine."""
    async with asyncio.timeout(STEP_S):
        while process.returncode is None:
            if lock.exists() and lock.read_text().strip() == str(process.pid):
                return
            await asyncio.sleep(0.01)


def power_cuts_unflushed(folder: Path, seed: int) -> list[str]:
    """The planted bug: without a flush at each commit, power cuts have to break promises."""
    for attempt in range(PLANTED_TRIES):
        again = folder / str(attempt)
        again.mkdir()
        if power_cuts(again, seed * PLANTED_TRIES + attempt, "planted"):
            return []
    return [f"{PLANTED_TRIES} runs of power cuts without flushes went unnoticed"]


def _with_child_deaths(
    folder: Path, deaths: Callable[[Path], list[object]], sync: Path | None = None
) -> list[str]:
    """Visits settled by processes that die as the story says, and by one that is let be."""
    systems = SecondSystems(delay_s=lambda arrival: 0.01)

    async def story() -> Path:
        async with serving(systems):
            config = store_config(folder, systems.url)
            if sync is not None:
                object.__setattr__(config.paths, "sync", str(sync))
            file = folder / "store.toml"
            file.write_text(store_toml(config))
            written(config, VISITS).close()
            for death in deaths(file):
                await death  # type: ignore[misc]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CHILD, str(file), "let be", "0"),
                stderr=asyncio.subprocess.DEVNULL,
            )
            if await asyncio.wait_for(process.wait(), STEP_S):
                systems.faults.append("the last process did not end well")
            return Path(config.paths.sync)

    return broken_promises(systems, asyncio.run(story()), VISITS)


async def _traced(folder: Path, config: Path, k: int, deaths: list[int]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}"),
        *("-P", str(folder / "sync.db"), "-P", str(folder / "sync.db-wal")),
        *("-e", f"inject={CALLS}:signal=KILL:when={k}"),
        *(sys.executable, "-c", CHILD, str(config), "let be", "0"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    deaths.append(await asyncio.wait_for(process.wait(), STEP_S))


def _shut_down(disk: Path) -> None:
    handle = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
    except OSError as error:
        raise CannotRun(f"FS_IOC_SHUTDOWN: {error}") from None
    finally:
        os.close(handle)


STORIES: dict[str, Callable[[Path, int], list[str]]] = {
    "network": network,
    "kills": kills,
    "week": week,
    "provider": provider,
    "model-disk": model_disk,
    "parsers": parsers,
    "system-calls": system_calls,
    "power-cuts": power_cuts,
    "power-cuts-unflushed": power_cuts_unflushed,
}
