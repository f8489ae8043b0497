"""Observations: what a device, a person at a console, or the runtime saw, raw.

Every observation carries ``received_at_ns``: store time at which the daemon had it. What happened
earlier on the device (ticks, capture time) is kept beside it and never overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import TypeAlias

from messages.arrays import Bytes8, Floats, Floats32, Readings, read_only
from messages.ids import (
    AccountRef,
    CameraId,
    CredentialId,
    DeviceId,
    GateId,
    ReviewId,
    Sku,
    VisitId,
)


class PlateFlag(IntFlag):
    """Per-plate flags of a shelf node, as on the wire (one byte a plate)."""

    SATURATED = 1  # converter at its rail: the mass is unknown
    UNPLUGGED = 2  # no conversion came (HX711: no DRDY for 500 ms)
    STUCK = 4  # the same code over and over, seen by the node
    OVERLOAD = 8  # above the plate's rating


class GateSignalKind(StrEnum):
    CREDENTIAL = "credential"  # a reader read something; text in ``credential``
    ENTER = "enter"  # one person passed inwards
    EXIT = "exit"  # one person passed outwards
    BEAM = "beam"  # light beam broken, direction unknown
    OPENED = "opened"  # barrier reports open
    CLOSED = "closed"  # barrier reports closed
    FORCED = "forced"  # passage without an unlock


class DeviceState(StrEnum):
    ONLINE = "online"
    SILENT = "silent"  # connected, but nothing valid came within its deadline
    UNPLUGGED = "unplugged"  # port gone or refused
    FAULT = "fault"  # it speaks, and says that it is broken


class OperatorActionKind(StrEnum):
    REVIEW_ANSWER = "review_answer"
    PLANOGRAM_CHANGE = "planogram_change"
    STORE_MODE = "store_mode"
    KEYS = "keys"
    DENY_LIST = "deny_list"
    LINK = "link"  # whether payments can be asked; the sync process says so
    OWING = "owing"  # who has an unpaid receipt, in ``denied_accounts``; the sync process says so


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShelfSamples:
    """A batch of load-cell samples of one shelf node.

    ``readings``: (samples, plates), int32 raw counts or float32 grams as ``unit`` says; plates in
    the order of the node's entry in store.toml. ``flags``: (plates,) ``PlateFlag`` bits.
    ``ticks_us``: the node's own clock, microseconds modulo 2**32, at the first sample.
    ``captured_at_ns``: store time of the first sample when the sender knows it (imports);
    otherwise None, and ``edge.sensors.clock_sync`` works it out from the ticks.
    """

    device: DeviceId
    received_at_ns: int
    sequence: int  # modulo 2**16
    ticks_us: int
    sample_period_us: int
    flags: Bytes8
    readings: Readings
    unit: str = "counts"  # "counts" | "grams"
    captured_at_ns: int | None = None

    def __post_init__(self) -> None:
        read_only(self.flags, self.readings)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonDetections:
    """People seen in one image.

    ``boxes_px``: (n, 4) x1, y1, x2, y2; ``feet_px``: (n, 2); both image frame, lens distortion
    still in. ``scores``: (n,) raw. ``wrists_px``: (n, 2, 2), NaN where not seen, or None.
    ``positions_store_m``: (n, 2) when the sender already works on the floor (imports): then
    boxes and feet are (0, ...). ``embeddings``: (n, d) or None.
    """

    camera: CameraId
    received_at_ns: int
    captured_at_ns: int
    sequence: int
    boxes_px: Floats32
    feet_px: Floats32
    scores: Floats32
    wrists_px: Floats32 | None = None
    positions_store_m: Floats32 | None = None
    embeddings: Floats32 | None = None
    image_state: str = "ok"  # "ok" | "dark" | "frozen"

    def __post_init__(self) -> None:
        read_only(
            self.boxes_px,
            self.feet_px,
            self.scores,
            self.wrists_px,
            self.positions_store_m,
            self.embeddings,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemSightings:
    """What hands hold: (n, 3) positions in the store frame, (n, k) probability of each SKU.

    What a row lacks of 1 is that of nothing, and of SKUs that are not listed. ``prior``: (n, k)
    what the planogram alone said; who has a prior of their own divides by it. None: not known.
    """

    camera: CameraId
    received_at_ns: int
    captured_at_ns: int
    positions_store_m: Floats
    skus: tuple[Sku, ...]
    probability: Floats
    prior: Floats | None = None

    def __post_init__(self) -> None:
        read_only(self.positions_store_m, self.probability, self.prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSignal:
    """Something happened at a gate. ``credential`` is the text a reader read, untrusted.

    ``number``: the controller's own count, one for each person; it repeats an event until it is
    acknowledged, which happens once the event is journalled.
    """

    gate: GateId
    device: DeviceId
    kind: GateSignalKind
    received_at_ns: int
    credential: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHealth:
    """A driver's word on its device; sent on every change and at least every 10 s."""

    device: DeviceId
    received_at_ns: int
    state: DeviceState
    detail: str = ""
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAnswer:
    """What a person decided: ``visit`` None means that nobody is charged.

    ``quantity`` > 0 says taken, < 0 put back, as the candidates of the review do.
    """

    review: ReviewId
    visit: VisitId | None
    sku: Sku | None = None
    quantity: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialKey:
    """A public key that signs entry tokens. ``public_key``: 32 bytes, hexadecimal."""

    kid: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """An action at the console or pushed by the broker; the field of its kind is set."""

    kind: OperatorActionKind
    received_at_ns: int
    operator: str  # a role or a service, e.g. "console", "sync"
    review_answer: ReviewAnswer | None = None
    facing_sku: tuple[str, Sku] | None = None  # planogram change: facing, new SKU
    store_mode: str | None = None  # "open" | "closing" (nobody new) | "closed"
    keys: tuple[CredentialKey, ...] = ()
    denied_accounts: tuple[AccountRef, ...] = ()
    denied_credentials: tuple[CredentialId, ...] = ()
    link_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigLoaded:
    """The configuration in force from here on; ``toml`` is the whole text, for replay."""

    received_at_ns: int
    digest: str  # SHA-256 of the text, hexadecimal
    toml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAnchor:
    """Wall time at an instant of store time; used for credentials and at the cloud boundary."""

    received_at_ns: int
    wall_ns: int  # Unix time
    uncertainty_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSetAside:
    """The runtime could not apply a step: it failed twice, or a replay of it differs."""

    received_at_ns: int
    step: int
    error: str


Observation: TypeAlias = (
    ShelfSamples
    | PersonDetections
    | ItemSightings
    | GateSignal
    | DeviceHealth
    | OperatorAction
    | ConfigLoaded
    | ClockAnchor
    | StepSetAside
)
