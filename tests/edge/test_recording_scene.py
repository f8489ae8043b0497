"""The scene that Foxglove draws fits the schema that stands in the file."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from recordings import record, small_day

from edge.config import parse
from edge.foxglove_schema import SCENE_UPDATE
from edge.recording_scene import Scene, floor_plan


def problems(value: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """What is wrong with a value: the part of JSON Schema that the embedded one uses, strictly.

    Fields that the schema does not name, and fields that it names and the value lacks, count.
    """
    if "oneOf" in schema:
        fits = any(value == choice["const"] for choice in schema["oneOf"])
        return [] if fits else [f"{place}: {value!r} is none of the choices"]
    match schema["type"]:
        case "object":
            fields = schema["properties"]
            if not isinstance(value, dict):
                return [f"{place}: no object"]
            odd = [f"{place}: {name}" for name in set(value) ^ set(fields)]
            return odd + [
                one
                for name in set(value) & set(fields)
                for one in problems(value[name], fields[name], f"{place}.{name}")
            ]
        case "array":
            if not isinstance(value, list):
                return [f"{place}: no array"]
            rows = enumerate(value)
            return [p for i, v in rows for p in problems(v, schema["items"], f"{place}[{i}]")]
        case "integer":
            low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)
            fits = type(value) is int and low <= value <= high
        case "number":
            fits = type(value) in (int, float)
        case "string":
            fits = isinstance(value, str)
        case "boolean":
            fits = isinstance(value, bool)
        case kind:
            fits = False
            place += f" of unknown type {kind}"
    return [] if fits else [f"{place}: {value!r} is no {schema['type']}"]


@pytest.fixture(scope="module")
def updates(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, dict[str, Any]]]:
    path = record(small_day(), tmp_path_factory.mktemp("scene") / "x.mcap", scene=True)
    with path.open("rb") as file:
        found = list(make_reader(file).iter_messages(topics=["/scene"]))
    assert {schema.name for schema, _, _ in found} == {"foxglove.SceneUpdate"}
    assert {(schema.encoding, c.message_encoding) for schema, c, _ in found} == {
        ("jsonschema", "json")
    }
    assert json.loads(found[0][0].data) == SCENE_UPDATE
    return [(message.log_time, json.loads(message.data)) for _, _, message in found]


def test_every_scene_update_fits_the_schema(updates: list[tuple[int, dict[str, Any]]]) -> None:
    for _, update in updates:
        assert problems(update, SCENE_UPDATE) == []


def test_the_check_of_the_schema_finds_faults() -> None:
    config = parse(small_day().toml)
    good = {"deletions": [], "entities": floor_plan(0, config)}
    assert problems(good, SCENE_UPDATE) == []
    bad = json.loads(json.dumps(good))
    bad["entities"][0]["lines"][0]["type"] = 7
    bad["entities"][1]["cubes"][0]["size"]["x"] = "wide"
    bad["entities"][2]["colour"] = "red"
    del bad["entities"][3]["timestamp"]["nsec"]
    assert len(problems(bad, SCENE_UPDATE)) == 4


def test_it_speaks_five_times_a_second_and_shows_the_plan_soon_after_a_jump(
    updates: list[tuple[int, dict[str, Any]]],
) -> None:
    times = [at_ns for at_ns, _ in updates]
    assert {b - a for a, b in pairwise(times)} == {200_000_000}
    plans = [at_ns for at_ns, u in updates if any(e["id"] == "area" for e in u["entities"])]
    assert max(b - a for a, b in pairwise(plans)) <= 2_200_000_000


def test_the_store_its_people_and_their_carts_are_in_it(
    updates: list[tuple[int, dict[str, Any]]],
) -> None:
    config = parse(small_day().toml)
    ids = {entity["id"] for _, update in updates for entity in update["entities"]}
    assert {f"shelf {shelf}" for shelf in config.shelves} <= ids
    assert {f"fixture {fixture.id}" for fixture in config.fixtures} <= ids
    assert {f"gate {gate.id}" for gate in config.gates} <= ids
    assert any(name.startswith("person ") for name in ids)
    entities = [entity for _, update in updates for entity in update["entities"]]
    people = [entity for entity in entities if entity["cylinders"]]
    labels = " ".join(entity["texts"][0]["text"] for entity in people)
    carts = " ".join(e["texts"][0]["text"] for e in entities if e["id"] == "carts")
    assert f"{config.store}-v1" in labels
    assert f"{config.store}-v1" in carts
    assert "1 x " in carts or "2 x " in carts
    assert all(entity["frame_id"] == "store" for entity in entities)
    cubes = [cube for entity in entities for cube in entity["cubes"] if entity["id"] == "shelf"]
    assert not cubes


def test_a_store_without_an_area_has_no_outline_and_is_fine(tmp_path: Path) -> None:
    config = parse('[[gate]]\nid = "g"\nx_m = 0.0\ny_m = 0.0\n')
    update = json.loads(Scene(config).update(5, {}) or b"")
    assert [entity["id"] for entity in update["entities"]] == ["gate g", "carts"]
    assert problems(update, SCENE_UPDATE) == []
