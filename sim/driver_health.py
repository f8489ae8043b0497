"""What drivers would say of their devices, for runs without drivers: online, silent, online again.

The same rules as ``hardware.drivers``: a device is online from its first packet, silent once
nothing came for the catalogue's ``stale_after_s``; a driver speaks on a change, and each 10 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hardware.drivers.sink import HEALTH_EVERY_NS
from messages.catalogue import ENTRY_OF
from messages.ids import DeviceId
from messages.observations import (
    DeviceHealth,
    DeviceState,
    Observation,
    PersonDetections,
    ShelfSamples,
)
from messages.store_config import StoreConfig

NS = 1_000_000_000
DETAIL = {
    DeviceState.ONLINE: "",
    DeviceState.SILENT: "nothing valid came: check its power and its cable",
}


@dataclass(slots=True)
class _Watched:
    stale_after_ns: int  # 0: silence is normal
    heard_at_ns: int = 0
    said: DeviceState | None = None
    said_at_ns: int = 0


@dataclass(slots=True)
class DriverHealth:
    """Every device of a store, watched."""

    devices: dict[str, _Watched] = field(default_factory=dict)

    @staticmethod
    def of(config: StoreConfig) -> DriverHealth:
        shelf, camera = _stale_ns(ShelfSamples), _stale_ns(PersonDetections)
        return DriverHealth(
            {str(node.id): _Watched(shelf) for node in config.shelf_nodes}
            | {str(one.id): _Watched(camera) for one in config.cameras}
            | {str(reader.id): _Watched(0) for reader in config.readers}
            | {str(node.id): _Watched(0) for node in config.gate_nodes}
        )

    def after(self, now_ns: int, seen: list[Observation]) -> list[Observation]:
        """What drivers say at ``now_ns``, when these observations came."""
        for one in seen:
            if isinstance(one, ShelfSamples):
                self._heard(one.device, one.received_at_ns)
            elif isinstance(one, PersonDetections):
                self._heard(one.camera, one.received_at_ns)
        told = [self._word(name, watched, now_ns) for name, watched in self.devices.items()]
        return [one for one in told if one is not None]

    def _heard(self, device: str, at_ns: int) -> None:
        if device in self.devices:
            self.devices[device].heard_at_ns = at_ns

    def _word(self, name: str, watched: _Watched, now_ns: int) -> Observation | None:
        silent = watched.stale_after_ns and now_ns - watched.heard_at_ns > watched.stale_after_ns
        if watched.stale_after_ns and not watched.heard_at_ns and not silent:
            return None  # it has not sent yet
        state = DeviceState.SILENT if silent else DeviceState.ONLINE
        if state is watched.said and now_ns - watched.said_at_ns < HEALTH_EVERY_NS:
            return None
        watched.said, watched.said_at_ns = state, now_ns
        return DeviceHealth(
            device=DeviceId(name), received_at_ns=now_ns, state=state, detail=DETAIL[state]
        )


def _stale_ns(kind: type) -> int:
    return round((ENTRY_OF[kind].stale_after_s or 0.0) * NS)
