"""Operators' commands: resume, edit or void a parked group, send webhooks again, switch them off.

The sync file has one writer, so a command is left as a small file beside it and carried out by the
process within its next poll, or at its next start. A command's name is its identity: the audit row
that it leaves is in the same commit as what it did, so it is carried out once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cloud_sync import catalogue, demand_desk
from cloud_sync.book import Book
from cloud_sync.demand_desk import DemandError
from cloud_sync.demands import Demand
from cloud_sync.hooks import MAIN, WEBHOOK, Hook, is_webhook
from cloud_sync.outbox import NewRequest, NotParked
from cloud_sync.outcomes import BadAnswer, read
from cloud_sync.purchase import Operation, RefundBody, SettlementError
from cloud_sync.round import Round
from messages.contract import (
    AdjustRequest,
    CaptureRequest,
    HoldRequest,
    PurchaseRequest,
    VoidRequest,
    WebhookBody,
)
from messages.retailer_contract import CatalogueUpload

COMMANDS_MAX = 100  # carried out in one round
BODY_BYTES_MAX = 2**20  # of an edited request
COMMAND_BYTES_MAX = 2 * BODY_BYTES_MAX + 16 * 1024  # its JSON may be escaped
TEXT_MAX = 500
REPLAYS_MAX = 10_000  # deliveries in one replay by time; ask again for more
ACTIONS = (
    *("resume", "edit", "void", "replay", "replay_span", "enable", "disable"),
    *("catalogue", *demand_desk.ACTIONS),
)
CONTRACT: dict[str, type] = {  # what an edited body has to be
    Operation.PRICE: PurchaseRequest,
    Operation.HOLD: HoldRequest,
    Operation.ADJUST: AdjustRequest,
    Operation.CAPTURE: CaptureRequest,
    Operation.VOID: VoidRequest,
    Operation.REFUND: RefundBody,
    Operation.WEBHOOK: WebhookBody,
}


class CommandError(ValueError):
    """A command without a reason or of an unknown kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``target``: a group, the id of a webhook delivery, or a destination.

    ``body``: of an edited request. ``since_ns``, ``until_ns``: of a replay, Unix time of queueing.
    """

    action: str
    target: str
    operator: str
    reason: str = ""
    same_key: bool = False
    body: str = ""
    since_ns: int = 0
    until_ns: int = 0
    id: str = ""


def resume(path: Path, group: str, *, operator: str, same_key: bool = False) -> str:
    """Ask that a parked group goes on with the same request; the command's id.

    It goes under a new idempotency key unless ``same_key``: the other side has stored its refusal
    under the old one.
    """
    command = Command(action="resume", target=group, operator=operator, same_key=same_key)
    return leave(path, command)


def void(path: Path, group: str, *, operator: str, reason: str) -> str:
    """Ask that a parked group's head is given up, with a reason for the audit; the command's id."""
    if not reason.strip():
        raise CommandError("a reason is needed to void a request: it stands in the audit")
    return leave(path, Command(action="void", target=group, operator=operator, reason=reason))


def edit(path: Path, group: str, body: str, *, operator: str, reason: str) -> str:
    """Ask that a parked group goes on with another body under a new key; the command's id.

    The body is checked against the contract's type when the command is carried out; the former
    one is kept in table ``former_body``.

    Raises:
        CommandError: no reason, no JSON, or too large.
    """
    if not reason.strip():
        raise CommandError("a reason is needed to edit a request: it stands in the audit")
    if len(body.encode()) > BODY_BYTES_MAX:
        raise CommandError(f"the body has more than {BODY_BYTES_MAX} bytes")
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CommandError(f"the body is no JSON: {error}") from None
    command = Command(action="edit", target=group, operator=operator, reason=reason, body=body)
    return leave(path, command)


def replay_span(path: Path, since_ns: int, until_ns: int, *, operator: str = "console") -> str:
    """Ask that all deliveries queued in [since, until) are sent again; the command's id."""
    if since_ns >= until_ns:
        raise CommandError("the span to replay ends before it begins")
    return leave(
        path,
        Command(
            action="replay_span",
            target=WEBHOOK,
            operator=operator,
            since_ns=since_ns,
            until_ns=until_ns,
        ),
    )


