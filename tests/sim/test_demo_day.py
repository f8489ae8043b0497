"""A whole simulated store day with the real processes; ``test_daemon_killed`` kills one of them."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_a_store_day_ends_with_books_that_agree(tmp_path):
    folder = tmp_path / "day"
    command = [sys.executable, "-m", "walkout", "demo", "--json", "--duration", "40"]
    demo = subprocess.Popen(
        [*command, "--seed", "3", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = demo.communicate(timeout=420)
    finally:
        demo.kill()
    report = json.loads(out)
    assert report["restarts"] == {}
    assert report["totals"]["paid"]["agree"]
    assert report["totals"]["over_charged_lines"] == 0
    assert report["problems"] == []
    assert report["totals"]["visits"] >= 2
    assert demo.returncode == 0
    assert "inside" in err
    truth = json.loads((folder / "truth.json").read_text())
    assert len(truth["visits"]) == report["totals"]["visits"]
