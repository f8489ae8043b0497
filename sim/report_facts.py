"""Published figures of other systems, each with its measure and source: what ours stand beside.

Theirs were measured with real sensors, in real stores and staged tests, ours in simulation; a table
that shows both says so in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPETITION = "CPS-IoT Week 2020 AutoCheckout competition, AiFi NanoStore; winner's report"

PUBLISHED: tuple[dict[str, Any], ...] = (
    {
        "system": "competition winner (CMU, MPS)",
        "short": "winner 2020, F1, 30 baseline tests",
        "measure": "mean F1 per test: 30 baseline tests / all tests",
        "value": "0.844 / 0.755",
        "values": (0.844, 0.755),
        "key": "visit_f1_mean",
        "source": COMPETITION,
        "ours": False,
    },
    {
        "system": "the same, 18 chosen tests",
        "short": "winner 2020, recall, 18 chosen tests",
        "measure": "recall / precision",
        "value": "0.926 / 0.875",
        "values": (0.926, 0.875),
        "key": "item_recall",
        "source": COMPETITION,
        "ours": False,
    },
    {
        "system": "AIM3S; FAIM",
        "short": "AIM3S, item identification",
        "measure": "item identification, one shopper, events given",
        "value": "0.932; 0.926",
        "values": (0.932, 0.926),
        "key": "",
        "source": "AIM3S paper; FAIM paper",
        "ours": False,
    },
    {
        "system": "Grab (USC)",
        "short": "Grab, precision and recall (over)",
        "measure": "precision and recall, 40 % of actions meant to confuse",
        "value": "over 0.90 each",
        "values": (0.90,),
        "key": "item_precision",
        "source": "Grab paper, University of Southern California",
        "ours": False,
    },
    {
        "system": "PACK-RMPF",
        "short": "PACK-RMPF, recall",
        "measure": "recall, 12 load-cell pairs and one camera",
        "value": "0.763",
        "values": (0.763,),
        "key": "item_recall",
        "source": "PACK-RMPF paper",
        "ours": False,
    },
    {
        "system": "Amazon, AiFi, Zippin, Trigo",
        "short": "",
        "measure": "published accuracy with a method",
        "value": "none found",
        "values": (),
        "key": "",
        "source": "–",
        "ours": False,
    },
)

# F1 of the competition's winner on the tests of each hard case (two tests: both), real store
WINNER_ON_HARD_CASES = {
    "same-item-same-second": "0.67",
    "exchange": "0.50",
    "crossed-hands": "0.83",
    "near-heads": "0.83",
    "many-touches": "0.29",
    "put-back-same-mass": "0.67, 0.50",
    "long-hold": "0.33, 0.29",
    "one-of-two-lifted": "0.33, 0.29",
    "quick-picks": "0.80",
    "left-on-floor": "0.80",
}

OURS = (
    ("F1 per visit, mean", "visit_f1_mean"),
    ("precision of items, best guess", "item_precision"),
    ("recall of items, best guess", "item_recall"),
)


def in_simulation(total: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Our rows for the same table."""
    rows = []
    for measure, key in OURS:
        value = total.get(key)
        rows.append(
            {
                "system": "Walkout",
                "measure": f"{measure}, {total['visits']} visits of this suite",
                "value": "–" if value is None else f"{value:.3f}",
                "source": "this report",
                "ours": True,
            }
        )
    return rows
