"""pytest plugin, entry point `imagebuilder`: the target and what is known of its image.

Without `--imagebuilder-session`, which `imagebuilder test` gives, it only defines fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.artifact import Artifacts, ImageModel
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.target.qemu import QemuTarget, booted
from imagebuilder.testing.golden import Goldens
from imagebuilder.testing.host import make_host
from imagebuilder.testing.session import Session, read_session

OPTION = "--imagebuilder-session"
SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `imagebuilder test` uses."""
    parser.addoption(OPTION, type=Path, help="Written by `imagebuilder test`.")


def pytest_configure(config: pytest.Config) -> None:
    """Read the session once."""
    path = config.getoption(OPTION)
    if path is not None:
        config.stash[SESSION] = read_session(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the argument `model` once for each model of the image."""
    session = metafunc.config.stash.get(SESSION, None)
    if session is not None and "model" in metafunc.fixturenames:
        models = session.guest.artifacts.models
        metafunc.parametrize("model", models, ids=[model.name for model in models])


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Session:
    """What is under test."""
    found = request.config.stash.get(SESSION, None)
    if found is None:
        pytest.fail("run these tests by `imagebuilder test`", pytrace=False)
    return found


@pytest.fixture(scope="session")
def artifacts(session: Session) -> Artifacts:
    """What the build left behind."""
    return session.guest.artifacts


@pytest.fixture(scope="session")
def target(
    session: Session, record_testsuite_property: Callable[[str, object], None]
) -> Iterator[QemuTarget]:
    """The booted image; one boot for the whole run."""
    transport = "virtio-serial" if session.guest.ssh_key is None else "ssh"
    record_testsuite_property("transport", transport)
    with booted(session.guest) as found:
        for stage, seconds in found.console.stages.items():
            record_testsuite_property(f"boot.{stage}", seconds)
        yield found


@pytest.fixture(scope="session")
def host(target: QemuTarget) -> Any:
    """testinfra's host (https://testinfra.readthedocs.io) on the target."""
    return make_host(target)


@pytest.fixture(scope="session")
def bundles(session: Session) -> Mapping[str, SealedBundle]:
    """The sealed bundle of each model in the image, verified."""
    return {
        model.name: read_bundle(session.cache.bundle(model.digest))
        for model in session.guest.artifacts.models
    }


@pytest.fixture
def goldens(model: ImageModel, bundles: Mapping[str, SealedBundle]) -> Goldens:
    """Golden inputs and outputs of a model."""
    return Goldens.read(bundles[model.name])
