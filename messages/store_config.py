"""What a store is: frozen types that ``edge/config.py`` fills from ``store.toml``.

Keys of store.toml are the field names here; tables are named in the singular (``[[plate]]``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from messages.ids import CameraId, DeviceId, FacingId, GateId, PlateId, ShelfId, Sku, StoreId
from messages.observations import CredentialKey
from messages.vision_config import Model, Mqtt, Vision


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One weighing surface. Position: centre of its surface, store frame."""

    id: PlateId
    shelf: ShelfId
    x_m: float
    y_m: float
    z_m: float
    width_m: float
    depth_m: float
    grams_per_count: float = 0.1  # calibration span
    zero_counts: int = 0  # calibration zero, counts at no load
    capacity_g: float = 20_000.0
    noise_g: float = 1.5  # one sample, one sigma: the start value before noise is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A ``[[sku]]``: the mass of one unit and its spread."""

    id: Sku
    mass_g: float
    mass_sd_g: float
    name: str = ""
    gtin: str = ""
    unit: str = "piece"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facing:
    """The place of one SKU: the plates it stands on, side by side."""

    sku: Sku
    plates: tuple[PlateId, ...]
    id: FacingId = FacingId("")  # default: the first plate's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate, or the entry or exit lane of one. ``direction``: "entry", "exit" or "both"."""

    id: GateId
    x_m: float
    y_m: float
    direction: str = "both"
    party_size_max: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Calibration of one camera. Matrices row by row; OpenCV's Brown-Conrady coefficients."""

    id: CameraId
    camera_matrix: tuple[tuple[float, ...], ...]  # (3, 3), pixels
    distortion: tuple[float, ...]  # k1 k2 p1 p2 k3
    store_from_camera: tuple[tuple[float, ...], ...]  # (4, 4), metres
    width_px: int = 640
    height_px: int = 480
    # Live video, detected on this box; without a url somebody else sends this camera's detections.
    url: str = ""  # rtsp://..., or a video file, which is played in its own time
    user: str = ""
    password_file: str = ""
    images_per_s: float = 5.0  # looked at; between them the tracker predicts
    latency_ms: float = 0.0  # from the light to the image's arrival here
    model: str = ""  # a [[model]], or one of `walkout models list`; empty: the first installed
    model_width_px: int = 0  # of the net's input, where it takes any; 0: its usual one
    detect: str = "motion"  # or "always": in every image, moving or not
    box: str = ""  # the camera box that detects its video and sends by MQTT; empty: this one
    role: str = "room"  # or "shelf": looks at one shelf from near, sees hands and nobody's feet
    # Polygons of [x, y], metres: floor where this camera's people do not count: mirrors, screens.
    floor_mask: tuple[tuple[tuple[float, ...], ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """A gondola or wall that hides what is behind it: an upright box on the floor."""

    id: str
    x_m: float  # centre
    y_m: float
    width_m: float  # along x
    depth_m: float  # along y
    height_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfNode:
    """A serial shelf node: its port, and its plates in the order of its channels."""

    id: DeviceId
    port: str
    plates: tuple[PlateId, ...]
    node: int = 0  # address on the wire; 0 = any
    baud: int = 230_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A serial QR reader in front of a gate."""

    id: DeviceId
    port: str
    gate: GateId
    baud: int = 9_600


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNode:
    """A serial gate controller: one barrier and its passage sensor."""

    id: DeviceId
    port: str
    gate: GateId
    baud: int = 38_400


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreArea:
    """The walkable rectangle, store frame; tracks cannot leave it."""

    x_min_m: float = -1000.0
    y_min_m: float = -1000.0
    x_max_m: float = 1000.0
    y_max_m: float = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    token_validity_max_s: float = 60.0
    clock_skew_max_s: float = 5.0
    passage_timeout_s: float = 10.0  # after an unlock, until the first person passes
    passage_gap_s: float = 4.0  # between two people of one party
    clock_uncertainty_max_ms: float = 5_000.0
    people_max: int = 200
    offline_entries_max: int = 5  # of one account in a day without a link to payments; 0: no limit
    group_window_s: float = 0.0  # another code of the account joins its visit for so long; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """When a line is charged without a person looking at it."""

    charge_probability_min: float = 0.99  # a wrong charge weighs as a hundred questions
    review_deadline_s: float = 900.0  # after the exit; then doubtful lines are dropped
    visit_timeout_s: float = 3 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what can grow."""

    inbox_max: int = 4096
    step_every_ms: float = 100.0
    lateness_max_ms: float = 300.0
    memory_max_mb: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the daemon keeps things; relative paths are taken from store.toml's folder."""

    journal: str = "journal.db"
    sync: str = "sync.db"
    runtime: str = "run"  # status.json, sockets
    camera_socket: str = "run/cameras.sock"
    control_socket: str = "run/control.sock"
    products: str = "products.enrolled"  # of `walkout enroll`; without it nobody looks into hands
    clips: str = "clips"  # encrypted, faces blurred; only what a KeepClip asked for
    clips_key_file: str = ""  # 32 bytes in hexadecimal, mode 600; without it no clip is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The second systems. Secrets come from files, never from this text."""

    retailer_url: str = ""
    broker_url: str = ""
    merchant: str = ""
    process: str = "daemon"  # `walkout run` starts the sync process; or "apart": somebody else does
    hold_minor: int = 5_000
    retailer_key_file: str = ""
    broker_key_file: str = ""
    webhook_url: str = ""
    webhook_secret_file: str = ""
    request_timeout_s: float = 10.0
    backoff_start_s: float = 0.5
    backoff_max_s: float = 60.0
    request_group: str = "account"  # or "merchant": what goes strictly in order
    webhook_order: str = "ordered"  # or "parallel": in order per visit only; or "batch": joined
    webhook_network: str = "public"  # or "private": the address may be one of a local network
    retailer_amounts: str = "minor"  # 1299; or "decimal": "12.99"
    entry_check: str = "store"  # or "retailer": it is asked who enters, and how much to hold
    unpaid_entry: str = "refuse"  # or "allow": who has an unpaid receipt may come in again
    payment_mode: str = "checkout"  # we charge; or "payment": the retailer adjusts and captures
    payments: str = "broker"  # who holds and captures; or "stripe"
    stripe_key_file: str = ""  # sk_...
    stripe_payers_file: str = ""  # account -> cus_..., pm_... (docs/guides/payments.md)
    stripe_api_url: str = ""  # another address of its API, for tests
    broker_refund_key_file: str = ""  # a key that may pay back; without one nothing is refunded
    connector_listen: str = ""  # "127.0.0.1:8703": the retailer's calls; empty: none
    connector_key_file: str = ""  # the bearer key it calls with


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """A ``[[webhook]]``: one more receiver beside ``cloud.webhook_url``.

    With ``url = "nats://..."`` a JetStream leaf node; ``secret_file`` then holds its token, if any.
    """

    name: str
    url: str
    secret_file: str = ""
    order: str = "ordered"  # or "parallel": in order per visit only; or "batch": in order, joined
    network: str = "public"  # or "private"
    types: tuple[str, ...] = ()  # empty: all


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Everything of store.toml. Lookups by index are the core's: arrays are in this order."""

    store: StoreId
    name: str = ""
    currency: str = "EUR"
    plates: tuple[Plate, ...] = ()
    products: tuple[Product, ...] = ()
    facings: tuple[Facing, ...] = ()
    gates: tuple[Gate, ...] = ()
    cameras: tuple[Camera, ...] = ()
    models: tuple[Model, ...] = ()
    fixtures: tuple[Fixture, ...] = ()
    shelf_nodes: tuple[ShelfNode, ...] = ()
    readers: tuple[Reader, ...] = ()
    gate_nodes: tuple[GateNode, ...] = ()
    credential_keys: tuple[CredentialKey, ...] = ()
    area: StoreArea = StoreArea()
    gate_policy: GatePolicy = GatePolicy()
    decision: Decision = Decision()
    limits: Limits = Limits()
    vision: Vision = Vision()
    mqtt: Mqtt = Mqtt()
    paths: Paths = Paths()
    cloud: Cloud = Cloud()
    webhooks: tuple[WebhookTarget, ...] = ()
    toml: str = field(default="", repr=False)

    @cached_property
    def plate_index(self) -> dict[PlateId, int]:
        return {plate.id: i for i, plate in enumerate(self.plates)}

    @cached_property
    def shelves(self) -> tuple[ShelfId, ...]:
        """Shelves in order of first appearance among the plates."""
        return tuple(dict.fromkeys(plate.shelf for plate in self.plates))

    @cached_property
    def shelf_index(self) -> dict[ShelfId, int]:
        return {shelf: i for i, shelf in enumerate(self.shelves)}

    @cached_property
    def product_index(self) -> dict[Sku, int]:
        return {product.id: i for i, product in enumerate(self.products)}

    @cached_property
    def gate_index(self) -> dict[GateId, int]:
        return {gate.id: i for i, gate in enumerate(self.gates)}

    @cached_property
    def camera_index(self) -> dict[CameraId, int]:
        return {camera.id: i for i, camera in enumerate(self.cameras)}