def switch(
    path: Path, enabled: bool, *, operator: str, reason: str = "", endpoint: str = ""
) -> str:
    """Ask that webhooks go out, or not; parked ones go again when enabled. The command's id."""
    if not enabled and not reason.strip():
        raise CommandError("a reason is needed to disable webhooks: it stands in the audit")
    action, target = "enable" if enabled else "disable", Hook(name=endpoint or MAIN).destination
    return leave(path, Command(action=action, target=target, operator=operator, reason=reason))


def replay(path: Path, delivery: str, *, operator: str = "console") -> str:
    """Ask that a webhook delivery is sent again, under its own webhook id; the command's id."""
    return leave(path, Command(action="replay", target=delivery, operator=operator))


def demand(path: Path, visit: str, wanted: Demand, *, operator: str, reason: str = "") -> str:
    """Ask something of a purchase: a capture, a refund, a dispute, ...; the command's id."""
    action, body = demand_desk.words(wanted)
    command = Command(action=action, target=visit, operator=operator, reason=reason, body=body)
    return leave(path, command)


def waiting(path: Path) -> list[str]:
    """Ids of the commands that are left and not carried out yet."""
    try:
        names = os.listdir(_folder(path))
    except FileNotFoundError:
        return []
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def leave(path: Path, command: Command) -> str:
    """Write a command for the process that owns ``path``; on the disk when it returns."""
    if command.action not in ACTIONS:
        raise CommandError(f"unknown command {command.action!r}; known: {', '.join(ACTIONS)}")
    folder = _folder(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"  # in order of asking
    draft = folder / f"{name}.draft"
    with draft.open("xb") as file:
        file.write(msgspec.json.encode(command))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / f"{name}.json")
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    return name


