"""TCP ports of this host, kept for a program that will listen there later."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from imagebuilder.artifact import Artifacts
from imagebuilder.target.command import Forward

LOOPBACK = "127.0.0.1"
OPEN_LOOPBACK = "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"


class HeldPorts:
    """Ports of the loopback that nobody else is given until `close`.

    Each is bound and not listened on. Linux then gives it to no one who asks for any port, while
    QEMU and OpenSSH, which set SO_REUSEADDR and name it, can listen there, again and again.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def free(self) -> int:
        """A port that nobody uses."""
        return self.hold(0)

    def hold(self, port: int) -> int:
        """Keep this port, 0 for any; `OSError` if somebody listens there."""
        held = socket.socket()
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            raise
        self._held.append(held)
        number: int = held.getsockname()[1]
        return number

    def close(self) -> None:
        """Let go of all."""
        while self._held:
            self._held.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of this host that lead to the guest's servers; None where nothing leads to one."""

    forwards: tuple[Forward, ...]
    api: int | None
    text: int | None
    ssh: int | None


def choose_ports(artifacts: Artifacts, held: HeldPorts) -> Ports:
    """Free ports of this host to what the image serves to the network."""
    guest = (_port(artifacts.listen), _port(artifacts.text_listen), 22 if artifacts.ssh else None)
    host = tuple(None if port is None else held.free() for port in guest)
    forwards = tuple(Forward(h, g) for h, g in zip(host, guest, strict=True) if h and g)
    return Ports(forwards, *host)


def ports_for_tests(artifacts: Artifacts, held: HeldPorts) -> Ports:
    """`choose_ports`, and one to a language model that is served on the target's loopback only.

    The guest takes such packets after `OPEN_LOOPBACK` has run there, as root.
    """
    ports = choose_ports(artifacts, held)
    if artifacts.text_listen is None or ports.text is not None:
        return ports
    host, _, port = artifacts.text_listen.rpartition(":")
    text = Forward(held.free(), int(port), LOOPBACK if host == "localhost" else host)
    return dataclasses.replace(ports, forwards=(*ports.forwards, text), text=text.host)


@contextlib.contextmanager
def held_ports(artifacts: Artifacts) -> Iterator[Ports]:
    """`ports_for_tests` for as long as the block."""
    with HeldPorts() as held:
        yield ports_for_tests(artifacts, held)


def _port(listen: str | None) -> int | None:
    """A server's port; None if there is none, or it listens on the target's loopback only."""
    if listen is None:
        return None
    address, _, port = listen.rpartition(":")
    return None if address.startswith("127.") or address == "localhost" else int(port)
