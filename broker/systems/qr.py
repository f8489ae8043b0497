"""QR codes as pictures: what a phone shows at the gate, what hangs on a shelf."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import segno
from fastapi import Response

from broker import openapi
from broker.database import Transaction
from broker.problems import ProblemError
from broker.routes import Call, Question
from broker.systems import payment_codes
from broker.systems.secret_codes import code_of, key_named

SVG = "image/svg+xml"
SCALE = 8  # pixels a module: large enough for a reader across a gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Svg:
    """A picture, in place of JSON."""

    picture: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture(Question):
    """A GET that answers with a picture or a page."""

    media_type: str = SVG

    def respond(self, reply: Any) -> Response:
        headers = {"Cache-Control": "no-store"}
        return Response(reply.picture, media_type=self.media_type, headers=headers)

    @property
    def types(self) -> tuple[type, ...]:
        return ()

    def openapi(self) -> dict[str, Any]:
        problem = openapi.responses(200, Svg)["default"]
        done = {"description": "done", "content": {self.media_type: {"schema": openapi.STRING}}}
        return {
            "parameters": openapi.path_parameters(self.path),
            "responses": {"200": done, "default": problem},
        }


def svg(text: str) -> bytes:
    """The text as a QR code, error correction M: a scratched phone is still read."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", scale=SCALE, border=4)
    return out.getvalue()


async def of_payment_code(db: Transaction, call: Call) -> Svg:
    """The picture of a code that can still be used.

    Raises:
        ProblemError: 404, or 409 when it is spent or expired.
    """
    row = await payment_codes.code_row(db, call.named)
    state = (await payment_codes.payment_code(db, call, call.named)).state
    if state not in (payment_codes.CodeState.ISSUED, payment_codes.CodeState.RESERVED):
        raise ProblemError(409, "wrong-state", f"the code is {state}: ask for a new one")
    key = key_named(call.service.signing, row.kid)
    return Svg(picture=svg(code_of(key, payment_codes.PURPOSE, row.payment_request)))
