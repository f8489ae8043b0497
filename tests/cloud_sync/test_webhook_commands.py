"""`walkout webhooks ...` and `walkout sync edit` on a real sync file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from second_systems import JournalFile, SecondSystems, serving, store_config, whole_visit
from typer.testing import CliRunner

from cloud_sync import service, views
from sim.store_toml import store_toml
from walkout import app

ID = "msg_v1:receipt-issued"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one webhook delivered and one group parked; its store.toml."""

    async def story() -> None:
        systems = SecondSystems()
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            (tmp_path / "store.toml").write_text(store_toml(config))
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*whole_visit("v1", "ann", "apple"), *whole_visit("v2", "bob", "ufo"))
            journal.close()
            assert await asyncio.wait_for(service.run(config, drain=True), 30) == 1

    asyncio.run(story())
    return tmp_path / "store.toml"


def walkout(store: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--config", str(store)])
    return done.exit_code, done.output


def test_deliveries_are_listed_and_inspected(store: Path) -> None:
    status, text = walkout(store, "webhooks", "list", "--json")
    assert status == 0
    assert [(d["id"], d["state"]) for d in json.loads(text)] == [(ID, "done")]
    assert json.loads(walkout(store, "webhooks", "list", "--open", "--json")[1]) == []
    found = json.loads(walkout(store, "webhooks", "inspect", ID, "--json")[1])
    assert found["body"]["data"]["visit"] == "v1"
    assert [s["attempts"] for s in found["sendings"]] == [1]
    status, text = walkout(store, "webhooks", "inspect", "msg_none")
    assert (status, "no delivery" in text) == (2, True)


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (("webhooks", "replay", ID), "replay"),
        (("webhooks", "replay", "--since", "2026-01-01T00:00Z"), "replay_span"),
        (("webhooks", "disable", "--reason", "they move"), "disable"),
        (("webhooks", "enable"), "enable"),
    ],
)
def test_a_command_is_left_for_the_sync_process(
    store: Path, words: tuple[str, ...], action: str
) -> None:
    status, text = walkout(store, *words)
    assert (status, "left for the sync service" in text) == (0, True)
    (left,) = (store.parent / "sync.db.commands").glob("*.json")
    assert json.loads(left.read_bytes())["action"] == action


@pytest.mark.parametrize(
    "words",
    [
        ("webhooks", "replay"),
        ("webhooks", "replay", ID, "--since", "2026-01-01T00:00Z"),
        ("webhooks", "replay", "--since", "yesterday"),
        ("webhooks", "replay", "--since", "2026-01-02", "--until", "2026-01-01"),
        ("webhooks", "disable", "--reason", " "),
        ("sync", "edit", "bob", "--body", "/none.json", "--reason", "x"),
    ],
)
def test_a_command_that_makes_no_sense_is_one_line(store: Path, words: tuple[str, ...]) -> None:
    status, text = walkout(store, *words)
    assert status == 2
    assert "Traceback" not in text
    assert not (store.parent / "sync.db.commands").exists()


def test_status_shows_the_second_systems(store: Path) -> None:
    found = json.loads(walkout(store, "sync", "status", "--json")[1])
    assert {d["name"]: d["state"] for d in found["destinations"]} == {
        **{"broker": "up", "retailer": "up", "webhook": "up"}
    }
    assert [p["grp"] for p in found["parked"]] == ["bob"]
    assert views.summary(store.parent / "none.db")["destinations"] == []
