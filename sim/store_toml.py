"""Write a ``StoreConfig`` as ``store.toml``: the text that ``edge.config`` reads back equal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import tomli_w

from messages.store_config import StoreConfig

# field of StoreConfig -> table of store.toml
TABLES = {
    "plates": "plate",
    "products": "sku",
    "facings": "facing",
    "gates": "gate",
    "cameras": "camera",
    "models": "model",
    "fixtures": "fixture",
    "shelf_nodes": "shelf_node",
    "readers": "reader",
    "gate_nodes": "gate_node",
    "credential_keys": "credential_key",
}
STORE_KEYS = {"store": "id", "name": "name", "currency": "currency"}


def store_toml(config: StoreConfig) -> str:
    """The whole configuration as TOML."""
    document: dict[str, Any] = {
        "store": {key: getattr(config, field) for field, key in STORE_KEYS.items()}
    }
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in TABLES and value:
            document[TABLES[field.name]] = [_plain(row) for row in value]
        elif is_dataclass(value):
            document[field.name] = _plain(value)
    return tomli_w.dumps(document)


def write_store(config: StoreConfig, path: Path) -> None:
    path.write_text(store_toml(config), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Dataclasses as tables, tuples as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, Enum) else value
