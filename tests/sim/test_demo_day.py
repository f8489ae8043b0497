"""A whole simulated store day with the real processes, one of them killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow


def status_pid(folder):
    try:
        return json.loads((folder / "run" / "status.json").read_text())["pid"]
    except (OSError, ValueError):
        return None


def wait_for(condition, within_s):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.2)


def test_a_store_day_balances_although_the_daemon_is_killed(tmp_path):
    folder = tmp_path / "day"
    command = [sys.executable, "-m", "walkout", "demo", "--json", "--duration", "40"]
    demo = subprocess.Popen(
        [*command, "--seed", "3", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: status_pid(folder) is not None, 60)
        time.sleep(20)  # people are inside and hold goods
        os.kill(status_pid(folder), signal.SIGKILL)
        out, err = demo.communicate(timeout=420)
    finally:
        demo.kill()
    report = json.loads(out)
    assert report["restarts"] == {"daemon": 1}
    assert report["totals"]["paid"]["agree"]
    assert report["totals"]["over_charged_lines"] == 0
    assert report["problems"] == []
    assert report["totals"]["visits"] >= 2
    assert demo.returncode == 0
    assert "inside" in err
    truth = json.loads((folder / "truth.json").read_text())
    assert len(truth["visits"]) == report["totals"]["visits"]
