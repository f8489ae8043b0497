"""The contract's document: every example is what its type says, and the amounts add up."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_sync import amounts, retailer_openapi
from cloud_sync.amounts import AmountError, Amounts, minor_of, text_of
from cloud_sync.outcomes import BadAnswer
from cloud_sync.pricing import check_reply
from cloud_sync.retailer_examples import EXAMPLES
from messages.contract import PurchaseReply, PurchaseRequest
from messages.money import EXPONENT, MINOR_MAX
from messages.retailer_contract import EntryReply


def test_every_example_reads_as_its_type_and_leaves_nothing_out() -> None:
    for name, kind, example in retailer_openapi.examples():
        read = msgspec.convert(example, kind)
        assert msgspec.to_builtins(read) == example, name


def test_the_example_of_a_price_passes_our_own_check() -> None:
    purchase = EXAMPLES["v1-order-purchases"]
    asked = msgspec.convert(purchase["request"], PurchaseRequest)
    lines, total = check_reply(asked, msgspec.convert(purchase["201"], PurchaseReply), "EUR")
    assert (len(lines), total.minor) == (2, 1064)
    assert lines[1].total_minor == 666  # 333 g at 19.99 a kilogram


def test_every_reference_in_the_document_points_at_something() -> None:
    document = retailer_openapi.document()
    text = msgspec.json.encode(document).decode()
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(document["components"]["schemas"])
    for call in retailer_openapi.CALLS:
        assert call.method in document["paths"][call.path]


@given(st.integers(-MINOR_MAX, MINOR_MAX), st.sampled_from(sorted(EXPONENT)))
def test_an_amount_as_text_comes_back_to_the_cent(minor: int, currency: str) -> None:
    assert minor_of(text_of(minor, currency), currency) == minor


BADLY_WRITTEN = [
    *("12.9", "12.990", "12", ".99", "12.", "1,299.00", "+1.00", "01.00", "1e2.00", "1\u0661.00"),
    *("12.9\n", "--1.00", "99999999999999.99", 12.99, 1299, None),
]


@pytest.mark.parametrize("text", BADLY_WRITTEN)
def test_an_amount_that_is_not_written_as_agreed_is_refused(text: object) -> None:
    with pytest.raises(AmountError):
        minor_of(text, "EUR")


def test_a_body_is_read_only_as_it_was_agreed() -> None:
    body = b'{"shopperAuthorized":true,"unpaidBalance":{"amount":"3.50","currencyCode":"EUR"}}'
    reply = amounts.decode(body, EntryReply, Amounts.DECIMAL, "EUR")
    assert reply.unpaidBalance is not None
    assert reply.unpaidBalance.amount == 350
    assert b'"3.50"' in amounts.encode(reply, Amounts.DECIMAL, "EUR")
    with pytest.raises(BadAnswer):
        amounts.decode(body, EntryReply, Amounts.MINOR, "EUR")
    with pytest.raises(BadAnswer, match="text with 2 decimals"):
        amounts.decode(body.replace(b'"3.50"', b"350"), EntryReply, Amounts.DECIMAL, "EUR")
    with pytest.raises(BadAnswer, match="nested"):
        amounts.decode(b'{"a":' * 30 + b"1" + b"}" * 30, EntryReply, Amounts.DECIMAL, "EUR")


@given(st.binary(max_size=60), st.sampled_from(Amounts))
def test_any_bytes_are_a_bad_answer_and_nothing_else(body: bytes, agreed: Amounts) -> None:
    with contextlib.suppress(BadAnswer):
        amounts.decode(body, EntryReply, agreed, "EUR")
