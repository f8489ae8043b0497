"""Operators' commands: resume or void a parked group, send a webhook again.

The sync file has one writer, so a command is left as a small file beside it and carried out by the
process within its next poll, or at its next start. A command's name is its identity: the audit row
that it leaves is in the same commit as what it did, so it is carried out once.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cloud_sync.book import WEBHOOK, Book, Round
from cloud_sync.outbox import NewRequest, NotParked
from cloud_sync.purchase import SettlementError

COMMANDS_MAX = 100  # carried out in one round
COMMAND_BYTES_MAX = 16 * 1024
TEXT_MAX = 500
ACTIONS = ("resume", "void", "replay")


class CommandError(ValueError):
    """A command without a reason or of an unknown kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``target``: a group, or the id of a webhook delivery."""

    action: str
    target: str
    operator: str
    reason: str = ""
    same_key: bool = False
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


def replay(path: Path, delivery: str, *, operator: str = "console") -> str:
    """Ask that a webhook delivery is sent again, under its own webhook id; the command's id."""
    return leave(path, Command(action="replay", target=delivery, operator=operator))


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
                case "replay":
                    done = await self._replay(command, round_)
                case _:
                    done = "refused: unknown command"
        except (NotParked, SettlementError) as error:
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
        await self._book.db.execute(
            "UPDATE receipt SET state='pending', detail=''"
            " WHERE visit=? AND state IN ('parked','bad_cart')",
            (request.visit,),
        )
        return f"resumed {request.idem}"

    async def _void(self, command: Command, round_: Round) -> str:
        request = await self._book.outbox.parked(command.target)
        await round_.load([request.visit])
        round_.given_up(request, f"voided by {command.operator}: {command.reason}"[:TEXT_MAX])
        return f"voided {request.idem}"

    async def _replay(self, command: Command, round_: Round) -> str:
        query = (
            "SELECT grp, message, max(generation), visit, path, body FROM request"
            " WHERE destination=? AND subject=? GROUP BY subject"
        )
        rows = await self._book.db.execute_fetchall(query, (WEBHOOK, command.target))
        for group, message, generation, visit, path, body in rows:
            again = NewRequest(
                group=group,
                cause=0,
                message=message,
                generation=generation + 1,
                operation=WEBHOOK,
                destination=WEBHOOK,
                path=path,
                body=body,
                visit=visit,
                subject=command.target,
            )
            await self._book.outbox.add([again], round_.now_ns)
            return f"queued {again.idem}"
        return f"refused: no delivery {command.target}"

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


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.commands")