class Desk:
    """Reads the commands left for a sync file, and carries them out."""

    def __init__(self, path: Path, book: Book) -> None:
        self._folder = _folder(path)
        self._book = book

    def left(self) -> list[Command]:
        """The oldest commands that wait; a file that is none is set aside."""
        try:
            names = sorted(n for n in os.listdir(self._folder) if n.endswith(".json"))
        except FileNotFoundError:
            return []
        read = (self._read(self._folder / name) for name in names[:COMMANDS_MAX])
        return [command for command in read if command is not None]

    def forget(self, commands: list[Command]) -> None:
        """They are in the audit: their files may go."""
        for command in commands:
            (self._folder / f"{command.id}.json").unlink(missing_ok=True)

    async def carry_out(self, command: Command, round_: Round) -> None:
        """(tx) Once; a command that makes no sense leaves an audit row that says so."""
        if await self._known(command):
            return
        try:
            match command.action:
                case "resume":
                    done = await self._resume(command, round_)
                case "void":
                    done = await self._void(command, round_)
                case "edit":
                    done = await self._edit(command, round_)
                case "replay":
                    done = await self._replay([command.target], round_)
                case "replay_span":
                    done = await self._replay(await self._within(command), round_)
                case "enable":
                    done = await self._enable(command, round_)
                case "disable":
                    self._known_destination(command)
                    round_.disable(command.target, command.reason[:TEXT_MAX])
                    done = f"disabled {command.target}"
                case "catalogue":
                    done = await self._catalogue(command, round_)
                case _:
                    done = await self._demand(command, round_)
        except (NotParked, SettlementError, CommandError, DemandError) as error:
            done = f"refused: {error}"
        await self._book.database.audit(
            round_.wall_ns,
            command.operator[:TEXT_MAX],
            command.action,
            command.target[:TEXT_MAX],
            reason=command.reason[:TEXT_MAX],
            detail=done[:TEXT_MAX],
            command=command.id,
        )

    async def _resume(self, command: Command, round_: Round) -> str:
        request = await self._book.outbox.resume(
            command.target, round_.now_ns, same_key=command.same_key
        )
        await self._reopen(request.visit)
        return f"resumed {request.idem}"

    async def _void(self, command: Command, round_: Round) -> str:
        request = await self._book.outbox.parked(command.target)
        await round_.load([request.visit])
        round_.given_up(request, f"voided by {command.operator}: {command.reason}"[:TEXT_MAX])
        return f"voided {request.idem}"

    async def _edit(self, command: Command, round_: Round) -> str:
        """The parked request with another body of the same type, about the same things."""
        outbox = self._book.outbox
        parked = await outbox.parked(command.target)
        body = command.body.encode()
        _check_edit(parked.operation, body)
        await outbox.resume(command.target, round_.now_ns, body=body)
        await self._reopen(parked.visit)
        was, now = (hashlib.sha256(b).hexdigest()[:16] for b in (parked.body, body))
        return f"edited {parked.idem}: body sha256 {was}... is now {now}..."

    async def _reopen(self, visit: str) -> None:
        await self._book.db.execute(
            "UPDATE receipt SET state='pending', detail=''"
            " WHERE visit=? AND state IN ('parked','bad_cart')",
            (visit,),
        )

    async def _enable(self, command: Command, round_: Round) -> str:
        """Webhooks flow again; what was given up after three days goes again under its key."""
        self._known_destination(command)
        round_.enable(command.target)
        query = (
            "SELECT h.grp FROM grp_head h JOIN request r ON r.id=h.head"
            " WHERE h.state='parked' AND r.destination=?"
        )
        groups = [g for (g,) in await self._book.db.execute_fetchall(query, (command.target,))]
        for group in groups:
            await self._book.outbox.resume(group, round_.now_ns, same_key=True)
        return f"enabled {command.target}, {len(groups)} parked groups go on"

    async def _demand(self, command: Command, round_: Round) -> str:
        """What the retailer or an operator demands of a purchase."""
        demand = demand_desk.read(command.action, command.body)
        await round_.load([command.target])
        round_.demanded(command.target, demand)
        return f"done: {demand}"

    async def _catalogue(self, command: Command, round_: Round) -> str:
        try:
            upload = read(command.body.encode(), CatalogueUpload)
        except BadAnswer as error:
            raise CommandError(f"the catalogue is {error}") from None
        report = await catalogue.ingest(
            self._book.db,
            command.id,
            upload,
            currency=self._book.terms.currency,
            shelved=self._book.policy.shelved,
            now_ns=round_.wall_ns,
        )
        return f"{report.accepted} items taken, {len(report.refused)} refused"

    def _known_destination(self, command: Command) -> None:
        known = command.target in self._book.destinations and is_webhook(command.target)
        if not known:
            raise CommandError(f"no destination {command.target} is configured")

    async def _within(self, command: Command) -> list[str]:
        """Ids of the deliveries first queued in the command's span, oldest first."""
        query = (
            "SELECT subject FROM request WHERE operation='webhook' AND generation=0"
            " AND created_ns>=? AND created_ns<? ORDER BY id LIMIT ?"
        )
        span = (command.since_ns, command.until_ns, REPLAYS_MAX)
        return [str(s) for (s,) in await self._book.db.execute_fetchall(query, span)]

    async def _replay(self, deliveries: list[str], round_: Round) -> str:
        """Queue deliveries again, each under its own webhook id."""
        query = (
            "SELECT grp, message, max(generation), destination, visit, path, body FROM request"
            " WHERE operation='webhook' AND subject=? GROUP BY subject"
        )
        again = [
            NewRequest(
                group=group,
                cause=0,
                message=message,
                generation=generation + 1,
                operation=Operation.WEBHOOK,
                destination=destination,
                path=path,
                body=body,
                visit=visit,
                subject=delivery,
            )
            for delivery in deliveries
            for group, message, generation, destination, visit, path, body in (
                await self._book.db.execute_fetchall(query, (delivery,))
            )
        ]
        if not again:
            return f"refused: no delivery {', '.join(deliveries) or 'in that span'}"
        await self._book.outbox.add(again, round_.now_ns)
        return f"queued {len(again)}: {', '.join(r.idem for r in again)}"

    async def _known(self, command: Command) -> bool:
        query = "SELECT 1 FROM audit WHERE command=?"
        return bool(list(await self._book.db.execute_fetchall(query, (command.id,))))

    def _read(self, file: Path) -> Command | None:
        try:
            with file.open("rb") as opened:
                command = msgspec.json.decode(opened.read(COMMAND_BYTES_MAX), type=Command)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            file.rename(file.with_suffix(".refused"))
            return None
        return replace(command, id=file.stem)  # whatever its text claims


def _check_edit(operation: str, body: bytes) -> None:
    kind = CONTRACT.get(operation)
    if operation == Operation.WEBHOOK and body.lstrip().startswith(b"["):
        kind = list[WebhookBody]
    if kind is None:
        raise CommandError(f"a {operation} cannot be edited")
    try:
        read(body, kind)
    except BadAnswer as error:
        raise CommandError(f"the body is {error}") from None


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.commands")
