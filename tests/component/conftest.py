"""inferd for this host, built once a session into the cache."""

from pathlib import Path

import inferd_host
import pytest


@pytest.fixture(scope="session")
def inferd_build() -> Path:
    """The folder of the host build, with sanitizers."""
    return inferd_host.build()


@pytest.fixture
def inferd(inferd_build: Path, tmp_path: Path) -> inferd_host.Inferd:
    """The program."""
    return inferd_host.Inferd(inferd_build / "inferd", tmp_path)
