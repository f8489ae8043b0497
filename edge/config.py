"""``store.toml`` -> ``StoreConfig``: every problem found is reported, together, with its remedy.

The types live in ``messages/store_config.py``; a table is named in the singular, a key is the
field's name and carries its unit. Only ``id`` and the geometry of plates, SKUs, facings, gates and
cameras are needed; everything else has a default. Cross references are checked in
``edge/config_checks.py``. Files that hold secrets are not opened here: who needs one reports it.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from edge.config_checks import RULES, Problem, check
from edge.toml_lines import Path as Place
from edge.toml_lines import lines_of
from messages.ids import FacingId
from messages.observations import CredentialKey
from messages.store_config import (
    Camera,
    Cloud,
    Decision,
    Facing,
    Fixture,
    Gate,
    GateNode,
    GatePolicy,
    Limits,
    Paths,
    Plate,
    Product,
    Reader,
    ShelfNode,
    StoreArea,
    StoreConfig,
    WebhookTarget,
)
from messages.vision_config import Model, Mqtt, Vision

STORE_TOML_BYTES_MAX = 8 * 2**20  # 350 plates are 60 kB; a bigger file is another file

MANY: dict[str, tuple[str, type]] = {
    "plate": ("plates", Plate),
    "sku": ("products", Product),
    "facing": ("facings", Facing),
    "gate": ("gates", Gate),
    "camera": ("cameras", Camera),
    "model": ("models", Model),
    "fixture": ("fixtures", Fixture),
    "shelf_node": ("shelf_nodes", ShelfNode),
    "reader": ("readers", Reader),
    "gate_node": ("gate_nodes", GateNode),
    "credential_key": ("credential_keys", CredentialKey),
    "webhook": ("webhooks", WebhookTarget),
}
ONE: dict[str, tuple[str, type]] = {
    "area": ("area", StoreArea),
    "gate_policy": ("gate_policy", GatePolicy),
    "decision": ("decision", Decision),
    "limits": ("limits", Limits),
    "vision": ("vision", Vision),
    "mqtt": ("mqtt", Mqtt),
    "paths": ("paths", Paths),
    "cloud": ("cloud", Cloud),
}
OTHER_WORDS = {"product": "sku", "item": "sku", "scale": "plate", "load_cell": "plate"}
PATH_KEYS = (
    *("retailer_key_file", "broker_key_file", "webhook_secret_file"),
    *("broker_refund_key_file", "connector_key_file", "stripe_key_file", "stripe_payers_file"),
)
MQTT_PATH_KEYS = ("ca_file", "certificate_file", "key_file", "password_file")

# unit -> (quantity, size in its first unit); used only to explain a key with a wrong unit
UNITS: dict[str, tuple[str, float]] = {
    "m": ("length", 1.0),
    "cm": ("length", 0.01),
    "mm": ("length", 0.001),
    "in": ("length", 0.0254),
    "ft": ("length", 0.3048),
    "g": ("mass", 1.0),
    "kg": ("mass", 1000.0),
    "mg": ("mass", 0.001),
    "lb": ("mass", 453.59237),
    "oz": ("mass", 28.349523125),
    "s": ("time", 1.0),
    "ms": ("time", 0.001),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
}


class ConfigError(ValueError):
    """``store.toml`` cannot be used. ``problems``: one line each, in order of the file."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        many = f"{len(problems)} problems:\n  " if len(problems) > 1 else ""
        super().__init__(many + "\n  ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """The ``[store]`` table."""

    id: str = "store"
    name: str = ""
    currency: str = "EUR"


def load(path: Path) -> StoreConfig:
    """Read and check a store's configuration.

    Raises:
        ConfigError: the file cannot be read, or anything in it is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError([f"{path}: cannot be read: {reason}; give --config"]) from error
    if len(data) > STORE_TOML_BYTES_MAX:
        raise ConfigError([f"{path}: {len(data)} bytes is no store.toml; give another file"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: byte {error.start} is not UTF-8; save it as UTF-8"]) from error
    return parse(text, file=str(path), folder=path.resolve().parent)


def parse(text: str, *, file: str = "store.toml", folder: Path | None = None) -> StoreConfig:
    """The configuration in a text, for example one kept in a recording or the journal.

    Relative paths and ports are taken from ``folder``; None leaves them as they are.

    Raises:
        ConfigError: with every problem found.
    """
    config = _parsed(text, file)
    return _resolved(config, folder) if folder else config


@lru_cache(maxsize=4)
def _parsed(text: str, file: str) -> StoreConfig:
    """A run and its replay read the same text, and what it says never changes."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: not TOML: {error}"]) from error
    reading = _Reading(text=text)
    config = reading.config(document)
    if not reading.problems:
        reading.problems.extend(check(config))
    if reading.problems:
        found = sorted(reading.problems, key=lambda p: reading.line(p) or 0)
        raise ConfigError([reading.explained(problem, file) for problem in found])
    return replace(config, facings=_named(config.facings), toml=text)


@dataclass
class _Reading:
    """One pass over a document; collects problems instead of stopping at the first."""

    text: str
    problems: list[Problem] = field(default_factory=list)
    places: dict[Place, int] = field(default_factory=dict)  # found when something is wrong

    def config(self, document: dict[str, Any]) -> StoreConfig:
        known = ["store", *MANY, *ONE]
        for name in document:
            if name not in known:
                self.problems.append(Problem(table=name, text="unknown table" + _nearest(name)))
        store = self._one("store", _Store, document.get("store", {}))
        values: dict[str, Any] = {"store": store.id, "name": store.name, "currency": store.currency}
        for name, (target, kind) in ONE.items():
            values[target] = self._one(name, kind, document.get(name, {}))
        for name, (target, kind) in MANY.items():
            values[target] = tuple(self._many(name, kind, document.get(name, [])))
        return StoreConfig(**values)

    def _many(self, table: str, kind: type, rows: Any) -> Iterator[Any]:
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            remedy = f"is a list of tables; write [[{table}]]"
            self.problems.append(Problem(table=table, text=remedy))
            return
        for index, row in enumerate(rows):
            filled = self._one(table, kind, row, index)
            if filled is not None:
                yield filled

    def _one(self, table: str, kind: type, row: Any, index: int | None = None) -> Any:
        if not isinstance(row, dict):
            self.problems.append(Problem(table=table, text=f"is a table; write [{table}]"))
            return kind() if index is None else None
        before = len(self.problems)
        hints, needed = _shape(kind)
        for key in row:
            if key not in hints:
                self._problem(table, index, row, key, _unknown_key(key, row[key], hints))
        for key in needed:
            if key not in row:
                self._problem(table, index, row, key, "is missing", value_known=False)
        values = {
            key: self._value(table, index, row, key, hints[key]) for key in row if key in hints
        }
        if len(self.problems) > before:
            return kind() if index is None else None
        return kind(**values)

    def _value(
        self, table: str, index: int | None, row: dict[str, Any], key: str, hint: Any
    ) -> Any:
        try:
            value = _converted(row[key], hint, key)
            if (rule := RULES.get(key)) is not None and (text := rule(value)):
                raise ValueError(text)
            return value
        except ValueError as error:
            self._problem(table, index, row, key, str(error))
            return None

    def _problem(
        self,
        table: str,
        index: int | None,
        row: dict[str, Any],
        key: str,
        text: str,
        *,
        value_known: bool = True,
    ) -> None:
        shown = f" = {_short(row[key])}" if value_known else ""
        row_id = row.get("id", row.get("kid"))
        label = row_id if isinstance(row_id, str) else None
        self.problems.append(
            Problem(table=table, index=index, id=label, key=key, text=f"{key}{shown}: {text}")
        )

    def explained(self, problem: Problem, file: str) -> str:
        line = self.line(problem)
        place = f"{file}:{line}" if line else file
        if problem.index is None:
            return f"{place}: [{problem.table}] {problem.text}"
        label = f" '{problem.id}'" if problem.id else ""
        return f"{place}: [[{problem.table}]] {problem.index + 1}{label}: {problem.text}"

    def line(self, problem: Problem) -> int | None:
        """The line, counted from 1, of the problem's key, or of its table."""
        self.places = self.places or lines_of(self.text)
        row = () if problem.index is None else (problem.index,)
        for path in ((problem.table, *row, problem.key or ""), (problem.table, *row)):
            if path in self.places:
                return self.places[path]
        return None


@cache
def _shape(kind: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Type of each key of a table, and the keys that have no default."""
    hints = get_type_hints(kind)
    needed = tuple(
        f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
    )
    return {f.name: hints[f.name] for f in fields(kind)}, needed


def _converted(value: Any, hint: Any, key: str) -> Any:
    """The value in the type the field wants. Raises ValueError with the remedy."""
    hint = getattr(hint, "__supertype__", hint)  # a NewType is its base
    if hint is str:
        return _text(value)
    if hint is int:
        if type(value) is not int:
            raise ValueError(f"a whole number is needed; write {key} = 1")
        return value
    if hint is float:
        return _number(value, key)
    if get_origin(hint) is tuple:
        return _sequence(value, get_args(hint)[0], key)
    raise AssertionError(f"{key}: no reader for {hint}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text is needed; put it in quotes")
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("has control characters; take them out")
    return value


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = "; a decimal point, no quotes" if isinstance(value, str) else ""
        raise ValueError(f"a number is needed; write {key} = 0.5{hint}")
    if not math.isfinite(value):
        raise ValueError("is not finite; write the measured value")
    return float(value)


def _sequence(value: Any, item: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list is needed; write {key} = [...]")
    if get_origin(item) is tuple and value and not isinstance(value[0], list):
        value = _rows(value, key)
    return tuple(_converted(entry, item, key) for entry in value)


def _rows(flat: list[Any], key: str) -> list[list[Any]]:
    """A flat row-major matrix, as calibration tools write it, in rows."""
    side = math.isqrt(len(flat))
    if side * side != len(flat):
        raise ValueError(f"{len(flat)} numbers are no square matrix; write rows: [[..], ..]")
    return [flat[i * side : (i + 1) * side] for i in range(side)]


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    text = re.sub(r"://[^/\s]*@", "://(hidden)@", text)  # a message may land in a log
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str) -> str:
    known = ["store", *MANY, *ONE]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    best = OTHER_WORDS.get(name) or OTHER_WORDS.get(name.rstrip("s")) or (near[0] if near else None)
    if best:
        return f"; did you mean [{'[' * (best in MANY)}{best}]{']' * (best in MANY)}?"
    return f"; known tables: {', '.join(known)}"


def _unknown_key(key: str, value: Any, known: dict[str, Any]) -> str:
    """Why a key is not known, and what to write: first by its unit, then by its spelling."""
    stem, _, suffix = key.rpartition("_")
    for good in known:
        good_stem, _, unit = good.rpartition("_")
        if unit not in UNITS:
            continue
        if stem == good_stem and suffix in UNITS and UNITS[suffix][0] == UNITS[unit][0]:
            return f"this key is in {unit}, not {suffix}; write {good}{_in(value, suffix, unit)}"
        if key == good_stem:
            return f"the unit belongs to the key; write {good} = ..."
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; known keys: {', '.join(known)}"


def _in(value: Any, suffix: str, unit: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return " = ..."
    return f" = {value * UNITS[suffix][1] / UNITS[unit][1]:.6g}"


def _named(facings: tuple[Facing, ...]) -> tuple[Facing, ...]:
    """Facings without an id take their first plate's, with the SKU added where that is taken."""
    taken: set[str] = {facing.id for facing in facings}
    named: list[Facing] = []
    for facing in facings:
        plate = facing.plates[0]
        name = facing.id or FacingId(plate if plate not in taken else f"{plate}/{facing.sku}")
        taken.add(name)
        named.append(replace(facing, id=name))
    return tuple(named)


def _resolved(config: StoreConfig, folder: Path) -> StoreConfig:
    """Relative paths and ports from the folder of ``store.toml``."""

    def absolute(path: str) -> str:
        return path if not path or "://" in path else str(folder / path)

    at = config.paths
    names = {f.name: absolute(getattr(at, f.name)) for f in fields(at)}
    broker: dict[str, Any] = {key: absolute(getattr(config.mqtt, key)) for key in MQTT_PATH_KEYS}
    secrets: dict[str, Any] = {key: absolute(getattr(config.cloud, key)) for key in PATH_KEYS}
    return replace(
        config,
        paths=replace(at, **names),
        cloud=replace(config.cloud, **secrets),
        vision=replace(config.vision, models=absolute(config.vision.models)),
        mqtt=replace(config.mqtt, **broker),
        models=tuple(replace(m, path=absolute(m.path)) for m in config.models),
        cameras=tuple(
            replace(c, url=absolute(c.url), password_file=absolute(c.password_file))
            for c in config.cameras
        ),
        shelf_nodes=tuple(replace(n, port=absolute(n.port)) for n in config.shelf_nodes),
        readers=tuple(replace(n, port=absolute(n.port)) for n in config.readers),
        gate_nodes=tuple(replace(n, port=absolute(n.port)) for n in config.gate_nodes),
        webhooks=tuple(replace(w, secret_file=absolute(w.secret_file)) for w in config.webhooks),
    )
