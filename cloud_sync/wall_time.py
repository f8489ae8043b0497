"""Wall time as text: Unix nanoseconds to RFC 3339 and back, without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(wall_ns: int) -> str:
    """Unix nanoseconds as RFC 3339 text in UTC, milliseconds."""
    at = EPOCH + timedelta(microseconds=wall_ns // 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ns(text: str) -> int:
    """RFC 3339 text as Unix nanoseconds; without an offset it is UTC. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no instant; write 2026-09-21T14:00Z") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - EPOCH) // timedelta(microseconds=1) * 1000
