"""Identifiers. Each is a ``NewType`` over ``str`` or ``int`` so that types tell them apart."""

from __future__ import annotations

from typing import NewType

StoreId = NewType("StoreId", str)
DeviceId = NewType("DeviceId", str)  # a shelf node, reader, gate node or camera
PlateId = NewType("PlateId", str)
ShelfId = NewType("ShelfId", str)
FacingId = NewType("FacingId", str)
GateId = NewType("GateId", str)
CameraId = NewType("CameraId", str)
Sku = NewType("Sku", str)

VisitId = NewType("VisitId", str)  # "<store>-v<counter>"
CredentialId = NewType("CredentialId", str)  # the token's ``jti``; never the token itself
AccountRef = NewType("AccountRef", str)  # opaque, per retailer; never a card number
EventId = NewType("EventId", str)  # "<store>-<step>-<index>"
CommandId = NewType("CommandId", str)  # "<store>-<step>-c<index>"
ReviewId = NewType("ReviewId", str)  # "<store>-r<counter>"
LineId = NewType("LineId", str)  # "<visit>-l<counter>", stable from shelf to receipt
TrackId = NewType("TrackId", int)
