"""System H, where webhooks go: a party's endpoints, each with a secret of its own.

The secret is derived from the broker's signing key and a name of chance, and shown when it is made
or rotated; no table and no stored answer holds it (as with one-time codes). After a rotation both
sign for a day. An address must be https and public; private ones the operator alone allows, so that
a merchant cannot make the broker knock at the operator's own network.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from broker.credentials import SigningKey
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing, same_version
from broker.systems.events import MERCHANT
from broker.systems.secret_codes import CodeCommand
from cloud_sync.http_sender import EndpointError, checked_url
from cloud_sync.public_network import blocked
from cloud_sync.webhooks import SECRET_PREFIX

ENDPOINTS_MAX = 100  # of one tenant
OF_PARTY_MAX = 10  # so that one party cannot take all of them
OLD_SECRET_S = 24 * 3600  # a rotation is done on both sides within a day
ENABLED, DISABLED = "enabled", "disabled"
ORDERED, PARALLEL = "ordered", "parallel"
PUBLIC, PRIVATE = "public", "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpointRequest:
    """POST /v1/webhook-endpoints. ``party`` "": everybody's; ``kinds`` empty: every kind.

    ``ordering``: one message after the other, or one group for each thing they are about.
    """

    endpoint: str
    url: str
    party: str = ""
    kinds: list[str] | None = None
    ordering: str = ORDERED
    network: str = PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """PUT /v1/webhook-endpoints/{endpoint}, If-Match."""

    url: str
    enabled: bool = True
    kinds: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """``detail``: why it is disabled. ``secret``: whsec_..., once, when made or rotated."""

    endpoint: str
    version: int
    party: str
    url: str
    kinds: list[str]
    ordering: str
    network: str
    status: str
    detail: str
    secret_id: str
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPage:
    """GET /v1/webhook-endpoints."""

    endpoints: list[WebhookEndpoint]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """As it is stored. ``keys``: (kid, secret id) of the secrets that sign, newest first."""

    shown: WebhookEndpoint
    keys: tuple[tuple[str, str], ...]


class SecretCommand(CodeCommand):
    """A command that shows an endpoint's secret."""

    def secret(self, key: SigningKey, reply: Mapping[str, Any]) -> str:
        return secret_of(key, str(reply["secret_id"]))


def secret_of(key: SigningKey, secret_id: str) -> str:
    """The signing secret of Standard Webhooks: 256 bits, the same each time."""
    inner = hashlib.sha256(b"walkout webhook secrets\0" + key.private_pem).digest()
    raw = hmac.new(inner, secret_id.encode(), hashlib.sha256).digest()
    return SECRET_PREFIX + base64.b64encode(raw).decode()


# --- effects ----------------------------------------------------------------------------------


async def create(db: Transaction, call: Call, asked: WebhookEndpointRequest) -> Answer:
    """Register an address.

    Raises:
        ProblemError: 404 another party's, 403 a private address by a merchant's key, 409 the id is
            taken or there are too many, 422 no address.
    """
    check_party(call, asked.party)
    _check_url(call, asked.url, asked.network)
    kinds = sorted(set(asked.kinds or []))
    known = await _or_none(db, asked.endpoint)
    if known is not None:
        check_party(call, known.shown.party)
        was = known.shown
        given = (asked.party, asked.url, kinds, asked.ordering, asked.network)
        if given != (was.party, was.url, was.kinds, was.ordering, was.network):
            raise ProblemError(409, "id-taken", "this endpoint came before with other content")
        return answer(201, _with_kid(known), replayed=True)
    await _check_number(db, asked.party)
    head = (asked.endpoint, asked.party, asked.url, json.dumps(kinds))
    rest = (asked.ordering, asked.network, call.service.signing[0].kid, _new_id(), call.now_s)
    await db.run(_INSERT, *head, *rest)
    return answer(201, _with_kid(await row_of(db, asked.endpoint)))


async def change(db: Transaction, call: Call, asked: EndpointChange) -> Answer:
    """Another address, other kinds, on or off; what waits goes to the new address.

    Raises:
        ProblemError: 404, 412, 422.
    """
    was = (await _own(db, call)).shown
    same_version(call, was.version)
    _check_url(call, asked.url, was.network)
    row = (was.endpoint, was.version, asked.url, json.dumps(sorted(set(asked.kinds or []))))
    if not await db.run(_CHANGE, *row, ENABLED if asked.enabled else DISABLED):
        raise ProblemError(412, "version-mismatch", "somebody was faster", param="If-Match")
    return answer(200, (await row_of(db, was.endpoint)).shown)


async def rotate(db: Transaction, call: Call, _: Nothing) -> Answer:
    """A new secret; the old one signs beside it for a day."""
    was = await _own(db, call, " FOR UPDATE")
    until_s = call.now_s + OLD_SECRET_S
    await db.run(_ROTATE, was.shown.endpoint, call.service.signing[0].kid, _new_id(), until_s)
    return answer(200, _with_kid(await row_of(db, was.shown.endpoint)))


# --- questions --------------------------------------------------------------------------------


async def shown(db: Transaction, call: Call) -> WebhookEndpoint:
    return (await _own(db, call)).shown


