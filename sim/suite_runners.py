"""Ways to carry out the jobs of a suite: processes of this machine, or a Dask cluster.

Both give the name of each finished job as it ends; the run's folder is then in its place. Longest
jobs go first, so that none is left to one worker in the end.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sim.suite_job import Job, leave_crash
from sim.suite_worker import Worker
from sim.version import version

FILE_MAX_BYTES = 256 * 2**20  # of one file that comes back from a cluster; larger ones stay away
CONNECT_TIMEOUT_S = 15.0
SCHEDULER_RETRIES = 2  # of a run whose cluster worker was lost
_MINE = threading.local()  # on a cluster: one process for each thread of a worker


class ClusterError(RuntimeError):
    """The cluster cannot do this suite's work."""


def run_here(jobs: Sequence[Job], out: Path, workers: int) -> Iterator[Job]:
    """Carry the jobs out in ``workers`` processes. Closing the iterator ends them at once."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Job | BaseException] = queue.SimpleQueue()
    for job in longest_first(jobs):
        waiting.put(job)
    crew = [Worker() for _ in range(max(1, min(workers, len(jobs))))]
    threads = [threading.Thread(target=_work, args=(w, waiting, ended, out)) for w in crew]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            yield _job_of(ended.get())
    finally:
        for worker in crew:
            worker.stop()
        for thread in threads:
            thread.join()


def run_on_dask(jobs: Sequence[Job], out: Path, address: str) -> Iterator[Job]:
    """Carry the jobs out on a cluster; files come back through its scheduler, not a shared disk.

    Raises:
        ClusterError: nobody answers at the address, or its workers run other software.
    """
    from distributed import as_completed

    ended: Any = as_completed
    client = _client(address)
    try:
        _same_version(client)
        futures = {
            client.submit(
                carry_out_away,
                job,
                key=f"walkout-{job.sha[:16]}-{job.seed}-{job.version}-{job.keep_recording}",
                priority=round(1000 * job.cost),
                retries=SCHEDULER_RETRIES,
            ): job
            for job in longest_first(jobs)
        }
        for future in ended(list(futures), loop=client.loop):
            job = futures.pop(future)
            _bring_home(job, future, job.folder(out))
            future.release()
            yield job
    finally:
        client.close()


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: (-job.cost, job.name))


def carry_out_away(job: Job) -> dict[str, bytes]:
    """On a cluster's worker: run in a process of its own, return the run folder's files."""
    if not hasattr(_MINE, "worker"):
        _MINE.worker = Worker()
    with tempfile.TemporaryDirectory(prefix="walkout-run-") as folder:
        place = Path(folder) / "run"
        _MINE.worker.run(job, place)
        files = (path for path in sorted(place.iterdir()) if path.is_file())
        return {p.name: p.read_bytes() for p in files if p.stat().st_size <= FILE_MAX_BYTES}


def _work(
    worker: Worker,
    waiting: queue.SimpleQueue[Job],
    ended: queue.SimpleQueue[Job | BaseException],
    out: Path,
) -> None:
    """A thread: it drives one process until no job is left."""
    try:
        while not worker.stopped:
            job = waiting.get_nowait()
            worker.run(job, job.folder(out))
            ended.put(job)
    except queue.Empty:
        return
    except BaseException as error:  # a full disk, say: told by the suite's own thread
        ended.put(error)
    finally:
        worker.close()


def _job_of(ended: Job | BaseException) -> Job:
    if isinstance(ended, BaseException):
        raise ended
    return ended


def _client(address: str) -> Any:
    import distributed

    connect: Any = distributed.Client
    try:
        return connect(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with `dask scheduler` "
            "and `dask worker ADDRESS` in the environment that walkout is installed in"
        ) from error


def _same_version(client: Any) -> None:
    """Mixed software would give numbers that nobody can repeat."""
    found = client.run(version)
    if not found:
        raise ClusterError("the Dask cluster has no worker; start one with `dask worker ADDRESS`")
    for worker, theirs in sorted(found.items()):
        if theirs != version():
            raise ClusterError(
                f"worker {worker} has walkout {theirs}, here it is {version()}; "
                "install the same version on every worker"
            )


def _bring_home(job: Job, future: Any, folder: Path) -> None:
    """Write a run's files where a local worker would have written them."""
    error = future.exception()
    if error is not None:
        leave_crash(job, folder, f"lost in the cluster: {type(error).__name__}", str(error))
        return
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, body in future.result().items():
        (part / Path(name).name).write_bytes(body)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
