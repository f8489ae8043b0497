"""The newest image of a camera in shared memory: one process writes, others read.

An anonymous file (memfd): it has no name, is on no disk, and is gone with the processes that hold
it. Three buffers in turn, so that a reader that copies the newest is never overtaken by the next
one; the header's checksum and a second look at its number tell a reader that it was.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUFFERS = 3
HEADER_BYTES = 4096  # images start on a page of their own
STATES = ("ok", "dark", "frozen")
_FIELDS = struct.Struct("<QqdB")  # number, captured_at_ns, moving, state
_SUM = struct.Struct("<I")
READ_TRIES = 4  # a writer would have to write two images while we copy one, each time


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SlotImage:
    """``pixels``: (h, w, 3), blue first, a copy. ``number`` counts from 1."""

    number: int
    captured_at_ns: int  # wall clock
    moving: float
    state: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SlotHeader:
    number: int
    captured_at_ns: int
    moving: float
    state: str


class ImageSlot:
    """A view of the shared memory behind a file descriptor; the descriptor stays the caller's."""

    def __init__(self, fd: int, width_px: int, height_px: int) -> None:
        self._shape = (height_px, width_px, 3)
        self._bytes = width_px * height_px * 3
        self._memory = mmap.mmap(fd, slot_bytes(width_px, height_px))
        self._number = 0

    def close(self) -> None:
        self._memory.close()

    def write(
        self, image: NDArray[np.uint8], captured_at_ns: int, moving: float, state: str
    ) -> None:
        """Publish an image of the slot's size. Raises ValueError for another size."""
        if image.shape != self._shape:
            raise ValueError(f"an image of {image.shape} for a slot of {self._shape}")
        self._number = max(self._number, self._last_number()) + 1
        self._buffer(self._number)[:] = image
        fields = _FIELDS.pack(self._number, captured_at_ns, moving, STATES.index(state))
        self._memory[: _FIELDS.size + _SUM.size] = fields + _SUM.pack(zlib.crc32(fields))

    def header(self) -> SlotHeader | None:
        """Of the newest image; None before the first."""
        for _ in range(READ_TRIES):
            fields = self._memory[: _FIELDS.size]
            (wanted,) = _SUM.unpack_from(self._memory, _FIELDS.size)
            if zlib.crc32(fields) == wanted:
                number, captured_at_ns, moving, state = _FIELDS.unpack(fields)
                return SlotHeader(number, captured_at_ns, moving, STATES[state]) if number else None
        return None

    def read(self) -> SlotImage | None:
        """The newest image; None where there is none, or the writer was faster each time."""
        for _ in range(READ_TRIES):
            before = self.header()
            if before is None:
                return None
            pixels = self._buffer(before.number).copy()
            after = self.header()
            if after is not None and after.number < before.number + BUFFERS - 1:
                return SlotImage(
                    number=before.number,
                    captured_at_ns=before.captured_at_ns,
                    moving=before.moving,
                    state=before.state,
                    pixels=pixels,
                )
        return None

    def _last_number(self) -> int:
        """A writer that follows a dead one goes on counting."""
        last = self.header()
        return last.number if last else 0

    def _buffer(self, number: int) -> NDArray[np.uint8]:
        at = HEADER_BYTES + number % BUFFERS * self._bytes
        flat = np.frombuffer(self._memory, np.uint8, self._bytes, at)
        return flat.reshape(self._shape)


def slot_bytes(width_px: int, height_px: int) -> int:
    return HEADER_BYTES + BUFFERS * width_px * height_px * 3


def make_slot(name: str, width_px: int, height_px: int) -> int:
    """A new slot's file descriptor, to be handed to child processes and closed."""
    fd = os.memfd_create(f"walkout-{name}", os.MFD_CLOEXEC)
    os.ftruncate(fd, slot_bytes(width_px, height_px))
    return fd
