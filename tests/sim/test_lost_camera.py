"""One of four cameras is lost while the store is full: nobody pays for what they did not take."""

from __future__ import annotations

import json

from sim.scenario import find, load
from sim.scenario_run import run_scenario
from sim.score import score


def test_a_camera_lost_in_a_crowd_charges_nobody_wrongly_and_doubts_go_to_review(tmp_path):
    result = run_scenario(load(find("faulty-camera-lost-in-crowd")), 1, tmp_path)
    assert result.ok, result.complaints()
    found = score([tmp_path]).document()
    assert found["overcharged_per_1000_lines"] == 0.0
    receipts = json.loads((tmp_path / "receipts.json").read_text())
    assert len(receipts) == result.visits >= 8
    # It is noticed: those who were inside are asked about, and what was plain is charged.
    assert 1 <= sum(r["state"] == "review" for r in receipts) < len(receipts)
    lines = [line for r in receipts for line in r["lines"]]
    assert any(line["state"] == "charged" for line in lines)
    assert all(line["probability"] >= 0.98 for line in lines if line["state"] == "charged")
