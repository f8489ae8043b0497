"""Some thousand inputs for every parser, led by coverage; ``make soak`` goes on for minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUND = 77  # libFuzzer: an input that raised what no parser may raise


def fuzz(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.soak.fuzz", "--out", str(out), "--seconds", "120", *words],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        timeout=300,
    )


def test_no_input_makes_a_parser_raise_anything_but_its_named_error(tmp_path: Path) -> None:
    done = fuzz(tmp_path / "fuzz", "--runs", "15000")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_hole_behind_four_bytes_is_found(tmp_path: Path) -> None:
    done = fuzz(tmp_path / "fuzz", "--planted")
    assert done.returncode == FOUND, done.stderr[-2000:]
    assert "a hole" in done.stdout + done.stderr
    assert any(b"walk" in f.read_bytes() for f in (tmp_path / "fuzz").glob("crash*"))
