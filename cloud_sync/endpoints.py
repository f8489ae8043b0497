"""The second systems of a configuration: where they are, under which keys, what they are told."""

from __future__ import annotations

from collections.abc import Iterable

from cloud_sync import retailer
from cloud_sync.amounts import Amounts
from cloud_sync.book import Policy
from cloud_sync.hooks import Hook, hooks, is_webhook, targets
from cloud_sync.http_sender import Endpoint, endpoint, webhook_endpoint
from cloud_sync.payments import broker
from cloud_sync.purchase import Terms
from messages.store_config import StoreConfig


def terms_of(config: StoreConfig) -> Terms:
    """What settlement takes from the configuration."""
    cloud = config.cloud
    return Terms(
        store=config.store,
        merchant=cloud.merchant or config.store,
        currency=config.currency,
        hold_minor=cloud.hold_minor,
        amounts=Amounts(cloud.retailer_amounts),
        entry_check=cloud.entry_check == "retailer",
        payments=cloud.payments,
        retailer_charges=cloud.payment_mode == "payment",
    )


def policy_of(config: StoreConfig, names: Iterable[str]) -> Policy:
    """What the book takes from it; ``names``: of the destinations that are reached."""
    cloud = config.cloud
    return Policy(
        backoff_start_s=cloud.backoff_start_s,
        backoff_max_s=cloud.backoff_max_s,
        hooks=known_hooks(config, names),
        group=cloud.request_group,
        shelved=tuple(product.id for product in config.products),
    )


def known_hooks(config: StoreConfig, names: Iterable[str]) -> tuple[Hook, ...]:
    """The receivers that the sender reaches, as they are configured."""
    known = {hook.destination: hook for hook in hooks(config)}
    main = Hook(order=config.cloud.webhook_order)
    return tuple(known.get(name, main) for name in names if is_webhook(name))


def endpoints(config: StoreConfig) -> dict[str, Endpoint]:
    """The second systems of the configuration. Raises EndpointError or SecretError."""
    cloud = config.cloud
    found = [endpoint(retailer.DESTINATION, cloud.retailer_url, cloud.retailer_key_file)]
    ours = cloud.payments == broker.DESTINATION
    if ours:
        found.insert(0, endpoint(broker.DESTINATION, cloud.broker_url, cloud.broker_key_file))
    if ours and cloud.broker_refund_key_file:
        found.append(endpoint(broker.REFUNDS, cloud.broker_url, cloud.broker_refund_key_file))
    for target, hook in zip(targets(config), hooks(config), strict=True):
        if hook.leaf:
            continue  # payment_route has it
        name = hook.destination
        found.append(webhook_endpoint(target.url, target.secret_file, target.network, name))
    return {one.name: one for one in found}
