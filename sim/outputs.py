"""What the simulated world gives: what its devices send, before any wire.

``sim.devices`` turns these into bytes on ptys and sockets; ``sim.in_process`` turns them into
observations directly. Instants are nanoseconds of store time, which starts at 0 with the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from messages.arrays import Bytes8, Counts, Floats32, read_only
from messages.ids import CameraId, DeviceId, GateId
from messages.observations import ItemSightings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShelfBatch:
    """One frame of a shelf node. ``counts``: (samples, plates); ``ticks_us``: its own clock."""

    device: DeviceId
    sent_at_ns: int
    ticks_us: int  # modulo 2**32, at the first sample
    sample_period_us: int
    sequence: int  # modulo 2**16
    flags: Bytes8
    counts: Counts

    def __post_init__(self) -> None:
        read_only(self.flags, self.counts)

    @property
    def at_ns(self) -> int:
        return self.sent_at_ns

    @property
    def source(self) -> str:
        """Who sends it: the order of what is sent in one instant."""
        return self.device


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraPacket:
    """One image's detections; the arrays are those of ``messages.PersonDetections``."""

    camera: CameraId
    sent_at_ns: int  # captured, detected and handed over
    captured_at_ns: int
    sequence: int
    boxes_px: Floats32
    feet_px: Floats32
    scores: Floats32
    wrists_px: Floats32
    embeddings: Floats32 | None = None
    image_state: str = "ok"  # "ok" | "dark" | "frozen"

    def __post_init__(self) -> None:
        read_only(self.boxes_px, self.feet_px, self.scores, self.wrists_px, self.embeddings)

    @property
    def at_ns(self) -> int:
        return self.sent_at_ns

    @property
    def source(self) -> str:
        return self.camera


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandPacket:
    """What one image showed of hands near goods."""

    camera: CameraId
    sent_at_ns: int
    seen: ItemSightings

    @property
    def at_ns(self) -> int:
        return self.sent_at_ns

    @property
    def source(self) -> str:
        return f"{self.camera} hands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A shopper holds a code to a reader. The caller makes the token, and tells the world its id
    with ``World.set_credential(scan.shopper, jti)``."""

    at_ns: int
    reader: DeviceId
    gate: GateId
    shopper: str
    party_size: int
    attempt: int = 1
    kind: str = "shopper"  # or "staff"

    @property
    def source(self) -> str:
        return self.reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One person crossed a gate's line."""

    at_ns: int
    gate: GateId
    inward: bool
    shopper: str

    @property
    def source(self) -> str:
        return self.gate


Output: TypeAlias = ShelfBatch | CameraPacket | HandPacket | Scan | Passage
