"""The systems' effects on either database, at a time of the test's choosing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from both_databases import Ledger
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import books
from broker.credentials import SigningKey, signing_key
from broker.database import Transaction
from broker.idempotency import Answer
from broker.keys import ApiKey
from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.routes import Call, Service
from broker.systems import invariants, secret_codes

RACERS = 64
NOBODY = ApiKey(name="test", tenant="main", scopes=frozenset(), digest=b"")


@cache
def a_key() -> SigningKey:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return signing_key(pem)


@dataclass
class Desk:
    """Asks one ledger; ``now_s`` is the time."""

    ledger: Ledger
    now_s: int = 1_000_000
    party: str = ""  # of the key that asks
    if_match: int | None = None
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = Service(
            self.ledger.database, keys=(), signing=(a_key(),), clock_s=lambda: self.now_s
        )

    def call(self, **path: str) -> Call:
        return Call(
            service=self.service,
            key=replace(NOBODY, party=self.party),
            path=path,
            query={},
            now_s=self.now_s,
            if_match=self.if_match,
        )

    def do(self, effect: Callable[..., Awaitable[Answer]], asked: Any, **path: str) -> Any:
        """The reply as JSON."""
        call = self.call(**path)
        answer: Answer = self.ledger.do(lambda db: effect(db, call, asked))
        return json.loads(answer.body)

    def refused(self, effect: Callable[..., Awaitable[Answer]], asked: Any, **path: str) -> str:
        """The slug of the refusal."""
        try:
            reply = self.do(effect, asked, **path)
        except ProblemError as problem:
            return problem.slug
        except LedgerRefusalError as refusal:
            return refusal.reason.value
        raise AssertionError(f"it was done: {reply}")

    def ask(self, question: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        call = self.call()
        return self.ledger.ask(lambda db: question(db, call, *values))

    def race(self, effect: Callable[..., Awaitable[Answer]], wishes: list[Any], **path: str) -> Any:
        """All at once: the replies of those that were done, and the slugs of the others."""
        call = self.call(**path)

        async def one(asked: Any) -> Any:
            return await self.ledger.database.submit(lambda db: effect(db, call, asked))

        async def everybody() -> list[Any]:
            return await asyncio.gather(*map(one, wishes), return_exceptions=True)

        found = self.ledger.runner.run(everybody())
        done = [json.loads(one.body) for one in found if isinstance(one, Answer)]
        slugs = [
            one.slug if isinstance(one, ProblemError) else one.reason.value
            for one in found
            if isinstance(one, ProblemError | LedgerRefusalError)
        ]
        assert len(done) + len(slugs) == len(wishes), found
        return done, slugs

    def code(self, purpose: str, name: str) -> str:
        return secret_codes.code_of(a_key(), purpose, name)

    def balance(self, account: str, currency: str = "EUR") -> int:
        rows = self.ledger.rows(
            "SELECT CAST(COALESCE(-SUM(amount_minor), 0) AS BIGINT) FROM posting"
            " WHERE account = $1 AND currency = $2",
            account,
            currency,
        )
        return int(rows[0][0])

    def breaches(self) -> dict[str, int]:
        """Everything that is not as it must be, in the ledger and in the systems."""

        async def both(db: Transaction) -> dict[str, int]:
            return await books.breaches(db) | await invariants.breaches(db)

        found: dict[str, int] = self.ledger.ask(both)
        return found
