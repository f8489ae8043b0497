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

_TRIP = {"storeId": "s1", "shoppingTripId": "s1-v12"}


def _amount(minor: int) -> dict[str, Any]:
    return {"amount": minor, "currencyCode": _EUR}


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
                "authEvents": [
                    _SCAN,
                    _SCAN | {"id": "c-772", "timestamp": "2026-09-21T14:13:27.000Z"},
                ],
                "partySize": 2,
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
    "v1-adjust-charge": {"request": {**_TRIP, "amount": _amount(1500)}},
    "v1-capture-charge": {"request": {**_TRIP, "amount": _amount(1064)}},
    "v1-cancel-charge": {"request": _TRIP},
    "v1-refund": {
        "request": {
            **_TRIP,
            "refundRequestId": "case-81-a",
            "amount": _amount(199),
            "refundReasonCode": "NOT_TAKEN",
        }
    },
    "v1-contest": {
        "request": {
            **_TRIP,
            "reasonCode": "NOT_TAKEN",
            "lineItemIds": ["s1-v12-l1"],
            "note": "took one, not two",
        }
    },
    "v1-feedback-payment-status": {
        "request": {
            **_TRIP,
            "totalAmount": _amount(1064),
            "settledAmount": _amount(1064),
            "paymentStatusTime": "2026-09-22T09:00:00.000Z",
        }
    },
    "v1-trips-id": {
        "200": {
            "shoppingTripId": "s1-v12",
            "state": "paid",
            "heldMinor": 0,
            "totalMinor": 1064,
            "capture": "capture-s1-v12",
            "refundedMinor": 199,
            "refused": "",
            "unpaidMinor": 0,
            "currencyCode": _EUR,
        }
    },
    "v1-catalog-upload": {
        "request": {
            "storeId": "s1",
            "items": [
                {
                    "item_sku": "oat-milk",
                    "item_name": "Oat milk 1 l",
                    "standard_price": _amount(219),
                    "external_product_id": "2900435000219",
                    "unit": "piece",
                    "valid_from": "2026-09-21T00:00:00Z",
                }
            ],
        },
        "202": {"ingestionId": "01790000000000000000-5f3a9c01"},
    },
    "v1-catalog-uploads-id": {
        "200": {
            "ingestionId": "01790000000000000000-5f3a9c01",
            "status": "DONE",
            "accepted": 411,
            "refused": [
                {"index": 17, "item_sku": "tea", "reason": "unit 'bag' is neither piece nor gram"}
            ],
            "missing": ["olives-loose"],
        }
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
