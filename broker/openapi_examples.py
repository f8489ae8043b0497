"""Examples of the OpenAPI document: every message with values that its rules allow.

A field means the same in every message, so its name says what stands there. What a request may
leave out is left out.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from broker.validation import RULES, Listed, Many, OneOf, Text, Whole

VALUES: Mapping[str, Any] = {
    "account": "anna",
    "consumer": "anna",
    "client": "anna",
    "merchant": "corner-shop",
    "organizer": "harbour-office",
    "party": "merchant:corner-shop",
    "store": "lab",
    "gate": "north",
    "currency": "EUR",
    "payment_ref": "tok_visa",
    "presented": "tok_visa",
    "credential_kind": "card",
    "debit": "wallet:anna",
    "credit": "merchant_payable:corner-shop",
    "wallet": "anna",
    "gtin": "04006381333931",
    "gtins": ["04006381333931"],
    "name": "tea",
    "items": ["lamp"],
    "url": "https://hooks.example.com/walkout",
    "region": "DE-BY",
    "country": "DE",
    "code": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwabcdefghijklm=",
    "public_key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "merchant_signature": "A" * 86 + "==",
    "expires_at": "2027-01-31T10:00:00Z",
    "at": "2027-01-31T10:00:00Z",
    "criteria": ["total"],
    "seen": "shelf-3/clip-9",
    "said": "the scale of bay 3 got 1210 g back",
    "reason": "put back",
    "note": "it stands on its shelf",
    "fact": "over18",
    "needs": ["over18"],
    "features": ["wine_door"],
    "sources": ["staff"],
    "invoice_prefix": "CS",
    "unit": "piece",
    "domain": "brand.example",
    "frame_sig": "A" * 86,
    "promo_token": "v4.public.AAAA.AAAA",
    "promo_tokens": ["v4.public.AAAA.AAAA"],
    "percent_bp": 1000,
}
ALSO = frozenset({"percent_bp"})  # may be left out, and then something else has to be there
MINOR, AT_S, COUNT = 1299, 1_800_000_000, 1
TEXTS = ("a1", "A" * 26, "0" * 64, "A" * 86 + "==", "DE", "2027-01-31", "2027-01-31T00:00:00Z", "")


@cache
def example(kind: type) -> Mapping[str, Any]:
    """One message of a kind."""
    hints = get_type_hints(kind)
    return {
        field.name: _value(field.name, hints[field.name])
        for field in fields(kind)
        if field.name in ALSO or _needed(field)
    }


def _needed(field: Field[Any]) -> bool:
    """Without a default, or with one that says that something else has to stand there."""
    if field.default is MISSING:
        return field.default_factory is MISSING
    rule, default = RULES.get(field.name), field.default
    texts = isinstance(rule, Text | OneOf) and isinstance(default, str)
    wholes = isinstance(rule, Whole) and isinstance(default, int)
    return bool(rule and (texts or wholes) and rule.wrong(default))


def _value(name: str, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if is_dataclass(hint) and isinstance(hint, type):
        return dict(example(hint))
    if get_origin(hint) is list:
        return _list(name, get_args(hint)[0])
    if get_origin(hint) is dict:
        return {}
    if hint is bool:
        return True
    return _number(name) if hint is int else _text(name)


def _list(name: str, inner: Any) -> list[Any]:
    if is_dataclass(inner) and isinstance(inner, type):
        return [dict(example(inner))]
    if get_origin(inner) is dict:
        return [{}]
    if name in VALUES and inner is str:
        return list(VALUES[name])
    rule = RULES.get(name)
    if isinstance(rule, Many):
        return [MINOR - 300, 300]
    if isinstance(rule, Listed) and rule.each is not None:
        return [_fitting(rule.each, name)]
    return [_value(name.rstrip("s"), inner)]


def _number(name: str) -> int:
    if name in VALUES:
        return int(VALUES[name])
    ours = MINOR if name.endswith("_minor") else AT_S if name.endswith("_s") else COUNT
    rule = RULES.get(name)
    return min(max(ours, rule.least), rule.most) if isinstance(rule, Whole) else ours


def _text(name: str) -> str:
    rule = RULES.get(name)
    if name in VALUES and (rule is None or not rule.wrong(VALUES[name])):
        return str(VALUES[name])
    return _fitting(rule, name) if rule is not None else f"{name}-17"


def _fitting(rule: Any, name: str) -> Any:
    """The first that the rule allows."""
    if isinstance(rule, OneOf):
        return rule.values[0]
    tried = (f"{name}-17", *TEXTS)
    return next((text for text in tried if not rule.wrong(text)), "")
