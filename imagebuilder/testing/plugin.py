"""pytest plugin, entry point `imagebuilder`: the target and what is known of its image.

Without `--imagebuilder-session`, which `imagebuilder test` gives, it only defines fixtures.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.artifact import Artifacts, ImageModel
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.devicefiles import SERVER, TEXT_SERVER
from imagebuilder.errors import BuildError
from imagebuilder.target.board import Board, reached
from imagebuilder.testing.emulation import EmulatedTarget, emulated
from imagebuilder.testing.golden import Goldens
from imagebuilder.testing.session import Session, read_session
from imagebuilder.testing.target import Target
from imagebuilder.testing.text_api import TextApi

OPTION = "--imagebuilder-session"
SESSION = pytest.StashKey[Session]()
FRESH = pytest.StashKey[bool]()
"""Whether a test asks for a fresh target."""
KINDS = {"model": SERVER, "text_model": TEXT_SERVER}
"""Fixtures that are a model: argument → the server that has it."""
SERVERS = {"inferd": SERVER, "text_api": TEXT_SERVER}
"""Other fixtures that need a server."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `imagebuilder test` uses."""
    parser.addoption(OPTION, type=Path, help="Written by `imagebuilder test`.")


def pytest_configure(config: pytest.Config) -> None:
    """Read the session once."""
    config.addinivalue_line("markers", "fresh: start from the target as it was right after boot")
    path = config.getoption(OPTION)
    if path is not None:
        # Fixtures end as after Ctrl-C: no guest is left.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        config.stash[SESSION] = read_session(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with one of `KINDS` once for each model of the image that this server has."""
    session = metafunc.config.stash.get(SESSION, None)
    if session is None:
        return
    for argument, server in KINDS.items():
        if argument in metafunc.fixturenames:
            found = [m for m in session.models if m.server == server]
            metafunc.parametrize(argument, found, ids=[model.name for model in found])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of a server that is not in the image."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    servers = {model.server for model in session.models}
    absent = {name for name, server in (*KINDS.items(), *SERVERS.items()) if server not in servers}
    out = [item for item in items if absent & set(getattr(item, "fixturenames", ()))]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
    config.stash[FRESH] = any(item.get_closest_marker("fresh") for item in items)


@pytest.fixture(autouse=True)
def _ready(request: pytest.FixtureRequest) -> None:
    """Have the target on before a test, and as after its boot where the test is marked so."""
    if SESSION in request.config.stash and "target" in request.fixturenames:
        fresh = request.node.get_closest_marker("fresh") is not None
        target = request.getfixturevalue("target")
        with _told():
            target.prepare(fresh=fresh)


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
    return session.artifacts


@pytest.fixture(scope="session")
def target(
    session: Session,
    record_testsuite_property: Callable[[str, object], None],
    pytestconfig: pytest.Config,
) -> Iterator[Target]:
    """The image, booted once for all tests; one that a test leaves off is booted for the next."""
    record_testsuite_property("transport", "ssh" if session.over_ssh else "virtio-serial")
    if isinstance(session.system, Board):
        with contextlib.ExitStack() as stack:
            with _told():
                board = stack.enter_context(reached(session.system))
            yield Target(str(session.system.address), board)
        return
    with emulated(session.system) as found:
        with _told():
            found.begin(warm=pytestconfig.stash[FRESH])
        if found.is_on:
            for stage, seconds in found.console.stages.items():
                record_testsuite_property(f"boot.{stage}", seconds)
        yield found
        if session.keep is not None:
            session.keep.write_text(_leave_on(found), "utf-8")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong with the target, without the way there through our own code."""
    try:
        yield
    except BuildError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _leave_on(found: EmulatedTarget) -> str:
    try:
        return found.leave_on()
    except BuildError as error:
        return f"{found.name}: nothing to look at: {error.what}"


@pytest.fixture(scope="session")
def host(target: Target) -> Any:
    """testinfra's host (https://testinfra.readthedocs.io) on the target."""
    return target.host


@pytest.fixture(scope="session")
def bundles(session: Session) -> Mapping[str, SealedBundle]:
    """The sealed bundle of each model in the image, verified."""
    return {
        model.name: read_bundle(session.cache.bundle(model.digest))
        for model in session.artifacts.models
    }


@pytest.fixture(scope="session")
def inferd(target: Target) -> Target:
    """The target, for tests that make sense only where inferd is in the image."""
    return target


@pytest.fixture(scope="session")
def text_api(target: Target) -> TextApi:
    """The server of the language model."""
    return TextApi(target)


@pytest.fixture
def goldens(model: ImageModel, bundles: Mapping[str, SealedBundle]) -> Goldens:
    """Golden inputs and outputs of a model."""
    return Goldens.read(bundles[model.name])
