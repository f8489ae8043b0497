"""The example runs as written."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_store" / "one_day.py"


def test_one_day_prints_receipts_beside_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    figures = runpy.run_path(str(EXAMPLE))["main"](seed=7, duration_s=20.0)
    printed = capsys.readouterr().out
    assert figures["visits"] >= 1
    assert "charged" in printed
    assert "overcharged_lines" in printed
