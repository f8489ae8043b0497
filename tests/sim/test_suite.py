"""Suites: the same summary from any number of workers, resuming, crashes and killed workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sim.script import Act, Background, Do, Kind, Member, PartyScript, Scenario
from sim.suite import Request, SuiteError, plan, run, seeds_of, select
from sim.suite_job import Job, folder_name, is_done, read_json
from sim.suite_runners import ClusterError, longest_first, run_on_dask
from sim.suite_worker import Worker

DEADLINE_S = 60.0


def scenario(name: str, *acts: Do, kind: Kind = Kind.HARD) -> Scenario:
    """A few seconds in the smallest store."""
    return Scenario(
        name=name,
        title=f"A short one: {name}",
        kind=kind,
        hard_cases=("short",),
        store="corner",
        duration_s=3.0,
        review_deadline_s=1.0,
        parties=(PartyScript(name="anna", arrives_s=(0.2, 0.6), members=(Member(do=acts),)),),
    )


TAKE = scenario("short-take", Do(act=Act.TAKE, facing="a2-cola-330ml"))
LEAVE = scenario("short-leave", Do(act=Act.LEAVE), kind=Kind.ORDINARY)
CRASHING = scenario("short-crash", Do(act=Act.TAKE, facing="no-such-facing"))
DAY = replace(LEAVE, name="day", duration_s=3600.0, background=Background(every_s=4.0))


def request(out: Path, workers: int = 1, seeds: tuple[int, ...] = (1,)) -> Request:
    return Request(out=out, seeds=seeds, workers=workers)


def only(out: Path, script: Scenario) -> Job:
    (job,) = plan(request(out), [script])
    return job


def started(folder: Path) -> None:
    """Wait until a run is being written."""
    deadline = time.monotonic() + DEADLINE_S
    while not folder.with_name(folder.name + ".part").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenarios, carried out one after the other."""
    out = tmp_path_factory.mktemp("one-worker")
    run(request(out), [TAKE, LEAVE])
    return out


def test_summary_counts_every_kind_and_hard_case_and_has_no_wall_clock_figure(
    one_worker: Path,
) -> None:
    text = (one_worker / "summary.json").read_text()
    found = json.loads(text)
    assert found["total"]["visits"] == 2
    assert found["kinds"].keys() == {"hard", "ordinary"}
    assert found["hard_cases"]["short"]["runs"] == 2
    assert found["scenarios"]["short-take"]["title"] == TAKE.title
    assert "wall" not in text
    assert "realtime" not in text
    timed = json.loads((one_worker / "timing.json").read_text())
    assert timed["runs"]["short-take/1"]["wall_s"] > 0


def test_two_workers_write_the_same_bytes_as_one(one_worker: Path, tmp_path: Path) -> None:
    run(request(tmp_path, workers=2), [LEAVE, TAKE])
    assert (tmp_path / "summary.json").read_bytes() == (one_worker / "summary.json").read_bytes()


