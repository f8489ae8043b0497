"""What a recording's messages look like: JSON Schemas, drawn from the vocabulary's own types.

Observations are MessagePack maps of their fields; an array in them is one extension, code 1, whose
content is MessagePack again: element type (numpy's notation), shape, little-endian bytes. Steps,
events, commands and the scene are JSON. With these schemas in the file, a reader that has never
seen this project can decode all of it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from messages import codec
from messages.catalogue import CATALOGUE, MessageKind
from messages.observations import Observation

PREFIX = "walkout."
STEP, EVENT, COMMAND, RAW = "walkout.Step", "walkout.Event", "walkout.Command", "walkout.RawPacket"
SCENE = "foxglove.SceneUpdate"
ARRAY = "ndarray"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
OBSERVATIONS: tuple[type, ...] = get_args(Observation)


@cache
def observation_schema(kind: type) -> bytes:
    """The schema of one observation, arrays included."""
    return _text(
        {"$schema": DRAFT, "title": PREFIX + kind.__name__, **_inlined(kind)},
    )


@cache
def outputs_schema(kind: MessageKind) -> bytes:
    """The schema of ``/events`` or ``/commands``: one line as in ``events.jsonl``."""
    types = [entry.type for entry in CATALOGUE if entry.kind is kind]
    _, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for entry in types:
        body = definitions[entry.__name__]
        body["properties"] = {"type": {"const": entry.__name__}, **body.get("properties", {})}
        body["required"] = ["type", *body.get("required", [])]
    title = EVENT if kind is MessageKind.EVENT else COMMAND
    choices = [{"$ref": f"#/$defs/{entry.__name__}"} for entry in types]
    shared = {"type": {"type": "string"}, "id": {"type": "string"}}
    return _text(
        {
            "$schema": DRAFT,
            "title": title,
            "type": "object",
            "properties": shared,
            "required": ["type"],
            "oneOf": choices,
            "$defs": definitions,
        }
    )


STEP_SCHEMA = json.dumps(
    {
        "$schema": DRAFT,
        "title": STEP,
        "description": "One call of the engine: engine.step(now_ns, the observations of this step)."
        " It follows them in the file.",
        "type": "object",
        "properties": {
            "step": {"type": "integer", "minimum": 1},
            "now_ns": {"type": "integer", "description": "store time, nanoseconds"},
            "observations": {"type": "integer", "minimum": 0},
        },
        "required": ["step", "now_ns", "observations"],
    }
).encode()

RAW_SCHEMA = json.dumps(
    {
        "$schema": DRAFT,
        "title": RAW,
        "description": "Bytes between a device and its driver, as they came from the wire."
        " MessagePack.",
        "type": "object",
        "properties": {
            "to_device": {"type": "boolean", "description": "false: from the device to the host"},
            "data": {"type": "string", "contentEncoding": "binary"},
        },
        "required": ["to_device", "data"],
    }
).encode()


def _inlined(kind: type) -> dict[str, Any]:
    """The type's own schema on top, so that every reader sees an object; others under $defs."""
    found = msgspec.json.schema(kind, schema_hook=lambda _: {"title": ARRAY})
    definitions = dict(found.get("$defs", {}))
    own = definitions.pop(kind.__name__, None) or found
    own = {key: value for key, value in own.items() if key not in ("$defs", "title")}
    for name, hint in get_type_hints(kind).items():
        _fill_arrays(own["properties"].get(name, {}), hint)
    return {**own, "$defs": definitions} if definitions else own


def _fill_arrays(schema: dict[str, Any], hint: Any) -> None:
    """Put into a field's schema what its array looks like."""
    arrays = [h for h in (hint, *get_args(hint)) if get_origin(h) is np.ndarray]
    for place in (schema, *schema.get("anyOf", [])):
        if place.get("title") == ARRAY and arrays:
            place.update(_array_schema(arrays[0]))


def _array_schema(kind: type) -> dict[str, Any]:
    """An array as it stands in MessagePack: extension 1 of [element type, shape, bytes]."""
    types = sorted(np.dtype(scalar).str for scalar in codec.element_types(kind))
    return {
        "title": ARRAY,
        "description": f"array of {' or '.join(types)}: MessagePack extension {codec.ARRAY_EXT}",
        "type": "array",
        "prefixItems": [
            {"type": "string", "enum": types, "description": "element type in numpy's notation"},
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "description": "shape"},
            {
                "type": "string",
                "contentEncoding": "binary",
                "description": "elements, little endian, last index fastest",
            },
        ],
        "msgpackExtension": codec.ARRAY_EXT,
    }


def _text(schema: dict[str, Any]) -> bytes:
    return json.dumps(schema).encode()
