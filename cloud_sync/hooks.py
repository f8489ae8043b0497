"""The receivers of webhooks, and what each gets of a receipt.

    ordered   one group for the receiver: one delivery after the other
    parallel  one group for each visit: a message that fails holds up its own visit alone
    batch     one group, and what waits behind an unanswered delivery is joined into the next

Joining touches only what was never sent: a delivery that left once keeps its bytes, since the same
id with another body would break the receiver's dedupe.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cloud_sync import webhook_events
from cloud_sync.outbox import NewRequest
from cloud_sync.purchase import Operation, Receipt
from messages.ids import StoreId
from messages.store_config import Cloud, StoreConfig, WebhookTarget

WEBHOOK = "webhook"  # the destination of ``cloud.webhook_url``; others are "webhook:<name>"
MAIN = "retailer"  # its name in groups
LEAF_SCHEMES = ("nats://", "tls://")
NAME_LENGTH_MAX = 60
TARGETS_MAX = 16  # receivers of one store


class HookError(ValueError):
    """A receiver that cannot be used as it is configured; names it and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One receiver. ``types`` empty: all."""

    name: str = MAIN
    order: str = "ordered"
    types: tuple[str, ...] = ()
    leaf: bool = False  # a JetStream node of ours: asked for ever

    @property
    def destination(self) -> str:
        return WEBHOOK if self.name == MAIN else f"{WEBHOOK}:{self.name}"

    def group(self, visit: str) -> str:
        whole = f"{WEBHOOK}:{self.name}"
        return f"{whole}:{visit}" if self.order == "parallel" else whole


def is_webhook(destination: str) -> bool:
    """Whether it is a receiver, and not the broker or the retailer's prices."""
    return destination == WEBHOOK or destination.startswith(f"{WEBHOOK}:")


def is_leaf(target: WebhookTarget) -> bool:
    """Whether it is a NATS server and no webhook receiver."""
    return target.url.startswith(LEAF_SCHEMES)


def targets(config: StoreConfig) -> tuple[WebhookTarget, ...]:
    """Every receiver of the configuration, the one in [cloud] first.

    Raises:
        HookError: a name twice, reserved or too long, an unknown type, or too many.
    """
    main = (_main(config.cloud),) if config.cloud.webhook_url else ()
    for one in config.webhooks:
        _check(one)
    every = (*main, *config.webhooks)
    names = [one.name for one in every]
    for name in names:
        if names.count(name) > 1:
            raise HookError(f'[[webhook]] name = "{name}" stands twice; names are unique')
    if len(every) > TARGETS_MAX:
        raise HookError(f"{len(every)} webhook receivers; a store has at most {TARGETS_MAX}")
    return every


def hooks(config: StoreConfig) -> tuple[Hook, ...]:
    found = targets(config)
    return tuple(
        Hook(name=one.name, order=one.order, types=one.types, leaf=is_leaf(one)) for one in found
    )


def deliveries(receipt: Receipt, store: StoreId, hooks: tuple[Hook, ...]) -> list[NewRequest]:
    """What each receiver is told of a receipt; nothing while it is open."""
    kind = webhook_events.kind_of(receipt)
    if kind is None:
        return []
    return [
        _delivery(receipt, kind, store, hook)
        for hook in hooks
        if not hook.types or kind in hook.types
    ]


def _delivery(receipt: Receipt, kind: str, store: StoreId, hook: Hook) -> NewRequest:
    message = f"{receipt.visit}:{kind}" + (f":{receipt.number}" if receipt.number else "")
    event_id = f"msg_{message.replace('.', '-')}"  # a dot ends the id in what is signed
    body = msgspec.json.encode(webhook_events.body_of(receipt, kind, store, event_id))
    batch, main = hook.order == "batch", hook.name == MAIN
    return NewRequest(
        group=hook.group(receipt.visit),
        cause=0,  # in order of issue
        message=message if main else f"{message}@{hook.name}",
        operation=Operation.WEBHOOK,
        destination=hook.destination,
        path="",
        body=b"[%b]" % body if batch else body,
        visit=receipt.visit,
        subject=event_id if main else f"{event_id}@{hook.name}",
        joins=batch,
    )


def _main(cloud: Cloud) -> WebhookTarget:
    return WebhookTarget(
        name=MAIN,
        url=cloud.webhook_url,
        secret_file=cloud.webhook_secret_file,
        order=cloud.webhook_order,
        network=cloud.webhook_network,
    )


def _check(one: WebhookTarget) -> None:
    good = one.name.replace("-", "").replace("_", "").isalnum() and one.name.isascii()
    if not good or len(one.name) > NAME_LENGTH_MAX or one.name == MAIN:
        raise HookError(
            f'[[webhook]] name = "{one.name[:NAME_LENGTH_MAX]}": use letters, digits, - and _;'
            f" {MAIN} is the one in [cloud]"
        )
    unknown = [kind for kind in one.types if kind not in webhook_events.NAMES]
    if unknown:
        known = ", ".join(webhook_events.NAMES)
        raise HookError(f'[[webhook]] {one.name}: type "{unknown[0]}" is none of {known}')
