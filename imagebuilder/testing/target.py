"""The system under test and its verbs: the same in QEMU and on a board."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from imagebuilder import device
from imagebuilder.artifact import Artifacts
from imagebuilder.devicefiles import SERVER, TEXT_SERVER
from imagebuilder.errors import BuildError
from imagebuilder.target import api
from imagebuilder.target.agent import Output
from imagebuilder.target.console import Console
from imagebuilder.target.reachable import Reachable
from imagebuilder.testing.golden import Array, decode_answer, infer_request
from imagebuilder.testing.host import make_host
from imagebuilder.testing.metrics import parse_metrics

WARM = "warm"
"""The snapshot that tests marked `fresh` start from."""
PAUSE = 0.2
READY_FILES = {SERVER: device.READY_PATH, TEXT_SERVER: device.TEXT_READY_PATH}
SERVICE_RUNS = (
    "if command -v systemctl >/dev/null; then systemctl is-active --quiet {0}; "
    "else pidof {0} >/dev/null; fi"
)


class Target:
    """The system under test, in QEMU or a board.

    A verb raises `BuildError` when it cannot be done within its timeout, in seconds. What a board
    has not got skips the test, and the report says why.
    """

    def __init__(self, name: str, running: Reachable | None) -> None:
        self.name = name
        self._running = running

    @property
    def running(self) -> Reachable:
        """What runs now; `BuildError` while the target is off."""
        if self._running is None:
            raise BuildError(f"{self.name} is off")
        return self._running

    @property
    def artifacts(self) -> Artifacts:
        """What the build left behind."""
        return self.running.artifacts

    @property
    def api_port(self) -> int | None:
        """Port of this host that leads to inferd; None if it serves the target's loopback only."""
        return self.running.api_port

    @property
    def api_token(self) -> str:
        """What inferd wants its clients to show; empty where it wants nothing."""
        return self.running.api_token

    @property
    def text_port(self) -> int | None:
        """Port of this host that leads to llama-server, or None."""
        return self.running.text_port

    @property
    def ssh_port(self) -> int | None:
        """Port of this host that leads to the ssh server, or None."""
        return self.running.ssh_port

    @cached_property
    def host(self) -> Any:
        """testinfra's host (https://testinfra.readthedocs.io): `host.file(...)`, `host.process`."""
        return make_host(self.name, self.run)

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command as root, and give `exit_code`, `stdout` and `stderr` (bytes)."""
        return self.running.run(command, timeout)

    def start(self, command: str) -> None:
        """Start a shell command that may take the connection with it, and do not wait for it."""
        self.run(f"(sleep 0.2; {command}) </dev/null >/dev/null 2>&1 &")

    def request(self, method: str, path: str, body: bytes = b"") -> api.Response:
        """Send an HTTP request to inferd; gives `status` and `body`, whatever the status is."""
        return api.request(self, method, path, body)

    def infer(self, model: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Ask inferd for one inference: arrays by the names of the model's inputs and outputs.

        dtypes and shapes are those of the bundle, with the batch as first dimension.
        Raises `BuildError` with the server's words for any status but 200.
        """
        answer = self.request("POST", f"/v2/models/{model}/infer", infer_request(inputs))
        if answer.status != 200:
            text = answer.body[:500].decode("utf-8", "replace")
            raise BuildError(f"{model}: status {answer.status}: {text}")
        return decode_answer(answer.body)

    def metrics(self) -> dict[str, float]:
        """inferd's metrics by `name{labels}`; `BuildError` where the manifest has them off."""
        answer = self.request("GET", "/metrics")
        if answer.status != 200:
            raise BuildError(f"/metrics: status {answer.status}: is `server.metrics` on?")
        return parse_metrics(answer.body.decode())

    def wait_for_service(self, name: str = SERVER, timeout: float = 60.0) -> None:
        """Wait until a service runs; inferd and llama-server until they are ready, too."""
        ready = f"test -e {READY_FILES[name]} && " if name in READY_FILES else ""
        command = f"{ready}{{ {SERVICE_RUNS.format(name)}; }}"
        self.wait(lambda: self.run(command).exit_code == 0, f"{name} does not run", timeout)

    def wait_for_port(self, port: int, timeout: float = 60.0) -> None:
        """Wait until something on the target listens on a TCP port, be it on loopback only."""
        command = (
            "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | "
            f"awk '$4 == \"0A\" && $2 ~ /:{port:04X}$/ {{found = 1}} END {{exit !found}}'"
        )
        self.wait(
            lambda: self.run(command).exit_code == 0, f"nothing listens on port {port}", timeout
        )

    def wait(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until `done`; `BuildError` says `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                raise BuildError(f"{self.name}: {what} after {timeout:g} s")
            time.sleep(PAUSE)

    @property
    def console(self) -> Console:
        """What the target prints: `text()`, `tail()`, `stages`; a board's is not seen."""
        self._impossible("console")

    @property
    def packets(self) -> tuple[Path, ...]:
        """All packets of the target's network (pcap), a file for each boot and restore; not on a
        board."""
        self._impossible("packets")

    @property
    def disk(self) -> Path:
        """The disk while the target is off, as it will be at power-on (raw); not on a board."""
        self._impossible("disk")

    @property
    def lost(self) -> int:
        """How many writes the last power cut lost; not on a board."""
        self._impossible("lost")

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._running is not None

    def prepare(self, *, fresh: bool) -> None:
        """Before a test: a board is taken as it is, but `fresh` skips the test."""
        if fresh:
            self._impossible("restore")

    def boot(self) -> None:
        """Power on, and wait until the servers answer; not on a board."""
        self._impossible("boot")

    def power_cut(self) -> None:
        """Take the power away now: of what was written and not flushed, some is lost; not on a
        board."""
        self._impossible("power_cut")

    def reboot(self) -> None:
        """Restart as the device itself would, and wait until the servers answer; not on a board."""
        self._impossible("reboot")

    def crash(self, timeout: float = 30.0) -> tuple[str, ...]:  # noqa: ARG002
        """Make the kernel panic; gives the console's last lines, and the power is off; not on a
        board."""
        self._impossible("crash")

    def snapshot(self, name: str = WARM) -> None:  # noqa: ARG002
        """Keep memory and disk as they are now; the target goes on from there; not on a board."""
        self._impossible("snapshot")

    def restore(self, name: str = WARM) -> None:  # noqa: ARG002
        """Go on from a snapshot, be the target on or off; not on a board.

        Connections through the forwarded ports end, the ports stay the same.
        """
        self._impossible("restore")

    def monitor(self, command: str, **arguments: Any) -> Any:  # noqa: ARG002
        """Give QEMU a command of its monitor (QMP), such as `set_link`; not on a board."""
        self._impossible("monitor")

    def _impossible(self, verb: str) -> NoReturn:
        import pytest

        pytest.skip(f"{self.name} is no emulated target: it has no `{verb}`")
