"""Wall time as text: Unix nanoseconds to RFC 3339, without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(wall_ns: int) -> str:
    """Unix nanoseconds as RFC 3339 text in UTC, milliseconds."""
    at = EPOCH + timedelta(microseconds=wall_ns // 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
