"""Every parser that reads what others wrote, with the errors it may raise, and whole examples.

Used by the Hypothesis tests and by the coverage-guided fuzzer (``tests/soak/fuzz.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from second_systems import SECRET, STORE, cart_closed, visit_started

from cloud_sync import amounts, demand_desk, desk, outcomes, retailer, webhooks
from cloud_sync.amounts import Amounts
from cloud_sync.conformance.session import Reply, Violation, problem
from cloud_sync.connector import listen_address
from cloud_sync.demands import Admitted, ChargeAdjust, Verified
from cloud_sync.http_sender import EndpointError, checked_url, retry_after_s
from cloud_sync.outcomes import BadAnswer
from cloud_sync.payments import broker
from cloud_sync.pricing import purchase_request
from cloud_sync.public_network import blocked
from cloud_sync.purchase import Held, Operation, Priced, Purchase, SettlementError, Terms
from cloud_sync.retailer_examples import EXAMPLES
from cloud_sync.settlement import settle
from cloud_sync.wall_time import unix_ns
from edge.config import ConfigError
from edge.config import parse as parse_store
from edge.control import ControlError, action_of
from edge.gate import token_keys, verify_token
from hardware.protocol import camera_box, camera_link, framing, gate_node, shelf_node
from hardware.protocol.identity import PacketError
from messages import codec
from messages.contract import PurchaseReply
from messages.events import PricedLine
from messages.ids import LineId, Sku, VisitId
from messages.money import Money
from messages.observations import CredentialKey
from messages.retailer_contract import CatalogueUpload, EntryReply, RefundRequest
from sim.retailer.webhooks import NotVerifiedError, verified

KEYS = token_keys((CredentialKey(kid="k1", public_key="5a" * 32),))
TERMS = Terms(store=STORE, merchant="m1", currency="EUR", hold_minor=5000)
ASKED = msgspec.json.encode(purchase_request(cart_closed("v1", "ann", "apple"), STORE))
CHARGED_THERE = replace(TERMS, entry_check=True, retailer_charges=True)
HOLD = {"hold": "hold-v1", "account": "a", "status": "held", "amount_minor": 5}
HOLD |= {"captured_minor": 0, "currency": "EUR"}
WHOLE = [
    *(json.dumps(part).encode() for one in EXAMPLES.values() for part in one.values()),
    json.dumps(HOLD).encode(),
    json.dumps(HOLD | {"hold": "hold-v1", "amount_minor": 6000}).encode(),
    b'{"shopperAuthorized":true,"unpaidBalance":{"amount":7,"currencyCode":"EUR"}}',
    codec.encode(cart_closed("v1", "ann", "apple")),
    codec.encode_many([cart_closed("v1", "ann", "apple")]),
    b'{"do":"deny_list","accounts":["a"],"credentials":[],"operator":"console"}',
    b'store = "s"\n[[gate]]\nid = "g"\nx_m = 0\ny_m = 0\n',
    b"v4.public.AAAA.eyJraWQiOiJrMSJ9",
    b"https://user@[::1]:8443/hook?a=b#c",
    b"https://hooks.retailer.example:443/in",
    b"127.0.0.1:8703",
    b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"2026-09-21T14:13:20.000Z",
    b"v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    b"walkout/s1/box/aisle-3/seen",
    framing.encode_frame(framing.Frame(type=32, node=1, sequence=7, body=b"\0\1\2")),
    b'{"Webhook":["v1,AAAA"],"total":1e999,"amount":"1.00"}',
]


PIECES = [
    b"18446744073709551616",
    b"-1",
    b"1e400",
    b"null",
    b"[[",
    b'"',
    b"\xff",
    b"\\ud800",
    b"9" * 400,
    b"{}",
    b"NaN",
]


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


def frame_of(body: bytes) -> framing.Frame:
    """A frame whose checksum was right, with these bytes in it."""
    kind, *rest = body or b"\0"
    return framing.Frame(type=kind, node=1, sequence=1, body=bytes(rest))


def settled(operation: Operation, body: bytes, status: int = 200) -> object:
    """An answer all the way: what it means, where it leads, and its state as it is kept."""
    before, asked = _before(operation)
    if operation in retailer.OPERATIONS:
        signal = retailer.signal(operation, asked, body, CHARGED_THERE)
    else:
        signal = broker.signal(operation, before.hold, asked, status, body)
    try:
        step = settle(before, signal, 1, CHARGED_THERE)
    except SettlementError as error:
        raise BadAnswer(str(error)) from None
    kept = codec.decode_state(codec.encode_state(step.purchase), Purchase)
    assert kept == step.purchase
    return [msgspec.json.encode(ask.body) for ask in step.asks], codec.to_json(signal)


def _before(operation: Operation) -> tuple[Purchase, bytes]:
    """A purchase that waits for this answer, and the body that was sent."""
    asks, purchase = (), Purchase(visit=VisitId("v1"))
    signals = {
        Operation.VERIFY: (visit_started("v1", "ann"),),
        Operation.ADMIT: (visit_started("v1", "ann"), Verified(shopper="s")),
        Operation.HOLD: (visit_started("v1", "ann"), Verified(shopper="s"), ADMITTED),
    }
    more = (*signals[Operation.HOLD], Held(amount_minor=5000))
    signals[Operation.ADJUST] = (*more, cart_closed("v1", "ann", "apple"), PRICED, RAISE)
    for signal in signals[operation]:
        step = settle(purchase, signal, 1, CHARGED_THERE)
        purchase, asks = step.purchase, step.asks or asks
    adapter = retailer if operation in retailer.OPERATIONS else broker
    return purchase, adapter.request(asks[-1], CHARGED_THERE)[1]


ADMITTED, RAISE = Admitted(hold_minor=5000), ChargeAdjust(amount_minor=6000)
PRICED = Priced(
    purchase="p",
    total=Money(minor=120, currency="EUR"),
    lines=(
        PricedLine(
            line=LineId("v1-l0"),
            sku=Sku("apple"),
            name="Apple",
            quantity=1,
            unit_price_minor=120,
            discount_minor=0,
            tax_minor=0,
            total_minor=120,
        ),
    ),
)
Named = type[Exception] | tuple[type[Exception], ...]
PARSERS: dict[str, tuple[Callable[[bytes], Any], Named]] = {
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
    "an identity, settled": (lambda b: settled(Operation.VERIFY, b), BadAnswer),
    "an entry decision, settled": (lambda b: settled(Operation.ADMIT, b), BadAnswer),
    "a hold, settled": (lambda b: settled(Operation.HOLD, b), BadAnswer),
    "a raise, settled": (lambda b: settled(Operation.ADJUST, b), BadAnswer),
    "a declined raise, settled": (lambda b: settled(Operation.ADJUST, b, 402), BadAnswer),
    "a host": (lambda b: blocked(b.decode("latin-1")), ()),
    # the store's own
    "a message": (codec.decode, codec.CodecError),
    "a block of messages": (codec.decode_many, codec.CodecError),
    "an operator's line": (lambda b: action_of(b, 1), ControlError),
    "a store.toml": (lambda b: parse_store(b.decode("latin-1")), ConfigError),
    "an entry token": (lambda b: verify_token(b.decode("latin-1"), KEYS), ()),
    "a serial stream": (lambda b: framing.FrameReader(64).feed(b), ()),
    "a stuffed frame": (framing.cobs_decode, framing.FramingError),
    "a shelf's packet": (lambda b: shelf_node.decode(frame_of(b)), PacketError),
    "a gate's packet": (lambda b: gate_node.decode(frame_of(b)), PacketError),
    "a camera's message": (camera_link.decode_seen, camera_link.LinkError),
    "a camera box's packet": (camera_box.unpacked, camera_link.LinkError),
    "a camera box's numbers": (camera_box.unpacked_numbers, camera_link.LinkError),
    "a camera box's topic": (
        lambda b: camera_box.box_of(b.decode("latin-1")),
        camera_link.LinkError,
    ),
}