async def page(db: Transaction, call: Call, after: str, limit: int) -> EndpointPage:
    """A merchant's key sees its own."""
    party = f"{MERCHANT}{call.key.party}" if call.key.party else ""
    rows = await db.all(_PAGE, after, party, limit + 1)
    found = [_read(row).shown for row in rows[:limit]]
    last = found[-1].endpoint if found else after
    return EndpointPage(endpoints=found, after=last, more=len(rows) > limit)


async def row_of(db: Transaction, name: str, lock: str = "") -> EndpointRow:
    """Raises ProblemError 404."""
    found = await _or_none(db, name, lock)
    if found is None:
        raise ProblemError(404, "unknown-endpoint", "no endpoint has this id")
    return found


async def all_of(db: Transaction, now_s: int) -> list[EndpointRow]:
    """Every endpoint, with the secrets that sign now."""
    return [_read(row, now_s) for row in await db.all(f"{_SELECT} ORDER BY endpoint")]


async def disable(db: Transaction, name: str, detail: str) -> None:
    """It wants no more (410), or cannot be signed for."""
    await db.run(_DISABLE, name, detail)


def check_party(call: Call, party: str) -> None:
    """Raises ProblemError 404 for a merchant's key and a party that is not its merchant."""
    if call.key.party and party != f"{MERCHANT}{call.key.party}":
        raise ProblemError(404, "unknown-endpoint", "no endpoint of this key")


# --- helpers ----------------------------------------------------------------------------------


async def _own(db: Transaction, call: Call, lock: str = "") -> EndpointRow:
    found = await row_of(db, call.named, lock)
    check_party(call, found.shown.party)
    return found


async def _check_number(db: Transaction, party: str) -> None:
    count = await db.one(_COUNT, party)
    assert count is not None
    if count[0] >= ENDPOINTS_MAX or count[1] >= OF_PARTY_MAX:
        detail = f"{OF_PARTY_MAX} of a party and {ENDPOINTS_MAX} in all are the most: change one"
        raise ProblemError(409, "too-many-endpoints", detail)


def _check_url(call: Call, url: str, network: str) -> None:
    if network == PRIVATE and call.key.party:
        raise ProblemError(403, "merchants-key", "private addresses are the operator's to allow")
    try:
        base, socket = checked_url("url", url)
    except (EndpointError, ValueError) as error:
        raise ProblemError(422, "invalid-body", _line(error), param="$.url") from None
    host = urlsplit(base).hostname or ""
    if socket or (network == PUBLIC and blocked(host)):
        detail = "not a public https address"
        raise ProblemError(422, "invalid-body", detail, param="$.url")


def _line(error: Exception) -> str:
    """Only our own words: an address may hold anything."""
    return "no https address" if isinstance(error, ValueError) else "not an address of ours"


def _with_kid(row: EndpointRow) -> dict[str, object]:
    """What is stored as the answer: the key's id stands where the secret will be."""
    values = {name: getattr(row.shown, name) for name in WebhookEndpoint.__slots__}
    return values | {"secret": row.keys[0][0]}


def _new_id() -> str:
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


async def _or_none(db: Transaction, name: str, lock: str = "") -> EndpointRow | None:
    row = await db.one(f"{_SELECT} WHERE endpoint = $1{lock}", name)
    return None if row is None else _read(row)


def _read(row: Sequence[Any], now_s: int = 0) -> EndpointRow:
    keys = [(row[9], row[10])]
    if row[13] > now_s:
        keys.append((row[11], row[12]))
    shown = WebhookEndpoint(
        endpoint=row[0],
        version=row[1],
        party=row[2],
        url=row[3],
        kinds=json.loads(row[4]),
        ordering=row[5],
        network=row[6],
        status=row[7],
        detail=row[8],
        secret_id=row[10],
    )
    return EndpointRow(shown=shown, keys=tuple(keys))


_SELECT = (
    "SELECT endpoint, version, party, url, kinds, ordering, network, status, detail, kid,"
    " secret_id, old_kid, old_secret_id, old_until_s FROM webhook_endpoint"
)
_PAGE = (
    f"{_SELECT} WHERE endpoint > $1 AND (CAST($2 AS TEXT) = '' OR party = $2)"
    " ORDER BY endpoint LIMIT $3"
)
_COUNT = (
    "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN party = $1 THEN 1 ELSE 0 END), 0) AS BIGINT)"
    " FROM webhook_endpoint"
)
_INSERT = (
    "INSERT INTO webhook_endpoint VALUES"
    " ($1, 1, $2, $3, $4, $5, $6, 'enabled', '', $7, $8, '', '', 0, $9)"
)
_CHANGE = (
    "UPDATE webhook_endpoint SET version = version + 1, url = $3, kinds = $4, status = $5,"
    " detail = '' WHERE endpoint = $1 AND version = $2"
)
_ROTATE = (
    "UPDATE webhook_endpoint SET version = version + 1, old_kid = kid, old_secret_id = secret_id,"
    " old_until_s = $4, kid = $2, secret_id = $3 WHERE endpoint = $1"
)
_DISABLE = (
    "UPDATE webhook_endpoint SET version = version + 1, status = 'disabled', detail = $2"
    " WHERE endpoint = $1 AND status = 'enabled'"
)
