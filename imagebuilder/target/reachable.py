"""What every target has, in QEMU or on a desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imagebuilder import device
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


def read_token(run: Callable[[str], Output]) -> str:
    """What inferd's configuration on a target wants clients to show; empty for nothing."""
    find = f'sed -n \'s/.*"token_file": "\\(.*\\)".*/\\1/p\' {device.SERVER_CONFIG_PATH}'
    done = run(f'file=$({find}); [ -z "$file" ] || head -n 1 "$file"')
    return done.stdout.decode().strip()
