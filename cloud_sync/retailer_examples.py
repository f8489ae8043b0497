"""One example of every body of retailer contract v1, by operation and status."""

from __future__ import annotations

from typing import Any

from messages.contract import PROBLEM_BASE

_SCAN = {
    "id": "c-771",
    "timestamp": "2026-09-21T14:13:20.000Z",
    "location": "ENTRY",
    "payloadType": "SCAN_CODE",
}
_EUR = "EUR"

EXAMPLES: dict[str, dict[str, Any]] = {
    "v1-identity-identity-keys": {
        "request": {
            "requestId": "s1-v12:verify",
            "storeId": "s1",
            "identityKey": "acct-7",
            "keyChannel": "OPTICAL",
            "authEvent": _SCAN,
        },
        "200": {"decision": "ACCEPT", "shopperIdentity": {"id": "acct-7"}, "reason": ""},
    },
    "v1-fraudandabuse-shopperauthorization": {
        "request": {
            "requestId": "s1-v12:admit",
            "storeId": "s1",
            "shoppingTripId": "s1-v12",
            "shopperIdentity": {"id": "acct-7"},
            "authEvent": _SCAN,
            "authorizedAmount": {"amount": 5000, "currencyCode": _EUR},
            "partySize": 1,
        },
        "200": {
            "shopperAuthorized": True,
            "authorizationConditions": [
                {"type": "ADJUST", "amount": {"amount": 2000, "currencyCode": _EUR}}
            ],
            "reason": "",
            "unpaidBalance": None,
        },
    },
    "v1-order-purchases": {
        "request": {
            "requestId": "s1-v12:price",
            "idempotentShoppingTripId": "s1-v12",
            "storeId": "s1",
            "shoppingTrip": {
                "startTime": "2026-09-21T14:13:20.000Z",
                "endTime": "2026-09-21T14:14:19.000Z",
                "authEvents": [_SCAN],
                "partySize": 1,
            },
            "cartItems": [
                {
                    "id": "oat-milk",
                    "type": "SKU",
                    "quantity": {"value": 2, "unit": "piece"},
                    "lineItemId": "s1-v12-l1",
                    "confidence": 0.993,
                    "takenAt": "2026-09-21T14:13:49.000Z",
                    "evidence": {"shelf": "bay-2", "plates": "p7,p8", "massG": "-2060.0"},
                },
                {
                    "id": "olives-loose",
                    "type": "SKU",
                    "quantity": {"value": 333, "unit": "gram"},
                    "lineItemId": "s1-v12-l2",
                    "confidence": 0.998,
                    "takenAt": "2026-09-21T14:14:02.000Z",
                    "evidence": {"shelf": "bay-4", "massG": "-333.0"},
                },
            ],
            "shopperIdentity": {"id": "acct-7"},
        },
        "201": {
            "purchaseId": "po-5512",
            "currency": _EUR,
            "lines": [
                {
                    "lineItemId": "s1-v12-l1",
                    "id": "oat-milk",
                    "name": "Oat milk 1 l",
                    "quantity": 2,
                    "unitPrice": 219,
                    "discount": 40,
                    "tax": 26,
                    "total": 398,
                },
                {
                    "lineItemId": "s1-v12-l2",
                    "id": "olives-loose",
                    "name": "Green olives",
                    "quantity": 333,
                    "unitPrice": 1999,
                    "discount": 0,
                    "tax": 44,
                    "total": 666,
                },
            ],
            "total": 1064,
        },
    },
    # problems, by their slug
    "unknown-sku": {
        "type": PROBLEM_BASE + "unknown-sku",
        "title": "Unknown SKU",
        "status": 422,
        "detail": "no price for oat-milk",
        "param": "$.cartItems[0].id",
    },
}
