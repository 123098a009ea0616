"""testinfra's `host` on a target."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from imagebuilder.target.qemu import QemuTarget


class TargetBackend(BaseBackend):  # type: ignore[misc]
    """Runs testinfra's commands on the target, over its agent or ssh."""

    NAME = "imagebuilder"
    HAS_RUN_SALT = False
    HAS_RUN_ANSIBLE = False

    def __init__(self, target: QemuTarget) -> None:
        super().__init__(target.guest.artifacts.machine)
        self._target = target

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Run one command; `%s` in it are replaced by the quoted arguments."""
        text = self.get_command(command, *args)
        done = self._target.run(text)
        return self.result(done.exit_code, self.encode(text), done.stdout, done.stderr)


def make_host(target: QemuTarget) -> Any:
    """A host whose commands run on the target."""
    return Host(TargetBackend(target))
