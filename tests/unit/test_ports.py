"""Ports that are held for a program which listens later."""

import errno
import socket
from pathlib import Path

import pytest

from imagebuilder.artifact import Artifacts
from imagebuilder.target.command import Forward
from imagebuilder.target.ports import HeldPorts, choose_ports, held_ports, ports_for_tests


def listening(port: int) -> socket.socket:
    """As QEMU listens."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.listen()
    return found


def test_a_held_port_is_given_to_nobody_and_can_be_listened_on() -> None:
    with HeldPorts() as held:
        port = held.free()
        with socket.socket() as plain, pytest.raises(OSError, match="in use"):
            plain.bind(("127.0.0.1", port))
        for _ in range(3):
            listening(port).close()
        assert held.free() != port
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", port))


def test_a_port_that_somebody_listens_on_cannot_be_held() -> None:
    with listening(0) as taken, HeldPorts() as held:
        with pytest.raises(OSError, match="in use") as caught:
            held.hold(taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


def image(listen: str, text: str | None, *, ssh: bool) -> Artifacts:
    return Artifacts(Path("x"), "x", "1", "m", "debian", "dev", "", listen, ssh, (), (),
                     text_listen=text)  # fmt: skip


def test_only_what_the_network_reaches_has_a_port() -> None:
    with HeldPorts() as held:
        ports = choose_ports(image("0.0.0.0:80", "127.0.0.1:81", ssh=True), held)
    assert (ports.text, {forward.guest for forward in ports.forwards}) == (None, {80, 22})
    assert Forward(ports.api or 0, 80) in ports.forwards
    assert Forward(ports.ssh or 0, 22) in ports.forwards
    with held_ports(image("localhost:80", "0.0.0.0:81", ssh=False)) as ports:
        assert (ports.api, ports.ssh) == (None, None)
        assert ports.forwards == (Forward(ports.text or 0, 81),)


@pytest.mark.parametrize("listen", ["127.0.0.1:81", "localhost:81"])
def test_tests_reach_a_language_model_on_the_targets_loopback(listen: str) -> None:
    with HeldPorts() as held:
        ports = ports_for_tests(image("0.0.0.0:80", listen, ssh=False), held)
        assert ports.text is not None
        assert Forward(ports.text, 81, "127.0.0.1") in ports.forwards
        assert ports_for_tests(image("0.0.0.0:80", None, ssh=False), held).text is None
