"""One run of a suite: what it is, where it lies, and carrying it out in this process.

A run folder is written beside its place and moved there when complete; ``job.json`` in it says
which software and which scenario made it. That makes an interrupted suite resume without doubt.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.script import Scenario

JOB_FILE = "job.json"
RUN_FILE = "run.json"
CRASH_FILE = "crash.txt"
RECORDING_FILE = "recording.mcap"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
CRASH_TEXT_MAX = 300  # characters in run.json; the whole traceback lies in crash.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One scenario under one seed. ``sha``: of the scenario and its store, see ``fingerprint``."""

    scenario: Scenario
    seed: int
    sha: str
    version: str
    limit_s: float
    cost: float = 1.0  # expected wall time, in any unit; only the order of jobs depends on it
    keep_recording: bool = False

    @property
    def name(self) -> str:
        return f"{self.scenario.name}/{self.seed}"

    def folder(self, out: Path) -> Path:
        return out / "runs" / folder_name(self.scenario.name) / str(self.seed)

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be the same one."""
        return {
            "scenario": self.scenario.name,
            "sha256": self.sha,
            "seed": self.seed,
            "version": self.version,
        }


def fingerprint(scenario: Scenario, store: object) -> str:
    """Hash what a scenario and its store say; comments and line breaks of the files do not count.

    Both are frozen values of tuples, numbers and texts, so their ``repr`` is the same everywhere.
    """
    return hashlib.sha256(f"{scenario!r}\0{store!r}".encode()).hexdigest()


def folder_name(scenario: str) -> str:
    """A name that stays inside its parent folder, whatever the scenario's file says."""
    if SAFE_NAME.fullmatch(scenario):
        return scenario
    digest = hashlib.sha256(scenario.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', scenario).strip('-')[:60]}-{digest}"


def is_done(job: Job, out: Path) -> bool:
    """A complete run of the same software, scenario and seed that did not crash lies there.

    A crashed one is tried again: memory and time limits are not properties of the scenario.
    """
    folder = job.folder(out)
    kept = read_json(folder / JOB_FILE)
    if kept is None or any(kept.get(key) != value for key, value in job.identity().items()):
        return False
    if job.keep_recording and not (folder / RECORDING_FILE).exists():
        return False
    run = read_json(folder / RUN_FILE)
    return run is not None and run.get("crashed") is None


def carry_out(job: Job, folder: Path) -> None:
    """Run the scenario and leave its files in ``folder``; a crash of the run is a result too."""
    from sim import report_run, scenario_run

    part = _fresh_part(folder)
    try:
        result = scenario_run.run_scenario(job.scenario, job.seed, part)
        if result.crashed is None:
            report_run.keep_for_report(part)
        if result.ok and not job.keep_recording and not report_run.has_wrong_receipt(part):
            (part / RECORDING_FILE).unlink()
    except Exception as error:  # the outermost loop of a run: whatever it was, it is reported
        _note_crash(job, part, f"{type(error).__name__}: {error}", traceback.format_exc())
    _finish(job, part, folder)


def leave_crash(job: Job, folder: Path, text: str, detail: str = "") -> None:
    """The folder of a run whose process ended before it could say anything."""
    part = _fresh_part(folder)
    _note_crash(job, part, text, detail)
    _finish(job, part, folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is none, or half of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Keys sorted, so that equal values are equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _fresh_part(folder: Path) -> Path:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def _finish(job: Job, part: Path, folder: Path) -> None:
    write_json(part / JOB_FILE, job.identity())
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def _note_crash(job: Job, part: Path, text: str, detail: str) -> None:
    """Keep what the run said of itself, and mark it. Paths of this machine stay out of it."""
    said = read_json(part / RUN_FILE) or _run_head(job)
    plain = text.replace(str(part), ".").replace(str(part.parent), "..")
    said["crashed"] = plain[:CRASH_TEXT_MAX]
    write_json(part / RUN_FILE, said)
    if detail:
        (part / CRASH_FILE).write_text(detail, encoding="utf-8")


def _run_head(job: Job) -> dict[str, Any]:
    scenario = job.scenario
    return {
        "scenario": scenario.name,
        "kind": str(scenario.kind),
        "hard_cases": list(scenario.hard_cases),
        "title": scenario.title,
        "seed": job.seed,
        "store": scenario.store,
        "duration_s": scenario.duration_s,
        "version": job.version,
    }
