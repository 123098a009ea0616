"""Commands on the target through the virtio-serial port (device contract, "Test agent")."""

from __future__ import annotations

import base64
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import device
from imagebuilder.errors import BuildError

MAX_ANSWER = 64 << 20
"""Bytes; a command that prints more is refused."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command left."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Agent:
    """The host's end of the port; one command at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._buffer = b""
        self._count = 0

    def wait_ready(self, timeout: float) -> None:
        """Wait until the agent has started; `BuildError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._line(deadline) != device.AGENT_READY:
            pass

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command; `BuildError` when it does not end within `timeout` seconds."""
        self._count += 1
        request = f"{self._count} {base64.b64encode(command.encode()).decode()}\n"
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(request.encode())
        except TimeoutError as error:
            raise BuildError("the agent on the target does not answer") from error
        except OSError as error:
            raise BuildError("the target is gone: its serial port closed") from error
        deadline = time.monotonic() + timeout
        while True:
            words = self._line(deadline).split(" ")
            if words[0] == str(self._count) and len(words) == 4:
                out, err = (base64.b64decode(word) for word in words[2:])
                return Output(int(words[1]), out, err)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _line(self, deadline: float) -> str:
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = self._socket.recv(1 << 16)
            except TimeoutError as error:
                raise BuildError("the agent on the target does not answer") from error
            except OSError as error:
                raise BuildError("the target is gone: its serial port closed") from error
            if not part:
                raise BuildError("the target is gone: its serial port closed")
            self._buffer += part
            if len(self._buffer) > MAX_ANSWER:
                raise BuildError("the agent on the target sends without end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("ascii", "replace")