def test_a_dask_cluster_of_two_processes_writes_the_same_bytes(
    one_worker: Path, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        asked = replace(request(tmp_path), dask=cluster.scheduler_address)
        run(asked, [TAKE, LEAVE])
    assert (tmp_path / "summary.json").read_bytes() == (one_worker / "summary.json").read_bytes()
    theirs = {path.name for path in (tmp_path / "runs/short-take/1").iterdir()}
    assert theirs == {path.name for path in (one_worker / "runs/short-take/1").iterdir()}


def test_nobody_at_the_dask_address_is_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.suite_runners.CONNECT_TIMEOUT_S", 0.3)
    with pytest.raises(ClusterError, match="dask scheduler"):
        next(run_on_dask([only(tmp_path, LEAVE)], tmp_path, "tcp://127.0.0.1:9"))


def test_a_second_call_runs_only_what_is_missing_or_changed(one_worker: Path) -> None:
    before = (one_worker / "summary.json").read_bytes()
    lost = plan(request(one_worker), [TAKE])[0]
    (lost.folder(one_worker) / "run.json").write_text('{"scenario": "half of')
    carried_out: list[str] = []

    def noted(jobs: list[Job], todo: list[Job]) -> object:
        carried_out.extend(job.name for job in todo)
        return lambda job: None

    run(request(one_worker), [TAKE, LEAVE], noted)  # type: ignore[arg-type]
    assert carried_out == ["short-take/1"]
    assert (one_worker / "summary.json").read_bytes() == before

    edited = replace(TAKE, duration_s=4.0)
    assert is_done(only(one_worker, TAKE), one_worker)
    assert not is_done(only(one_worker, edited), one_worker)
    assert not is_done(replace(lost, version="another"), one_worker)
    assert not is_done(replace(lost, seed=2), one_worker)
    assert not is_done(replace(lost, keep_recording=True), one_worker)


def test_a_crashing_run_is_reported_with_its_seed_and_the_others_go_on(tmp_path: Path) -> None:
    found = run(request(tmp_path), [CRASHING, LEAVE])
    (crashed,) = found["crashed"]
    assert (crashed["scenario"], crashed["seed"]) == ("short-crash", 1)
    assert "no-such-facing" in crashed["text"]
    assert str(tmp_path) not in crashed["text"]
    assert found["total"]["runs"] == 2
    assert found["total"]["crashed_runs"] == 1
    assert found["scenarios"]["short-leave"]["crashed_runs"] == 0
    assert not is_done(only(tmp_path, CRASHING), tmp_path)


def test_a_killed_worker_is_a_crashed_run_and_the_next_job_gets_a_new_one(tmp_path: Path) -> None:
    worker, day, short = Worker(), only(tmp_path, DAY), only(tmp_path, LEAVE)
    thread = threading.Thread(target=worker.run, args=(day, day.folder(tmp_path)))
    thread.start()
    started(day.folder(tmp_path))
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    thread.join(DEADLINE_S)
    said = read_json(day.folder(tmp_path) / "run.json")
    assert said is not None
    assert said["crashed"] == "the process was killed by SIGKILL (out of memory?)"

    worker.run(short, short.folder(tmp_path))
    worker.close()
    assert is_done(short, tmp_path)


def test_a_run_over_its_time_limit_is_ended_and_crashed(tmp_path: Path) -> None:
    worker, day = Worker(), replace(only(tmp_path, DAY), limit_s=0.2)
    worker.run(day, day.folder(tmp_path))
    worker.close()
    said = read_json(day.folder(tmp_path) / "run.json")
    assert said is not None
    assert said["crashed"] == "over its time limit of 0 s"
    assert said["scenario"] == "day"


def test_ctrl_c_ends_at_once_and_the_same_command_goes_on(tmp_path: Path) -> None:
    from sim.scenario_write import scenario_toml

    file = tmp_path / "short-leave.toml"
    file.write_text(scenario_toml(replace(LEAVE, duration_s=5.0)))
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "walkout",
        "suite",
        "--scenarios",
        str(file),
        "--out",
        str(out),
    ]
    command += ["--seeds", "1-8", "--workers", "1", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started(out / "runs/short-leave/2")  # so the first one, seed 1, has ended
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert re.search(r"interrupted: \d of 8 runs are done", told), told
    assert not (out / "summary.json").exists()

    again = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert again.returncode == 0, again.stderr
    there = re.search(r"(\d) of 8 runs are there already", again.stderr)
    assert there is not None, again.stderr
    assert 1 <= int(there[1]) < 8
    assert json.loads(again.stdout)["total"]["visits"] == 8
    assert (out / "report.html").stat().st_size > 10_000


def test_seeds_are_ranges_lists_and_single_numbers_and_nothing_else() -> None:
    assert seeds_of("1-3,8") == (1, 2, 3, 8)
    assert seeds_of("7") == (7,)
    for wrong in ("", "3-1", "a", "1-", "-3", "1-99999999"):
        with pytest.raises(SuiteError, match="--seeds"):
            seeds_of(wrong)


def test_globs_choose_scenarios_and_day_long_ones_only_on_request() -> None:
    short = {one.name for one in select("hard-*,ordinary-*", with_long=False)}
    longer = {one.name for one in select("hard-*,ordinary-*", with_long=True)}
    assert short < longer
    assert len(short) >= 20
    with pytest.raises(SuiteError, match="near it: hard-long-hold"):
        select("hard-long-hlod", with_long=False)
    with pytest.raises(SuiteError, match="add --long"):
        select(min(longer - short), with_long=False)


def test_the_longest_jobs_go_first(tmp_path: Path) -> None:
    jobs = plan(request(tmp_path, seeds=(1, 2)), [LEAVE, DAY])
    assert [job.name for job in longest_first(jobs)][:2] == ["day/1", "day/2"]


def test_hostile_names_stay_inside_the_runs_folder() -> None:
    assert folder_name("hard-swap") == "hard-swap"
    for hostile in ("../../etc", "a/b", "..", "", "x" * 200, "a\0b"):
        assert "/" not in folder_name(hostile)
        assert folder_name(hostile) not in ("", ".", "..")
