"""Worse wires: what may lie between a device and its driver. A driver passes the same test on each.

Each wire takes what one end sends and delivers what the other end gets; chance is seeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

Deliver = Callable[[bytes], None]


class CleanWire:
    """All bytes, at once."""

    loses = False

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        deliver(data)


class OneByteWire(CleanWire):
    """Byte by byte: no read holds a whole packet."""

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        for i in range(len(data)):
            deliver(data[i : i + 1])


class LossyWire(CleanWire):
    """Drops one byte in 300, and now and then a whole packet."""

    loses = True

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        if self.random.random() < 0.1:
            return
        kept = self.random.random(len(data)) > 1 / 300
        deliver(bytes(b for b, keep in zip(data, kept, strict=True) if keep))


class DelayedWire(CleanWire):
    """In pieces, each up to 20 ms later, in order."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._free_at_s = 0.0

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        loop = asyncio.get_running_loop()
        middle = int(self.random.integers(0, len(data) + 1))
        for piece in (data[:middle], data[middle:]):
            wanted_s = loop.time() + self.random.uniform(0, 0.02)
            self._free_at_s = max(self._free_at_s + 1e-4, wanted_s)
            if piece:
                loop.call_at(self._free_at_s, deliver, piece)


class RepeatingWire(CleanWire):
    """Every third packet twice, the second time perhaps behind the next packet."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._again = b""

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        deliver(data)
        if self._again:
            deliver(self._again)
            self._again = b""
        chance = self.random.random()
        if chance < 1 / 6:
            deliver(data)
        elif chance < 1 / 3:
            self._again = data


class NoisyWire(CleanWire):
    """Garbage between packets, zeros and ends of line included; one bit in 20,000 flipped."""

    loses = True

    def pass_on(self, data: bytes, deliver: Deliver) -> None:
        noise = self.random.integers(0, 256, int(self.random.integers(0, 40))).astype(np.uint8)
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        bits ^= self.random.random(len(bits)) < 1 / 20_000
        deliver(noise.tobytes() + np.packbits(bits).tobytes())


WIRES = (CleanWire, OneByteWire, LossyWire, DelayedWire, RepeatingWire, NoisyWire)
