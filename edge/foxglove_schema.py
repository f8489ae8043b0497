"""The schema ``foxglove.SceneUpdate`` as its publisher defines it: entities of a 3D scene.

Source: foxglove/foxglove-sdk, schemas/jsonschema/SceneUpdate.json (MIT).
"""

from __future__ import annotations

import json
from typing import Any


def _object(title: str, description: str, **properties: Any) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "type": "object",
        "properties": properties,
    }


def _list(items: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}


def _numbers(title: str, description: str, *names: str) -> dict[str, Any]:
    return _object(title, description, **{name: {"type": "number"} for name in names})


def _choice(title: str, description: str, *names: str) -> dict[str, Any]:
    values = [{"title": name, "const": number} for number, name in enumerate(names)]
    return {"title": title, "description": description, "oneOf": values}


_BOOLEAN = {"type": "boolean"}
_NUMBER = {"type": "number"}
_STRING = {"type": "string"}
_NSEC = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_TIME = {
    "type": "object",
    "title": "time",
    "properties": {"sec": {"type": "integer", "minimum": 0}, "nsec": _NSEC},
}
_DURATION = {
    "type": "object",
    "title": "duration",
    "properties": {"sec": {"type": "integer"}, "nsec": _NSEC},
}
_VECTOR = _numbers("foxglove.Vector3", "A vector in 3D space", "x", "y", "z")
_POINT = _numbers("foxglove.Point3", "A point in 3D space", "x", "y", "z")
_POSE = _object(
    "foxglove.Pose",
    "A position and orientation for an object or reference frame in 3D space",
    position=_VECTOR,
    orientation=_numbers("foxglove.Quaternion", "A rotation in 3D space", "x", "y", "z", "w"),
)
_COLOR = _numbers("foxglove.Color", "A color in RGBA format", "r", "g", "b", "a")
_INDICES = {"type": "array", "items": {"type": "integer", "minimum": 0}}

_ARROW = _object(
    "foxglove.ArrowPrimitive",
    "A primitive representing an arrow",
    pose=_POSE,
    shaft_length=_NUMBER,
    shaft_diameter=_NUMBER,
    head_length=_NUMBER,
    head_diameter=_NUMBER,
    color=_COLOR,
)
_CUBE = _object(
    "foxglove.CubePrimitive",
    "A primitive representing a cube or rectangular prism",
    pose=_POSE,
    size=_VECTOR,
    color=_COLOR,
)
_SPHERE = _object(
    "foxglove.SpherePrimitive",
    "A primitive representing a sphere or ellipsoid",
    pose=_POSE,
    size=_VECTOR,
    color=_COLOR,
)
_CYLINDER = _object(
    "foxglove.CylinderPrimitive",
    "A primitive representing a cylinder, elliptic cylinder, or truncated cone",
    pose=_POSE,
    size=_VECTOR,
    bottom_scale=_NUMBER,
    top_scale=_NUMBER,
    color=_COLOR,
)
_LINE = _object(
    "foxglove.LinePrimitive",
    "A primitive representing a series of points connected by lines",
    type=_choice(
        "foxglove.LineType",
        "An enumeration indicating how input points should be interpreted to create lines",
        "LINE_STRIP",
        "LINE_LOOP",
        "LINE_LIST",
    ),
    pose=_POSE,
    thickness=_NUMBER,
    scale_invariant=_BOOLEAN,
    points=_list(_POINT),
    color=_COLOR,
    colors=_list(_COLOR),
    indices=_INDICES,
)
_TRIANGLES = _object(
    "foxglove.TriangleListPrimitive",
    "A primitive representing a set of triangles or a surface tiled by triangles",
    pose=_POSE,
    points=_list(_POINT),
    color=_COLOR,
    colors=_list(_COLOR),
    indices=_INDICES,
)
_LABEL = _object(
    "foxglove.TextPrimitive",
    "A primitive representing a text label",
    pose=_POSE,
    billboard=_BOOLEAN,
    font_size=_NUMBER,
    scale_invariant=_BOOLEAN,
    color=_COLOR,
    text=_STRING,
)
_MODEL = _object(
    "foxglove.ModelPrimitive",
    "A primitive representing a 3D model file loaded from an external URL or embedded data",
    pose=_POSE,
    scale=_VECTOR,
    color=_COLOR,
    override_color=_BOOLEAN,
    url=_STRING,
    media_type=_STRING,
    data={"type": "string", "contentEncoding": "base64"},
)
_DELETION = _object(
    "foxglove.SceneEntityDeletion",
    "Command to remove previously published entities",
    timestamp=_TIME,
    type=_choice(
        "foxglove.SceneEntityDeletionType",
        "An enumeration indicating which entities should match a SceneEntityDeletion command",
        "MATCHING_ID",
        "ALL",
    ),
    id=_STRING,
)
_ENTITY = _object(
    "foxglove.SceneEntity",
    "A visual element in a 3D scene. An entity may be composed of multiple primitives which all"
    " share the same frame of reference.",
    timestamp=_TIME,
    frame_id=_STRING,
    id=_STRING,
    lifetime=_DURATION,
    frame_locked=_BOOLEAN,
    metadata=_list(
        _object(
            "foxglove.KeyValuePair",
            "A key with its associated value",
            key=_STRING,
            value=_STRING,
        )
    ),
    arrows=_list(_ARROW),
    cubes=_list(_CUBE),
    spheres=_list(_SPHERE),
    cylinders=_list(_CYLINDER),
    lines=_list(_LINE),
    triangles=_list(_TRIANGLES),
    texts=_list(_LABEL),
    models=_list(_MODEL),
)

SCENE_UPDATE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        "foxglove.SceneUpdate",
        "An update to the entities displayed in a 3D scene",
        deletions=_list(_DELETION, "Scene entities to delete"),
        entities=_list(_ENTITY, "Scene entities to add or replace"),
    ),
}
SCENE_UPDATE_SCHEMA = json.dumps(SCENE_UPDATE).encode()
