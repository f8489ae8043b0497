"""Rows of ``gates.csv`` become gate signals; plain credentials become signed entry tokens.

How large a party is: its column ``party`` if the file has one; else the ``enter`` rows that name
the credential; else, where no ``enter`` row names anybody, those that follow at the same gate
before the next credential and within the times that the gate's policy allows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from edge.csv_tables import SHOWN_CHARS, Table, fault, nearest
from messages.arrays import Ints
from messages.ids import DeviceId, GateId
from messages.observations import GateSignal, GateSignalKind
from messages.store_config import StoreConfig

NS = 1_000_000_000
SIGNALS = ("credential", "enter", "exit")
CREDENTIAL_CHARS_MAX = 200  # a token holds it twice and must stay below 1024
TOKEN_PREFIX = "v4.public."  # noqa: S105 - a real token is passed on as it is
VALID_S_MAX = 55.0


class Issuer:
    """Signs the credentials of one import. The key follows from the configuration's text."""

    def __init__(self, given: StoreConfig, text: str) -> None:
        seed = hashlib.sha256(b"walkout recording import\0" + text.encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._store = str(given.store)
        self._valid_s = min(VALID_S_MAX, given.gate_policy.token_validity_max_s)
        taken = {key.kid for key in given.credential_keys}
        self.kid = next(kid for kid in _names("import") if kid not in taken)
        self.plain: dict[str, str] = {}  # ids that are not the plain name

    @property
    def public_key(self) -> str:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def token(self, name: str, visit: int, party: int, wall_ns: int) -> str:
        """An entry token of a credential's n-th visit, valid from now on."""
        jti = name if visit == 1 else f"{name}#{visit}"
        if visit > 1:
            self.plain[jti] = name
        issued = datetime.fromtimestamp(wall_ns // NS, tz=UTC)
        claims = {
            "jti": jti,
            "store": self._store,
            "acct": name,
            "party": party,
            "kind": "shopper",
            "iat": issued.isoformat(timespec="seconds"),
            "exp": (issued + timedelta(seconds=self._valid_s)).isoformat(timespec="seconds"),
        }
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = pyseto.Key.new(version=4, purpose="public", key=pem)
        footer = json.dumps({"kid": self.kid}).encode()
        return pyseto.encode(key, json.dumps(claims).encode(), footer).decode()


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}-{n}" for n in count(2))


@dataclass(slots=True)
class _Row:
    at_ns: int
    line: int
    gate: GateId
    signal: str
    credential: str
    party: int  # 0: not said


@dataclass(slots=True)
class _Known:
    """A credential name: how often it went in."""

    visit: int = 1
    entered: bool = False


@dataclass(slots=True)
class _Gates:
    """Who showed a credential last at each gate, and who went in."""

    known: dict[str, _Known] = field(default_factory=dict)
    last: dict[GateId, str] = field(default_factory=dict)


def gate_signals(
    config: StoreConfig,
    table: Table,
    at_ns: Ints,
    issuer: Issuer,
    wall_ns: Callable[[int], int],
) -> list[GateSignal]:
    """The signals in order of time.

    Raises:
        CsvError: a row that is none.
    """
    rows = _rows(config, table, at_ns)
    named = any(row.credential for row in rows if row.signal == "enter")
    nodes = {node.gate: node.id for node in config.gate_nodes}
    readers = {reader.gate: reader.id for reader in config.readers}
    gates, signals = _Gates(), list[GateSignal]()
    for k, row in enumerate(rows):
        device = nodes.get(row.gate, DeviceId(f"gate-node-{row.gate}"))
        reader = readers.get(row.gate, DeviceId(f"reader-{row.gate}"))
        if row.signal == "credential" or _enters_unannounced(gates, row):
            party = row.party or _party(config, rows, k, named)
            token = _shown(gates, row, party, issuer, wall_ns(row.at_ns))
            signals.append(_signal(row, reader, GateSignalKind.CREDENTIAL, token))
        if row.signal == "enter":
            _went_in(gates, row)
        if row.signal != "credential":
            signals.append(_signal(row, device, GateSignalKind(row.signal), None))
    return signals


def _rows(config: StoreConfig, table: Table, at_ns: Ints) -> list[_Row]:
    order = np.argsort(at_ns, kind="stable")
    found = []
    for k in order.tolist():
        signal, line = table.texts["signal"][k], int(table.line[k])
        if signal not in SIGNALS:
            remedy = nearest(signal, SIGNALS, "signal").replace("store.toml has the", "there are")
            raise fault(table.path, line, f"unknown signal {signal[:SHOWN_CHARS]!r}", remedy)
        credential = table.texts["credential"][k]
        if signal == "credential" and not credential:
            raise fault(table.path, line, "the credential is empty", "name who came")
        is_token = credential.startswith(TOKEN_PREFIX)
        if len(credential) > CREDENTIAL_CHARS_MAX and not is_token:
            what = f"the credential has {len(credential)} characters"
            raise fault(table.path, line, what, f"at most {CREDENTIAL_CHARS_MAX} fit")
        gate = config.gates[int(table.names[k])].id
        party = _said(table, k, line)
        found.append(_Row(int(at_ns[k]), line, gate, signal, credential, party))
    return found


def _said(table: Table, k: int, line: int) -> int:
    text = table.texts["party"][k]
    if not text:
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        raise fault(
            table.path, line, f"party = {text[:SHOWN_CHARS]!r}", "write 1 to 99, or nothing"
        )
    return int(text)


def _enters_unannounced(gates: _Gates, row: _Row) -> bool:
    """An ``enter`` row that names a credential which nobody has shown stands for both."""
    return row.signal == "enter" and bool(row.credential) and row.credential not in gates.known


def _shown(gates: _Gates, row: _Row, party: int, issuer: Issuer, wall_ns: int) -> str:
    gates.last[row.gate] = row.credential
    if row.credential.startswith(TOKEN_PREFIX):
        return row.credential
    known = gates.known.setdefault(row.credential, _Known())
    if known.entered:
        known.visit, known.entered = known.visit + 1, False
    return issuer.token(row.credential, known.visit, party, wall_ns)


def _went_in(gates: _Gates, row: _Row) -> None:
    name = row.credential or gates.last.get(row.gate, "")
    if name in gates.known:
        gates.known[name].entered = True


def _party(config: StoreConfig, rows: list[_Row], k: int, named: bool) -> int:
    """How many go in on the credential of row k."""
    shown, policy = rows[k], config.gate_policy
    until_ns = shown.at_ns + round(policy.passage_timeout_s * NS)
    people = 0
    for row in rows[k if shown.signal == "enter" else k + 1 :]:
        if row.gate != shown.gate:
            continue
        if row.at_ns > until_ns or row.signal == "credential":
            break
        if row.signal == "enter" and (not named or row.credential == shown.credential):
            people += 1
            until_ns = row.at_ns + round(policy.passage_gap_s * NS)
    return max(people, 1)


def _signal(
    row: _Row, device: DeviceId, kind: GateSignalKind, credential: str | None
) -> GateSignal:
    return GateSignal(
        gate=row.gate,
        device=device,
        kind=kind,
        received_at_ns=row.at_ns,
        credential=credential,
    )
