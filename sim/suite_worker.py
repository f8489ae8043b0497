"""A process that carries out runs one after another, and the handle by which it is driven.

Its own interpreter with one BLAS thread: results do not depend on how many runs go side by side,
and a run that is killed (memory, time limit) takes nobody with it. Jobs and answers are pickles on
its two pipes; it ends when its input ends, so it cannot outlive an idle suite.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edge.collector import look_seldom
from sim.suite_job import Job, carry_out, leave_crash

ONE_THREAD = {
    name: "1"
    for name in (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
DETAIL_MAX = 20_000  # characters of a dead worker's last words
END_TIMEOUT_S = 5.0  # for a killed process to be gone
IDLE_MAX_S = 60.0  # without a job: then it ends, and the next job starts another


@dataclass(slots=True)
class Worker:
    """One process, started when first needed and again after it died."""

    process: subprocess.Popen[bytes] | None = None
    said: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    stopped: bool = False

    def run(self, job: Job, folder: Path) -> None:
        """Carry a job out; the folder is there afterwards, unless ``stop`` came in between."""
        if self.stopped:
            return
        process = self._running()
        assert process.stdin is not None
        try:
            pickle.dump((job, folder.absolute()), process.stdin)
            process.stdin.flush()
            answered = _answer(process, job.limit_s)
        except (OSError, EOFError):
            answered = False
            process.wait()
        if answered or self.stopped:
            return
        text = _cause(process, job.limit_s)
        self.close()
        leave_crash(job, folder.absolute(), text, self._last_words())

    def stop(self) -> None:
        """From another thread: give the job up at once; it was written beside its place."""
        self.stopped = True
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait(END_TIMEOUT_S)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was not yet written goes nowhere
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self.close()  # it was idle for too long
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sim.suite_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.said,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(_search_path())},
                start_new_session=True,  # Ctrl-C is the suite's to answer
            )
        return self.process

    def _last_words(self) -> str:
        self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, self.said.tell() - DETAIL_MAX))
        words = self.said.read().decode(errors="replace")
        self.said.seek(0)
        self.said.truncate()
        return words


def _answer(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Wait for the job's end; False when its time is over.

    Raises:
        EOFError: the process died.
    """
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    if ready:
        pickle.load(process.stdout)
    return bool(ready)


def _cause(process: subprocess.Popen[bytes], limit_s: float) -> str:
    code = process.poll()
    if code is None:
        return f"over its time limit of {limit_s:.0f} s"
    if code >= 0:
        return f"the process ended with exit status {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"the process was killed by {signal.Signals(-code).name}{hint}"


def _search_path() -> list[str]:
    """Where this interpreter finds modules: the worker must import the same ones."""
    return [str(Path(entry).absolute()) for entry in sys.path if entry or Path("sim").is_dir()]


def main() -> None:
    """The worker's side: jobs from standard input, one answer each; prints go to the log."""
    import faulthandler

    faulthandler.enable()
    look_seldom()
    jobs = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while select.select([jobs], [], [], IDLE_MAX_S)[0]:
        try:
            received: Any = pickle.load(jobs)
        except EOFError:
            return
        job, folder = received
        carry_out(job, folder)
        pickle.dump(job.name, answers)
        answers.flush()


if __name__ == "__main__":
    main()
