"""Models for the tests: those of this machine, or fetched once as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.cameras.models.install import install, models_folder


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the usual models; does nothing where they are installed."""
    install()
    return models_folder()
