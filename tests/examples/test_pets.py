"""The example of a real film runs: the real daemon on real people, tracks in metres."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from edge.cameras.models.install import install

PETS = Path(__file__).parents[2] / "examples" / "pets"


def test_people_of_a_real_film_become_tracks_on_the_floor(tmp_path: Path) -> None:
    install(["nanodet"])
    subprocess.run([PETS / "get-video.sh"], check=True, timeout=300)
    plan = tmp_path / "plan.svg"
    program = str(PETS / "floor_plan.py")
    command = [sys.executable, program, "--images", "25", "--out", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["instants"] >= 5
    assert found["tracks"] >= 2
    assert plan.read_text().startswith("<svg")
