"""What every target has, in QEMU or on a desk."""

from __future__ import annotations

from typing import Protocol

from imagebuilder.artifact import Artifacts
from imagebuilder.target.agent import Output


class Reachable(Protocol):
    """A running target; the ports are this host's, None where nothing leads to a server."""

    @property
    def artifacts(self) -> Artifacts:
        """The image that it should have."""

    @property
    def api_port(self) -> int | None:
        """Leads to inferd."""

    @property
    def api_token(self) -> str:
        """What inferd wants its clients to show; empty where it wants nothing."""

    @property
    def text_port(self) -> int | None:
        """Leads to llama-server."""

    @property
    def ssh_port(self) -> int | None:
        """Leads to the ssh server."""

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command as root; `BuildError` if it does not end in `timeout` seconds."""
