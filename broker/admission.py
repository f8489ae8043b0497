"""Who is asking, may they, and not too often: before a route does anything.

A key comes as ``Authorization: Bearer``, or a service signs the request (``signatures.py``).
Whatever is wrong with either is 401, never 500; what a key may not do is 403, too often is 429.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import Request

from broker import rate_limits, signatures, web
from broker.api_keys import KeyRing
from broker.audit import Refusals
from broker.keys import ApiKey
from broker.problems import ProblemError
from broker.rate_limits import Buckets, retry_after

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="walkout", Signature realm="walkout"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """``digest``: the signed Content-Digest that the body has to have, "" without a signature."""

    key: ApiKey
    digest: str = ""

    def check_body(self, body: bytes) -> None:
        """Raises ProblemError 401 when the body is not the one that was signed."""
        if self.digest:
            try:
                signatures.check_digest(self.digest, body)
            except signatures.SignatureError as error:
                raise unauthorized(str(error)) from None


class Admission:
    """The door of one serving process."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring, self.refusals = ring, Refusals()
        self._keys, self._addresses = Buckets(), Buckets()

    async def admit(
        self, request: Request, scope: str, action: str, now_s: int, *, command: bool
    ) -> Admitted:
        """Whose request this is.

        Raises:
            ProblemError: 401 nobody's, 403 the key may not do this, 429 too often.
        """
        try:
            admitted = await self._known(request, now_s, command=command)
        except ProblemError as problem:
            self.refusals.add("", action, problem.status)
            raise self._slowed(request, problem) from None
        key = admitted.key
        if scope not in key.scopes:
            self.refusals.add(key.actor, action, 403)
            raise ProblemError(403, "forbidden", f"this key has no scope {scope}")
        rate = key.rate_per_s
        wait_s = self._keys.take(key.actor, rate, 2.0 * rate, time.monotonic())
        if wait_s:
            self.refusals.add(key.actor, action, 429)
            detail = f"this key may ask {rate} times a second"
            raise ProblemError(429, "too-many-requests", detail, headers=retry_after(wait_s))
        return admitted

    async def _known(self, request: Request, now_s: int, *, command: bool) -> Admitted:
        values = request.headers.getlist("authorization")
        if not values and "signature-input" in request.headers:
            return await self._signer(request, now_s, command=command)
        scheme, _, presented = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        bearer = scheme.lower() == "bearer"
        key = await self.ring.bearer(presented.strip()) if bearer else None
        if key is None:
            raise unauthorized("a known Bearer key, or a service's signature, is needed")
        return Admitted(key=key)

    async def _signer(self, request: Request, now_s: int, *, command: bool) -> Admitted:
        message = _message(request)
        try:
            signature = signatures.read(message.headers)
            key = await self.ring.signer(signature.keyid)
            if key is None:
                raise signatures.SignatureError("no service has this keyid")
            signatures.verify(signature, message, key.public_key, now_s, command=command)
        except signatures.SignatureError as error:
            raise unauthorized(str(error)) from None
        return Admitted(key=key, digest=message.headers.get("content-digest", ""))

    def _slowed(self, request: Request, problem: ProblemError) -> ProblemError:
        """401, or 429 for an address that fails all the time."""
        address = request.client.host if request.client else ""
        wait_s = self._addresses.take(
            address, rate_limits.FAILURES_PER_S, rate_limits.FAILURES_BURST, time.monotonic()
        )
        if not wait_s:
            return problem
        detail = "too many requests without a known key"
        return ProblemError(429, "too-many-requests", detail, headers=retry_after(wait_s))


def unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers=CHALLENGE)


async def checked_body(request: Request, admitted: Admitted) -> object:
    """The JSON body, and that it is the one that was signed; raises ProblemError."""
    web.check_media_type(request)
    body = await web.raw_body(request)
    admitted.check_body(body)
    return web.parsed(body, screened=True)


def _message(request: Request) -> signatures.Message:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    authority = headers.get("host", "").lower()
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if request.url.scheme == scheme:
            authority = authority.removesuffix(port)
    raw_path = request.scope.get("raw_path") or request.url.path.encode()
    return signatures.Message(
        method=request.method,
        authority=authority,
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=request.scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
    )
