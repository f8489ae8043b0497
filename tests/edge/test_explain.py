"""Every receipt line tells its story, from a run's events or from a store's journal."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.explain import NothingToExplainError, events_of_journal, events_of_run, stories
from edge.journal import Journal
from messages.events import ItemTaken, VisitStarted
from messages.ids import VisitId
from walkout import app

GOLDEN = Path(__file__).parent.parent / "golden"


def told(name: str, visit: str, line: str | None = None):
    return stories(events_of_run(GOLDEN / name), VisitId(visit), line)


def test_a_charged_line_names_shelf_mass_time_and_who_was_near() -> None:
    (story,) = told("put-back-elsewhere", "corner-v1")
    assert story.state == "charged"
    assert [c.event for c in story.chapters] == ["ItemTaken", "CartClosed"]
    text = story.chapters[0].text
    assert "shelf a2 lost" in text
    assert "tracks in reach: 3" in text


def test_a_doubt_names_its_candidates_and_who_decided() -> None:
    events = events_of_run(GOLDEN / "same-item-same-second")
    visits = [e.visit for e in events if isinstance(e, VisitStarted)]
    all_ = [story for visit in visits for story in stories(events, visit)]
    doubts = [story for story in all_ if any(c.event == "ReviewRequested" for c in story.chapters)]
    assert doubts
    asked = next(c for c in doubts[0].chapters if c.event == "ReviewRequested")
    assert "%" in asked.text
    assert any(c.event == "ReviewResolved" for c in doubts[0].chapters)


def test_an_unknown_visit_or_line_names_those_that_are_there() -> None:
    with pytest.raises(NothingToExplainError, match="visits are: corner-v1"):
        told("put-back-elsewhere", "corner-v99")
    with pytest.raises(NothingToExplainError, match="its lines are: corner-v1-l"):
        told("put-back-elsewhere", "corner-v1", "corner-v1-l77")


@pytest.mark.parametrize("text", ['{"type": "Nothing"}', "{", "[]", '{"type": "ItemTaken"}'])
def test_a_broken_line_of_events_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "events.jsonl").write_text('{"type":"TailgateSuspected"}\n' + text + "\n")
    with pytest.raises(NothingToExplainError, match=r"events\.jsonl:2"):
        events_of_run(tmp_path)


def test_a_journal_tells_the_same_as_the_run(tmp_path: Path) -> None:
    golden = events_of_run(GOLDEN / "put-back-elsewhere")

    async def kept() -> None:
        journal = await Journal.open(tmp_path / "journal.db", store="corner")
        await journal.append_step(1, 10, [])
        await journal.commit_outputs(1, golden, [], wall_ns=1)
        await journal.close()

    asyncio.run(kept())
    events = events_of_journal(tmp_path / "journal.db")
    assert any(isinstance(event, ItemTaken) for event in events)
    assert stories(events, VisitId("corner-v1")) == stories(golden, VisitId("corner-v1"))


def test_without_a_journal_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NothingToExplainError, match="start the daemon first"):
        events_of_journal(tmp_path / "journal.db")


def test_the_command_prints_tables_or_one_object() -> None:
    run = str(GOLDEN / "put-back-elsewhere")
    plain = CliRunner().invoke(app, ["explain", "corner-v1", "--run", run])
    assert plain.exit_code == 0
    assert "rice-1kg" in plain.output
    data = CliRunner().invoke(app, ["explain", "corner-v1", "--run", run, "--json"])
    assert json.loads(data.output)[0]["sku"] == "rice-1kg"
    wrong = CliRunner().invoke(app, ["explain", "corner-v9", "--run", run])
    assert wrong.exit_code == 2
    assert "visits are: corner-v1" in wrong.output
