"""Rate limits: token buckets in the memory of one process.

Each key may ask so many times a second, with a burst of twice that; each address may fail to say
who it is only so often. Several broker processes each count for themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RATE_PER_S = 200  # of a key that names no rate of its own
FILE_KEY_RATE_PER_S = 20_000  # of the operator's own keys: a runaway loop alone
FAILURES_PER_S = 20  # wrong keys and signatures per address
FAILURES_BURST = 200
BUCKETS_MAX = 10_000  # remembered at once; the oldest goes


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class Buckets:
    """Buckets by name; time is given in seconds of any steady clock."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str, per_s: float, burst: float, now_s: float) -> float:
        """0 when there was a token, else after how many seconds there will be one."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._fresh(name, burst, now_s)
        bucket.tokens = min(burst, bucket.tokens + max(0.0, now_s - bucket.at_s) * per_s)
        bucket.at_s = now_s
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / per_s

    def __len__(self) -> int:
        return len(self._buckets)

    def _fresh(self, name: str, burst: float, now_s: float) -> _Bucket:
        if len(self._buckets) >= BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = made = _Bucket(tokens=burst, at_s=now_s)
        return made


def retry_after(wait_s: float) -> dict[str, str]:
    """The header that says when to come back."""
    return {"Retry-After": str(max(1, math.ceil(wait_s)))}
