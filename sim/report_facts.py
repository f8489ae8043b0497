"""Published figures of other systems, each with its measure and source: what ours stand beside.

Theirs come from real stores and staged tests, ours from simulation; a table that shows both says
so in every row.
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
        "source": "AIM3S (BuildSys 2019), FAIM (2019)",
        "ours": False,
    },
    {
        "system": "Grab (USC)",
        "short": "Grab, precision and recall (over)",
        "measure": "precision and recall, 40 % of actions meant to confuse",
        "value": "over 0.90 each",
        "values": (0.90,),
        "key": "item_precision",
        "source": "Grab, University of Southern California",
        "ours": False,
    },
    {
        "system": "PACK-RMPF",
        "short": "PACK-RMPF, recall",
        "measure": "recall, 12 load-cell pairs and one camera",
        "value": "0.763",
        "values": (0.763,),
        "key": "item_recall",
        "source": "PACK-RMPF",
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
