"""QEMU's monitor for programs (QMP, docs/interop/qmp-spec.rst): JSON lines over a unix socket."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from imagebuilder.errors import BuildError

TIMEOUT = 60.0
PAUSE = 0.02


class Qmp:
    """One connection to a running QEMU; one command at a time. `OSError` if nothing listens."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._buffer = b""
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        try:
            self._line()
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise BuildError(f"QEMU's monitor does not answer: {error}") from error

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and give what it returns; `BuildError` with QEMU's words if it fails."""
        words = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(words).encode() + b"\n")
            answer = self._line()
            while "event" in answer:
                answer = self._line()
        except OSError as error:
            raise BuildError(f"QEMU's monitor does not answer: {error}") from error
        if "error" in answer:
            raise BuildError(f"QEMU: {command}: {answer['error']['desc']}")
        return answer["return"]

    def human(self, line: str) -> str:
        """Run a line of QEMU's monitor for people."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def wait_status(self, *wanted: str, timeout: float = TIMEOUT) -> None:
        """Wait until the guest's state is one of `wanted` (RunState of QEMU)."""
        deadline = time.monotonic() + timeout
        while (status := self.execute("query-status")["status"]) not in wanted:
            if time.monotonic() > deadline:
                raise BuildError(f"QEMU is {status!r}, not {' or '.join(map(repr, wanted))}")
            time.sleep(PAUSE)

    def save(self, path: Path) -> None:
        """Stop the guest and write its state to a file; QEMU cannot go on after that.

        The disk is flushed. Raises `BuildError` with QEMU's reason.
        """
        self.execute("stop")
        self.execute("migrate-set-parameters", **{"max-bandwidth": 0})
        self.execute("migrate", uri=f"file:{path}")
        self._wait_migrated()

    def load(self, path: Path) -> None:
        """Take the state that `save` wrote, into a QEMU started with `-incoming defer`, and run."""
        # Else QEMU sends packets of its own in the guest's name.
        self.execute("migrate-set-parameters", **{"announce-rounds": 0})
        self.execute("migrate-incoming", uri=f"file:{path}")
        self._wait_migrated()
        self.execute("cont")

    def close(self) -> None:
        """End the connection; QEMU goes on."""
        self._socket.close()

    def _wait_migrated(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while (found := self.execute("query-migrate")).get("status") != "completed":
            if found.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
                why = found.get("error-desc", found.get("status", "no state"))
                raise BuildError(f"QEMU cannot keep or take the state: {why}")
            time.sleep(PAUSE)

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            part = self._socket.recv(1 << 16)
            if not part:
                raise ConnectionError("the connection was closed")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
