"""The broker's systems on the ledger: ``<topic>.py`` does, ``<topic>_api.py`` lists its routes."""

from __future__ import annotations

from broker.routes import Route

ROUTES: tuple[Route, ...] = ()
