"""One run against a retailer: where it is, its test data, and requests as the store sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import requests

from cloud_sync import amounts, webhooks
from cloud_sync.amounts import Amounts
from cloud_sync.outcomes import BadAnswer
from messages.contract import HEADER_ATTEMPT, HEADER_GROUP, HEADER_SEQUENCE, PROBLEM_BASE, Problem

TIMEOUT_S = 10.0  # docs/retailer-api.md: "Answer within 10 s"
REPLY_BYTES_MAX = 2**20
EXCERPT_LENGTH = 160
REFUSALS = (400, 401, 403)  # of a webhook that is not genuine; the standard's libraries use all

T = TypeVar("T")


class Violation(AssertionError):  # noqa: N818 - what it is
    """The retailer did something else than the contract says; the text is what was found."""


class NotOffered(LookupError):  # noqa: N818 - what it is
    """An optional endpoint that this retailer does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the retailer is, and its test data. An empty text: not given."""

    url: str
    key: str = field(default="", repr=False)
    currency: str = "EUR"
    amounts: Amounts = Amounts.MINOR
    store: str = "walkout-check"
    sku: str = "walkout-check-1"
    second_sku: str = "walkout-check-2"
    unknown_sku: str = "walkout-check-unknown"
    weight_sku: str = "walkout-check-loose"
    changed_sku: str = "walkout-check-changed"
    changed_at: str = "2026-01-01T00:00:00Z"
    shopper: str = "walkout-check-shopper"
    limited_shopper: str = "walkout-check-limited"
    debtor: str = "walkout-check-debtor"
    nobody: str = "walkout-check-nobody"
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def excerpt(self) -> str:
        text = self.body[:EXCERPT_LENGTH].decode("utf-8", "replace")
        return f"status {self.status}: {text}" if text else f"status {self.status}, no body"


class Session:
    """Requests of one run; ``nonce`` keeps its trips and keys apart from those of other runs."""

    def __init__(self, target: Target, nonce: str, now_s: int) -> None:
        self.target, self.nonce, self.now_s = target, nonce, now_s
        self._http = requests.Session()
        self._http.trust_env = False
        self._sequence = 0

    def name(self, case: str) -> str:
        """A trip, or another id, of this run."""
        return f"check-{self.nonce}-{case}"

    def post(self, path: str, body: object, key: str, *, authorization: str | None = None) -> Reply:
        """One POST as the store makes it; ``authorization`` instead of our key, "" = none."""
        self._sequence += 1
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Idempotency-Key": key,
            HEADER_GROUP: f"check-{self.nonce}",
            HEADER_SEQUENCE: str(self._sequence),
            HEADER_ATTEMPT: "1",
        }
        bearer = f"Bearer {self.target.key}" if authorization is None else authorization
        if bearer:
            headers["Authorization"] = bearer
        return self._send(self.target.url.rstrip("/") + path, self.written(body), headers)

    def deliver(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """One webhook with exactly these headers beside its content type."""
        kind = {"Content-Type": "application/json"}
        return self._send(self.target.webhook_url, body, kind | dict(headers))

    def signed(self, message: str, body: bytes, *, age_s: int = 0) -> dict[str, str]:
        """The headers of a genuine webhook that was sent ``age_s`` ago."""
        signing = webhooks.signer(self.target.webhook_secret)
        return webhooks.sign(signing, message, (self.now_s - age_s) * 1_000_000_000, body)

    def written(self, body: object) -> bytes:
        """A body as bytes, amounts as agreed."""
        if isinstance(body, bytes):
            return body
        return amounts.encode(body, self.target.amounts, self.target.currency)

    def read(self, reply: Reply, kind: type[T]) -> T:
        """A 2xx body as a contract type. Raises Violation."""
        media = reply.headers.get("content-type", "").partition(";")[0].strip()
        require(media == "application/json", f"content type {media!r} ({reply.excerpt()})")
        try:
            return amounts.decode(reply.body, kind, self.target.amounts, self.target.currency)
        except BadAnswer as error:
            raise Violation(f"{error} ({reply.excerpt()})") from None

    def _send(self, url: str, body: bytes, headers: Mapping[str, Any]) -> Reply:
        try:
            with self._http.post(
                url,
                data=body,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as reply:
                content = reply.raw.read(REPLY_BYTES_MAX + 1)
        except requests.RequestException as error:
            raise Violation(f"no answer within {TIMEOUT_S:g} s: {type(error).__name__}") from None
        require(len(content) <= REPLY_BYTES_MAX, "the answer is larger than 1 MiB")
        require(not 300 <= reply.status_code < 400, f"status {reply.status_code}, a redirect")
        return Reply(status=reply.status_code, headers=reply.headers, body=content)


def require(holds: bool, otherwise: str) -> None:
    """Raises Violation with ``otherwise`` unless it holds."""
    if not holds:
        raise Violation(otherwise)


def offered(reply: Reply, path: str) -> Reply:
    """The reply of an optional endpoint. Raises NotOffered where there is none."""
    if reply.status in (404, 405, 501):
        raise NotOffered(f"{path} is optional and answers {reply.status}")
    return reply


def problem(reply: Reply, *statuses: int, slug: str = "") -> Problem:
    """The refusal as a problem document. Raises Violation."""
    require(reply.status in statuses, reply.excerpt())
    media = reply.headers.get("content-type", "").partition(";")[0].strip()
    require(media == "application/problem+json", f"content type {media!r} ({reply.excerpt()})")
    try:
        found = msgspec.json.decode(reply.body, type=Problem)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Violation(f"not a problem document: {str(error)[:EXCERPT_LENGTH]}") from None
    require(not slug or found.type == PROBLEM_BASE + slug, f"problem type {found.type!r}")
    return found
