"""Pages drawn from tables in the code are current, and the check can fail."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = [
    "VOCABULARY.md",
    "GATES.md",
    "guides/settlement.md",
    "SCENARIOS.md",
    "retailer-guide.md",
    "webhook-events.md",
]


@pytest.mark.parametrize("name", PAGES)
def test_drawn_part_of_a_page_is_current(build, name):
    text = (ROOT / "docs" / name).read_text()
    assert build.with_drawn_part(text, build.DRAWN[name]()) == text, "run `make docs`"


def test_every_wholly_drawn_file_is_current(build):
    for name, draw in build.WHOLE.items():
        assert (ROOT / "docs" / name).read_text() == draw(), "run `make docs`"


def test_an_old_drawn_part_is_noticed(build):
    text = (ROOT / "docs" / "GATES.md").read_text()
    assert build.with_drawn_part(text, "an older table") != text


def test_every_message_of_the_vocabulary_is_in_the_catalogue():
    from messages import commands, events, observations
    from messages.catalogue import BY_NAME

    unions = (observations.Observation, events.StoreEvent, events.CloudEvent, commands.AnyCommand)
    named = {kind for union in unions for kind in union.__args__}
    assert named == set(BY_NAME.values())
