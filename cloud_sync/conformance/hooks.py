"""Cases about the webhook receiver: genuine ones are taken, all others are refused, never 5xx."""

from __future__ import annotations

import msgspec

from cloud_sync import webhooks
from cloud_sync.conformance.plan import Case
from cloud_sync.conformance.session import REFUSALS, Reply, Session, require
from cloud_sync.wall_time import rfc3339
from cloud_sync.webhooks import ID, SIGNATURE, TIMESTAMP
from messages.contract import WebhookBody

STALE_S = 600  # twice the tolerance of five minutes
MALFORMED = ("", "v1", "v1,", "v1,!!!", ",", "v9,AAAA", "v1,AAAA " * 20, "v1,\xe9")


def _body(session: Session, kind: str = "receipt.issued") -> bytes:
    data: dict[str, object] = {
        **{"store": session.target.store, "visit": session.name("hook"), "account": "check"},
        **{"state": "free", "purchase": "", "capture": "", "total": 0},
        **{"currency": session.target.currency, "lines": [], "in_review": []},
        **{"exited_at": rfc3339(session.now_s * 1_000_000_000), "reason": ""},
    }
    at = rfc3339(session.now_s * 1_000_000_000)
    return msgspec.json.encode(WebhookBody(type=kind, timestamp=at, data=data))


def _taken(reply: Reply) -> None:
    require(200 <= reply.status < 300, reply.excerpt())


def _refused(reply: Reply, what: str = "") -> None:
    require(reply.status in REFUSALS, f"{what}{reply.excerpt()}")


def genuine(session: Session) -> None:
    body = _body(session)
    _taken(session.deliver(body, session.signed(session.name("genuine"), body)))


def repeated(session: Session) -> None:
    body, message = _body(session), session.name("repeated")
    _taken(session.deliver(body, session.signed(message, body, age_s=5)))
    _taken(session.deliver(body, session.signed(message, body)))


def new_type(session: Session) -> None:
    body = _body(session, "walkout.check.type.of.tomorrow")
    _taken(session.deliver(body, session.signed(session.name("type"), body)))


def rotation(session: Session) -> None:
    body, message = _body(session), session.name("rotation")
    genuine_headers = session.signed(message, body)
    other = webhooks.sign(_other_key(), message, session.now_s * 1_000_000_000, body)
    both = f"{other[SIGNATURE]} {genuine_headers[SIGNATURE]}"
    _taken(session.deliver(body, genuine_headers | {SIGNATURE: both}))


def unsigned(session: Session) -> None:
    _refused(session.deliver(_body(session), {}))


def other_key(session: Session) -> None:
    body, message = _body(session), session.name("other-key")
    headers = webhooks.sign(_other_key(), message, session.now_s * 1_000_000_000, body)
    _refused(session.deliver(body, headers))


def altered(session: Session) -> None:
    body = _body(session)
    headers = session.signed(session.name("altered"), body)
    _refused(session.deliver(body.replace(b'"total":0', b'"total":1'), headers), "body: ")
    headers = session.signed(session.name("altered"), body)
    _refused(session.deliver(body, headers | {ID: session.name("another")}), "webhook-id: ")


def stale(session: Session) -> None:
    body = _body(session)
    for age_s in (STALE_S, -STALE_S):
        headers = session.signed(session.name("stale"), body, age_s=age_s)
        _refused(session.deliver(body, headers), f"{age_s} s old: ")


def malformed(session: Session) -> None:
    body = _body(session)
    good = session.signed(session.name("malformed"), body)
    for text in MALFORMED:
        _refused(session.deliver(body, good | {SIGNATURE: text}), f"signature {text[:20]!r}: ")
    for text in ("", "now", "1e9", "9" * 40):
        _refused(session.deliver(body, good | {TIMESTAMP: text}), f"timestamp {text[:20]!r}: ")


def _other_key() -> webhooks.Signing:
    return webhooks.signer("whsec_" + "QUJD" * 11)


_NEEDS = ("webhook_url", "webhook_secret")
CASES = tuple(
    Case(id=f"webhook-{name}", expects=expects, run=run, needs=_NEEDS)
    for name, expects, run in (
        ("genuine", "2xx for a webhook with our signature", genuine),
        ("repeated", "2xx for the same webhook-id again, its effect once", repeated),
        ("new-type", "2xx for a type that you do not know", new_type),
        ("rotation", "2xx when one of several signatures is right", rotation),
        ("unsigned", "401 without a signature", unsigned),
        ("other-key", "401 for a signature of another key", other_key),
        ("altered", "401 when the body or the id was altered", altered),
        ("stale", "401 when the timestamp is more than five minutes away", stale),
        ("malformed", "401 for any malformed signature or timestamp, never 5xx", malformed),
    )
)
