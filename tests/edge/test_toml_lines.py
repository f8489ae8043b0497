"""Where each value of a TOML text stands."""

import tomllib

import pytest

from edge.config import ConfigError, parse
from edge.toml_lines import lines_of


def test_lines_of_nested_tables_lists_and_strings_are_found():
    text = (
        "a.b = 1 # c = 2\n[[x]]\ns = '''\n]]\n'''\n\n[[x]]\n[[x.y]]\n[x.y.z]\n"
        '\'q q\' = [ # [\n 1, { k = "}\\"", l = [\n 2] },\n]\n'
    )
    tomllib.loads(text)
    assert lines_of(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("x",): 2,
        ("x", 0): 2,
        ("x", 0, "s"): 3,
        ("x", 1): 7,
        ("x", 1, "y"): 8,
        ("x", 1, "y", 0): 8,
        ("x", 1, "y", 0, "z"): 9,
        ("x", 1, "y", 0, "z", "q q"): 10,
        ("x", 1, "y", 0, "z", "q q", 0): 11,
        ("x", 1, "y", 0, "z", "q q", 1): 11,
        ("x", 1, "y", 0, "z", "q q", 1, "k"): 11,
        ("x", 1, "y", 0, "z", "q q", 1, "l"): 11,
        ("x", 1, "y", 0, "z", "q q", 1, "l", 0): 12,
    }


def test_windows_line_ends_count_once():
    assert lines_of("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


def test_store_toml_written_with_inline_tables_still_gets_lines():
    rows = ['{ id = "in", x_m = 1.0, y_m = 0 }', '{ id = "out", x_cm = 100, y_m = 0 }']
    with pytest.raises(ConfigError) as caught:
        parse("gate = [\n  " + ",\n  ".join(rows) + "\n]\n")
    assert all(problem.startswith("store.toml:3: ") for problem in caught.value.problems)
    assert len(caught.value.problems) == 2
