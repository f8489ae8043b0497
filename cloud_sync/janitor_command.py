"""``walkout sync janitor``: the provider's authorizations against our purchases, told as a list."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from cloud_sync.payment_route import provider, psp_file
from cloud_sync.payments import janitor
from cloud_sync.payments.provider import Rejected, Unknown
from messages.store_config import StoreConfig


class JanitorError(RuntimeError):
    """The provider could not be asked, or there is none to ask."""


def run(config: StoreConfig, *, release: bool, as_json: bool) -> int:
    """Print what is amiss; 1 where something is. Raises JanitorError."""
    asked = provider(config)
    if asked is None:
        raise JanitorError("the broker keeps its own books: use `walkout broker reconcile`")
    sync = Path(config.paths.sync)
    if not sync.exists():
        raise JanitorError(f"{sync} is not there: every hold would look like nobody's")
    try:
        found = janitor.look(
            asked,
            janitor.stages(sync),
            janitor.unanswered(psp_file(config)),
            now_s=int(time.time()),
            release=release,
        )
    except (Unknown, Rejected) as error:
        raise JanitorError(str(error)) from None
    rows = [asdict(one) for one in found]
    if as_json:
        print(json.dumps({"findings": rows}))
    for row in [] if as_json else rows:
        done = ", released" if row["released"] else ""
        told = row["hold"] or row["reference"]
        print(f"{row['kind']:8} {told:30} {row['amount_minor']:>8} {row['stage'] or '-'}{done}")
    left = [one for one in found if not one.released]
    return 1 if left else 0
