"""testinfra's `host` on a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from imagebuilder.target.agent import Output


class TargetBackend(BaseBackend):  # type: ignore[misc]
    """Runs testinfra's commands on the target, over its agent or ssh."""

    NAME = "imagebuilder"
    HAS_RUN_SALT = False
    HAS_RUN_ANSIBLE = False

    def __init__(self, name: str, run: Callable[[str], Output]) -> None:
        super().__init__(name)
        self._run_there = run

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Run one command; `%s` in it are replaced by the quoted arguments."""
        text = self.get_command(command, *args)
        done = self._run_there(text)
        return self.result(done.exit_code, self.encode(text), done.stdout, done.stderr)


def make_host(name: str, run: Callable[[str], Output]) -> Any:
    """A host whose commands go through `run`."""
    return Host(TargetBackend(name, run))
