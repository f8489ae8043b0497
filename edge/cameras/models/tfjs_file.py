"""TensorFlow.js graph models: a ``.json`` with the graph and a ``.bin`` with the constants.

Constants may be quantized: ``float16`` as such, ``uint8`` and ``uint16`` as ``scale * q + min``.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from edge.cameras.models.tf_graph import (
    NODES_MAX,
    Array,
    ModelFileError,
    TfGraph,
    TfNode,
    as_used,
    elements,
)

STORED = {"float32": "<f4", "int32": "<i4", "bool": "?", "uint8": "u1"}
QUANTIZED = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}


def read_tfjs(graph: bytes, weights: bytes) -> TfGraph:
    """The graph of a ``.json`` with its one ``.bin``.

    Raises:
        ModelFileError: no graph model, or the constants do not fit it.
    """
    try:
        document = json.loads(graph)
        rows = document["modelTopology"]["node"]
        manifest = [entry for group in document["weightsManifest"] for entry in group["weights"]]
        if len(rows) > NODES_MAX:
            raise ModelFileError(f"{len(rows)} nodes; at most {NODES_MAX} are read")
        nodes = {row["name"]: _node(row) for row in rows}
        return TfGraph(nodes, _constants(manifest, weights))
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(f"no TensorFlow.js graph model: {error!r}") from error


def _node(row: dict[str, Any]) -> TfNode:
    inputs = tuple(name for name in row.get("input", ()) if not name.startswith("^"))
    attributes = {key: _attribute(value) for key, value in row.get("attr", {}).items()}
    return TfNode(row["name"], row["op"], inputs, attributes)


def _attribute(value: dict[str, Any]) -> Any:
    if "list" in value:
        return _list(value["list"])
    if "i" in value:
        return int(value["i"])
    if "f" in value:
        return float(value["f"])
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "type" in value:
        return {"DT_INT32": "int", "DT_INT64": "long"}.get(
            value["type"], value["type"].removeprefix("DT_").lower()
        )
    return value.get("b")


def _list(value: dict[str, Any]) -> tuple[Any, ...]:
    if "i" in value:
        return tuple(int(v) for v in value["i"])
    return tuple(base64.b64decode(v).decode() for v in value.get("s", ()))


def _constants(manifest: list[dict[str, Any]], weights: bytes) -> dict[str, Array]:
    found: dict[str, Array] = {}
    at = 0
    for entry in manifest:
        how = entry.get("quantization")
        kind = np.dtype(QUANTIZED[how["dtype"]] if how else STORED[entry["dtype"]])
        count = elements(entry["shape"])
        if at + count * kind.itemsize > len(weights):
            raise ModelFileError(f"the .bin of {len(weights)} bytes ends within {entry['name']}")
        raw = np.frombuffer(weights, kind, count, at).reshape(entry["shape"])
        found[entry["name"]] = _whole(raw, how, entry["dtype"])
        at += count * kind.itemsize
    return found


def _whole(raw: Array, how: dict[str, Any] | None, dtype: str) -> Array:
    if how is None or how["dtype"] == "float16":
        return as_used(raw)
    value = raw.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["min"])
    return np.rint(value).astype(np.int64) if dtype == "int32" else value
