"""Every test that docs/FAULTS.md names is there, and the check can fail."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
STORY = re.compile(r"soak `([\w-]+)`|`([\w-]+)` \(strace")


def missing(text: str) -> list[str]:
    """Tests that the page names and nobody wrote."""
    found = []
    for file, test in NAMED.findall(text):
        path = ROOT / file
        if not path.exists() or (test and f"def {test}(" not in path.read_text()):
            found.append(f"{file}::{test}")
    return found


def test_every_test_on_the_page_exists() -> None:
    text = (ROOT / "docs" / "FAULTS.md").read_text()
    assert len(NAMED.findall(text)) > 30
    assert missing(text) == []


def test_every_story_of_the_soak_on_the_page_exists() -> None:
    text = (ROOT / "docs" / "FAULTS.md").read_text()
    stories = (ROOT / "tests" / "soak" / "stories.py").read_text()
    for names in STORY.findall(text):
        assert f'"{names[0] or names[1]}": ' in stories


def test_a_test_that_was_renamed_is_noticed() -> None:
    assert missing("`tests/docs/test_faults_page.py::test_of_yesterday`") != []
