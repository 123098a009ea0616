"""A board that is reached by ssh alone: no power, no console."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.errors import BuildError, UserError
from imagebuilder.state import scratch_folder
from imagebuilder.target import api
from imagebuilder.target.agent import Output
from imagebuilder.target.ports import HeldPorts
from imagebuilder.target.qemu import SOCKETS
from imagebuilder.target.reachable import read_token
from imagebuilder.target.ssh import Ssh

ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9._][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
READY_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a board's ssh server is."""

    host: str
    port: int = 22
    user: str = "root"

    def __str__(self) -> str:
        return f"ssh://{self.user}@{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """`ssh://USER@HOST:PORT`, by default root and 22; `UserError` for anything else."""
    match = ADDRESS.fullmatch(text)
    port = int(match["port"] or 22) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise UserError(f"--target {text}: not ssh://USER@HOST:PORT")
    return Address(match["host"].strip("[]"), port, match["user"] or "root")


@dataclass(frozen=True, slots=True)
class Board:
    """A board and the image that it should have; `ssh_key` is a private key that it lets in."""

    address: Address
    artifacts: Artifacts
    ssh_key: Path
    log_folder: Path


class ReachedBoard:
    """A board that answered; see `reached`."""

    def __init__(self, board: Board, folder: Path) -> None:
        self.artifacts = board.artifacts
        self.address = board.address
        at = board.address
        self._held = HeldPorts()
        self._ssh = Ssh(at.port, board.ssh_key, folder, at.host, at.user)
        self.api_port: int | None = None
        self.text_port: int | None = None
        self.ssh_port: int | None = None

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command as the address' user; `BuildError` when ssh fails."""
        return self._ssh.run(command, timeout)

    @cached_property
    def api_token(self) -> str:
        """What inferd wants its clients to show; empty where it wants nothing."""
        return read_token(self.run)

    def open(self) -> None:
        """Log in and forward the servers' ports; `BuildError` if the board lets nobody in."""
        self._ssh.wait_ready(READY_TIMEOUT)
        self.api_port = self._forward(self.artifacts.listen)
        self.text_port = self._forward(self.artifacts.text_listen)
        self.ssh_port = self._forward("127.0.0.1:22")
        if self.api_port is not None and not self._answers():
            # The board's ssh server forwards nothing: requests then go through commands.
            self.api_port = self.text_port = self.ssh_port = None

    def close(self) -> None:
        """End the connection; the board goes on."""
        self._ssh.close()
        self._held.close()

    def _forward(self, listen: str | None) -> int | None:
        if listen is None:
            return None
        host, _, port = listen.rpartition(":")
        there = "127.0.0.1" if host in ("0.0.0.0", "localhost", "") else host
        here = self._held.free()
        self._ssh.forward(here, f"{there}:{port}")
        return here

    def _answers(self) -> bool:
        try:
            return api.request(self, "GET", "/v2/health/live").status == 200
        except BuildError:
            return False


@contextlib.contextmanager
def reached(board: Board) -> Iterator[ReachedBoard]:
    """Log in to a board; `BuildError` if it does not let us in within seconds."""
    with scratch_folder(SOCKETS) as folder:
        found = ReachedBoard(board, folder)
        try:
            try:
                found.open()
            except BuildError as error:
                raise BuildError(f"{board.address}: {error.what}") from error
            yield found
        finally:
            found.close()
