"""Whatever bytes come, a parser gives its value or its named error, never anything else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from second_systems import SECRET, STORE, cart_closed

from cloud_sync import amounts, demand_desk, desk, outbox, outcomes, retailer, webhooks
from cloud_sync.amounts import Amounts
from cloud_sync.conformance.session import Reply, Violation, problem
from cloud_sync.connector import listen_address
from cloud_sync.http_sender import EndpointError, checked_url, retry_after_s
from cloud_sync.outcomes import BadAnswer
from cloud_sync.payments import broker
from cloud_sync.payments.stripe_provider import PayersError, read_payers
from cloud_sync.pricing import purchase_request
from cloud_sync.purchase import Operation, Terms
from cloud_sync.retailer_examples import EXAMPLES
from cloud_sync.wall_time import unix_ns
from messages.contract import PurchaseReply
from messages.retailer_contract import CatalogueUpload, EntryReply, RefundRequest
from sim.retailer.webhooks import NotVerifiedError, verified

TERMS = Terms(store=STORE, merchant="m1", currency="EUR", hold_minor=5000)
ASKED = msgspec.json.encode(purchase_request(cart_closed("v1", "ann", "apple"), STORE))
HOLD = {"hold": "hold-v1", "account": "a", "status": "held", "amount_minor": 5}
HOLD |= {"captured_minor": 0, "currency": "EUR"}
WHOLE = [
    *(json.dumps(part).encode() for one in EXAMPLES.values() for part in one.values()),
    json.dumps(HOLD).encode(),
    b'{"Webhook":["v1,AAAA"],"total":1e999,"amount":"1.00"}',
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body of the contract with some bytes cut, doubled, flipped or put in."""
    body = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        match draw(st.integers(0, 3)):
            case 0:
                del body[at : at + draw(st.integers(1, 20))]
            case 1:
                body[at:at] = body[at : at + draw(st.integers(1, 20))]
            case 2 if at < len(body):
                body[at] = draw(st.integers(0, 255))
            case _:
                body[at:at] = draw(st.sampled_from(PIECES))
    return bytes(body)


PIECES = [b"-1", b"1e400", b"null", b"[[", b'"', b"\xff", b"\\ud800", b"9" * 400, b"{}", b"NaN"]
BYTES = st.one_of(st.binary(max_size=200), damaged())


def verify(body: bytes) -> object:
    text = body.decode("latin-1")
    headers = {webhooks.ID: "m", webhooks.TIMESTAMP: text[:10], webhooks.SIGNATURE: text}
    return webhooks.verify_all(webhooks.signer(SECRET), headers, body, 0)


def genuine(body: bytes) -> object:
    signing = webhooks.signer(SECRET)
    return webhooks.verify_all(signing, webhooks.sign(signing, "m", 0, body), body, 0)


def received(body: bytes) -> object:
    text = body.decode("latin-1")
    return verified(SECRET, {"webhook-id": "m", "webhook-signature": text}, body)


def command(body: bytes) -> object:
    return msgspec.json.decode(body, type=desk.Command)


PARSERS: dict[str, tuple[Callable[[bytes], Any], type[Exception] | tuple[type[Exception], ...]]] = {
    "a price": (lambda b: retailer.signal(Operation.PRICE, ASKED, b, TERMS), BadAnswer),
    "an identity": (lambda b: retailer.signal(Operation.VERIFY, b, b, TERMS), BadAnswer),
    "an entry decision": (lambda b: retailer.signal(Operation.ADMIT, b, b, TERMS), BadAnswer),
    "a refusal": (lambda b: retailer.refusal(ASKED, 422, b), BadAnswer),
    "a hold": (lambda b: broker.signal(Operation.HOLD, "h", b, 201, b), BadAnswer),
    "a raise": (lambda b: broker.signal(Operation.ADJUST, "h", b, 200, b), BadAnswer),
    "a capture": (lambda b: broker.signal(Operation.CAPTURE, "h", b, 201, b), BadAnswer),
    "a refund": (lambda b: broker.signal(Operation.REFUND, "c", b, 201, b), BadAnswer),
    "a decline": (lambda b: broker.signal(Operation.HOLD, "h", b, 402, b), BadAnswer),
    "decimal amounts": (
        lambda b: amounts.decode(b, PurchaseReply, Amounts.DECIMAL, "EUR"),
        BadAnswer,
    ),
    "a decimal entry": (lambda b: amounts.decode(b, EntryReply, Amounts.DECIMAL, "JPY"), BadAnswer),
    "a catalogue": (
        lambda b: amounts.decode(b, CatalogueUpload, Amounts.MINOR, "EUR"),
        BadAnswer,
    ),
    "a refund call": (lambda b: outcomes.read(b, RefundRequest), BadAnswer),
    "a webhook's headers": (verify, webhooks.WebhookRefused),
    "a genuine webhook": (genuine, webhooks.WebhookRefused),
    "the reference retailer's webhook": (received, NotVerifiedError),
    "a webhook secret": (lambda b: webhooks.signer(b.decode("latin-1")), webhooks.SecretError),
    "Retry-After": (lambda b: retry_after_s(b.decode("latin-1"), 10**18), ()),
    "an address": (lambda b: checked_url("x", b.decode("latin-1")), EndpointError),
    "a listen address": (lambda b: listen_address(b.decode("latin-1")), EndpointError),
    "an instant": (lambda b: unix_ns(b.decode("latin-1")), ValueError),
    "a problem document": (
        lambda b: problem(
            Reply(status=422, headers={"content-type": "application/problem+json"}, body=b), 422
        ),
        Violation,
    ),
    "a demand": (
        lambda b: demand_desk.read("refund", b.decode("latin-1")),
        demand_desk.DemandError,
    ),
}


@pytest.mark.parametrize("name", PARSERS)
@given(body=BYTES)
@settings(max_examples=60, deadline=None)
def test_a_parser_gives_its_value_or_its_named_error(name: str, body: bytes) -> None:
    parse, named = PARSERS[name]
    with contextlib.suppress(named):
        parse(body)


def test_a_parser_with_a_hole_is_reported() -> None:
    """The planted bug: a field is taken from the tree before its type is known."""

    def hole(body: bytes) -> Any:
        try:
            return json.loads(body)["lines"][0]["total"]
        except (ValueError, KeyError):
            raise BadAnswer("no price") from None

    @given(body=BYTES)
    @settings(max_examples=400, deadline=None, database=None)
    def everything(body: bytes) -> None:
        with contextlib.suppress(BadAnswer):
            hole(body)

    with pytest.raises((TypeError, IndexError, ExceptionGroup)):
        everything()


@given(body=BYTES)
@settings(max_examples=60, deadline=None)
def test_a_file_of_payers_or_commands_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    folder = tmp_path_factory.mktemp("files")
    file = Path(folder / "payers.json")
    file.write_bytes(body)
    with contextlib.suppress(PayersError):
        read_payers(file)
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        command(body)  # these are what ``Desk._read`` sets aside


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_joining_batches_never_takes_what_is_no_array(first: bytes, second: bytes) -> None:
    try:
        whole = outbox.joined(first, second)
    except (msgspec.MsgspecError, ValueError):
        return
    assert whole is not None
    assert isinstance(json.loads(whole), list)
