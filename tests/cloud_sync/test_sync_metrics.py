"""Figures of the sync process: ages, parked groups, attempts, latencies; also for Prometheus."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from second_systems import Arrival, Fate, SecondSystems, store_config, whole_visit
from test_settling_over_http import settle
from typer.testing import CliRunner

import walkout
from cloud_sync import metrics, views
from cloud_sync.janitor_command import JanitorError
from cloud_sync.janitor_command import run as janitor
from cloud_sync.metrics import GROUPS_MAX, quantiles
from sim.store_toml import store_toml

LINE = re.compile(r'walkout_sync_[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)+\})? -?[0-9.e+-]+')


def parked_group(tmp_path: Path) -> Path:
    """Two accounts: one settled after a lost answer, one parked at its price."""
    lost: list[Fate] = ["lost"]

    def fate(arrival: Arrival) -> Fate:
        if arrival.operation == "capture" and lost:
            return lost.pop()
        return (404, {}, b"no") if arrival.idem == "v2:price" else None

    events = (*whole_visit("v1", "ann", "apple"), *whole_visit("v2", 'b"ad', "apple"))
    settle(tmp_path, SecondSystems(fate=fate), *events, status=1)
    return tmp_path / "sync.db"


def test_ages_attempts_and_latencies_are_told(tmp_path: Path) -> None:
    found = views.summary(parked_group(tmp_path))["metrics"]
    (group,) = found["groups"]
    assert (group["group"], group["state"], group["destination"]) == ('b"ad', "parked", "retailer")
    assert (found["groups_waiting"], found["groups_parked"]) == (1, 1)
    assert found["attempts"]["max"] == 2  # the capture whose answer was lost
    assert found["answer_s"]["count"] == 5  # three of v1, its webhook, and the hold of v2
    assert found["receipt_s"]["count"] == 1
    assert set(found["answer_s"]) == {"count", "p50", "p99", "max"}


def test_prometheus_can_read_every_line_whatever_a_group_is_called(tmp_path: Path) -> None:
    text = metrics.prometheus(views.summary(parked_group(tmp_path)))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert 'walkout_sync_oldest_unsent_seconds{group="b\\"ad",destination="retailer"}' in text
    assert "walkout_sync_groups_parked 1" in lines
    assert 'walkout_sync_receipts{state="paid"} 1' in lines
    empty = metrics.prometheus(views.summary(tmp_path / "none.db"))
    assert "walkout_sync_queue_depth 0" in empty


def test_ten_thousand_groups_are_not_ten_thousand_lines(tmp_path: Path) -> None:
    path = parked_group(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10000)"
            " INSERT INTO request(grp,cause,message,idem,operation,destination,visit,subject,path,"
            "body,created_ns) SELECT 'g'||i,1,'m'||i,'m'||i,'hold','broker','','','',x'7b',i FROM n"
        )
        db.execute(
            "INSERT INTO grp_head(grp,head,destination) SELECT grp,id,destination FROM request"
            " WHERE grp LIKE 'g%'"
        )
    found = views.summary(path)["metrics"]
    assert (len(found["groups"]), found["groups_waiting"]) == (GROUPS_MAX, 10_001)
    assert found["groups"][0]["group"] == "g1"  # the oldest first


def test_quantiles_of_known_numbers() -> None:
    assert quantiles([]) == {"count": 0}
    assert quantiles(range(101)) == {"count": 101, "p50": 50, "p99": 99, "max": 100}


def test_the_command_prints_them_and_the_janitor_says_who_else_to_ask(tmp_path: Path) -> None:
    store = store_config(tmp_path, "http://127.0.0.1:1")
    config = tmp_path / "store.toml"
    config.write_text(store_toml(store))
    done = CliRunner().invoke(
        walkout.app, ["sync", "status", "--prometheus", "--config", str(config)]
    )
    assert done.exit_code == 0, done.output
    assert "walkout_sync_queue_depth 0" in done.output
    with pytest.raises(JanitorError, match="reconcile"):
        janitor(store, release=False, as_json=True)
