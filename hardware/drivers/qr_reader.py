"""Driver of a serial QR reader: each line of text becomes one ``GateSignal`` of kind credential.

Readers send the text and CR LF, CR, or LF. The text is a stranger's and is only carried on: the
gate verifies it. What cannot be one of our tokens (too long, not printable ASCII) ends here.
"""

from __future__ import annotations

from hardware.drivers.serial_device import SerialDevice
from hardware.drivers.sink import Sink
from messages.observations import GateSignal, GateSignalKind
from messages.store_config import Reader

LINE_BYTES_MAX = 1_024  # an entry token has about 350; a QR code holds at most 4,296
PAUSE_MAX_NS = 1_000_000_000  # within one text; a longer pause means that its end was lost


class ReaderDriver(SerialDevice):
    """One reader on one port. Silence is normal: nobody comes."""

    COUNTERS = ("lines", "overlong", "not_ascii", "cut_off", "garbage_bytes")

    def __init__(self, config: Reader, sink: Sink) -> None:
        super().__init__(config.id, config.port, config.baud, sink)
        self._config = config
        self._held = bytearray()
        self._skipping = False

    def begin(self) -> None:
        self._drop("cut_off")
        self._skipping = False

    def received(self, data: bytes) -> None:
        now_ns = self._sink.now_ns()
        if now_ns - self._heard_at_ns > PAUSE_MAX_NS:
            self._drop("cut_off")
            self._skipping = False
        self._heard_at_ns = now_ns
        *closed, rest = data.replace(b"\r", b"\n").split(b"\n")
        for piece in closed:
            self._hold(piece)
            self._finish()
        self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        if self._skipping:
            self.health.count("garbage_bytes", len(piece))
        elif len(self._held) + len(piece) > LINE_BYTES_MAX:
            self.health.count("garbage_bytes", len(piece))
            self._drop("overlong")
            self._skipping = True
        else:
            self._held += piece

    def _finish(self) -> None:
        if not self._held or self._skipping:
            self._skipping = False
            return
        if not all(0x20 <= byte < 0x7F for byte in self._held):
            self._drop("not_ascii")
            return
        text = self._held.decode("ascii")
        self._held.clear()
        self.health.count("lines")
        self._sink.put(
            GateSignal(
                gate=self._config.gate,
                device=self._config.id,
                kind=GateSignalKind.CREDENTIAL,
                received_at_ns=self._sink.now_ns(),
                credential=text,
            )
        )

    def _drop(self, why: str) -> None:
        if self._held or why == "overlong":
            self.health.count(why)
            self.health.count("garbage_bytes", len(self._held))
            self._held.clear()
