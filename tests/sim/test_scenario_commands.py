"""`walkout sim list | show | check | schema`: what people and editors get."""

import json
import tomllib

import pytest
from typer.testing import CliRunner

from sim.layouts import layout
from sim.scenario import find, load, names
from sim.scenario_schema import schema
from sim.scenario_show import floor_plan, story
from sim.script import Act, Do
from walkout import app


def walkout(*args):
    return CliRunner().invoke(app, ["sim", *args])


def test_list_gives_one_line_a_scenario():
    out = walkout("list").stdout.splitlines()
    assert len(out) == len(names()) >= 35
    assert all(line.startswith(name) for line, name in zip(out, names(), strict=True))


def test_list_takes_a_pattern_and_speaks_json():
    rows = json.loads(walkout("list", "hard-*", "--json").stdout)
    assert {row["kind"] for row in rows} == {"hard"}
    assert all(row["title"] and row["hard_cases"] for row in rows)


def test_show_tells_who_does_what_and_draws_the_store():
    out = walkout("show", "hard-exchange-in-aisle").stdout
    assert "hand over cola-330ml to ben" in out
    assert "[in]" in out
    assert "A anna" in out


def test_show_of_an_unknown_name_is_one_line_with_the_nearest():
    result = walkout("show", "hard-exchange-in-isle")
    assert result.exit_code == 2
    assert "did you mean 'hard-exchange-in-aisle'?" in result.stderr


def test_check_says_every_line_and_fails(tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(find("ordinary-single-shopper").read_text())
    bad.write_text(good.read_text().replace("facing =", "faceing =").replace("kind", "kin"))
    assert walkout("check", str(good)).exit_code == 0
    result = walkout("check", str(good), str(bad))
    assert result.exit_code == 2
    assert f"{bad}:2: kin: unknown key; did you mean 'kind'?" in result.stdout
    assert len(json.loads(walkout("check", str(bad), "--json").stdout)[str(bad)]) >= 4


def test_plan_shows_fixtures_gates_and_people_inside_its_frame():
    plan = floor_plan(layout("corner"), load(find("hard-exchange-in-aisle")))
    assert len({len(row) for row in plan}) == 1
    text = "\n".join(plan)
    assert all(mark in text for mark in ("#", "=", "*", "A", "B", "[in]", "[out]"))


def test_plan_of_a_large_store_fits_a_narrow_terminal():
    assert max(len(row) for row in floor_plan(layout("market"), columns_max=60)) <= 62


def test_acts_are_told_in_words():
    do = Do(act=Act.TAKE, facing="a2-x", sku="tea", quantity=2, hold_s=(3, 6), mark="m", slow=True)
    assert story(do) == "take 2 tea at a2-x, hold_s 3-6, slow, mark m"
    assert story(Do(act=Act.MEET, to="ben/1")) == "meet ben/1"


@pytest.mark.parametrize("name", names())
def test_every_file_of_the_library_fulfils_the_schema(name):
    assert list(unfulfilled(tomllib.loads(find(name).read_text()), SCHEMA)) == []


def test_the_schema_refuses_what_the_reader_refuses():
    document = tomllib.loads(find("hard-long-hold").read_text())
    document["kind"], document["colour"] = "harder", "red"
    document["party"][0]["do"][0]["quantity"] = 0
    del document["party"][0]["do"][1]["facing"]
    assert len(list(unfulfilled(document, SCHEMA))) == 4


SCHEMA = schema()


def unfulfilled(value, rule):
    """The part of JSON Schema that ours uses; yields what is wrong."""
    if "$ref" in rule:
        rule = SCHEMA["$defs"][rule["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in rule:
        if all(list(unfulfilled(value, one)) for one in rule["anyOf"]):
            yield value, "fits none"
        return
    if "enum" in rule and value not in rule["enum"]:
        yield value, "not in the list"
    if (kind := rule.get("type")) and not _is(kind, value):
        yield value, f"is no {kind}"
        return
    if "minimum" in rule and not rule["minimum"] <= value <= rule["maximum"]:
        yield value, "out of range"
    if isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", 1000):
            yield value, "wrong length"
        for item in value:
            yield from unfulfilled(item, rule["items"])
    if isinstance(value, dict):
        yield from _unfulfilled_keys(value, rule)


def _unfulfilled_keys(value, rule):
    yield from ((key, "is missing") for key in rule.get("required", ()) if key not in value)
    for key, found in value.items():
        if key in rule["properties"]:
            yield from unfulfilled(found, rule["properties"][key])
        else:
            yield key, "is unknown"
    for case in rule.get("allOf", ()):
        if value.get("act") == case["if"]["properties"]["act"]["const"]:
            missing = [key for key in case["then"]["required"] if key not in value]
            yield from ((key, "is missing for this act") for key in missing)


def _is(kind, value):
    wanted = {"object": dict, "array": list, "string": str, "boolean": bool}
    if kind in wanted:
        return isinstance(value, wanted[kind])
    return not isinstance(value, bool) and isinstance(
        value, int if kind == "integer" else int | float
    )
