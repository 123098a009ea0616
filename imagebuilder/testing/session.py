"""What `imagebuilder test` hands to pytest: a JSON file that says what is tested."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.artifact import Artifacts, ImageModel, read_artifacts
from imagebuilder.catalog.machine import Qemu
from imagebuilder.errors import BuildError
from imagebuilder.hosttools import Toolbox
from imagebuilder.state import Cache
from imagebuilder.target.board import Address, Board
from imagebuilder.target.qemu import Guest


@dataclass(frozen=True, slots=True)
class Session:
    """What is tested, where sealed bundles are, how much memory each server may take (bytes).

    `only` are names of models, empty for all of the image's. With `keep` the guest goes on after
    the tests, and a file of this name says how to reach it.
    """

    system: Guest | Board
    cache: Cache
    memory_budgets: Mapping[str, int]
    only: tuple[str, ...] = ()
    keep: Path | None = None

    @property
    def guest(self) -> Guest:
        """What QEMU boots; `BuildError` where a board is tested."""
        if isinstance(self.system, Board):
            raise BuildError(f"{self.system.address} is a board: nothing is booted")
        return self.system

    @property
    def artifacts(self) -> Artifacts:
        """What the build left behind."""
        return self.system.artifacts

    @property
    def models(self) -> tuple[ImageModel, ...]:
        """The models that are tested."""
        every = self.artifacts.models
        return tuple(model for model in every if not self.only or model.name in self.only)

    @property
    def over_ssh(self) -> bool:
        """Whether commands go over ssh; else to the agent."""
        return self.system.ssh_key is not None


def write_session(session: Session, path: Path) -> None:
    """Write a session for `read_session`."""
    system = session.system
    data = {
        "artifacts": str(system.artifacts.folder),
        "log_folder": str(system.log_folder),
        "ssh_key": None if system.ssh_key is None else str(system.ssh_key),
        **(_board_data(system) if isinstance(system, Board) else _guest_data(system)),
        "cache": str(session.cache.root),
        "memory_budgets": dict(session.memory_budgets),
        "only": session.only,
        "keep": None if session.keep is None else str(session.keep),
    }
    path.write_text(json.dumps(data, indent=2))


def _guest_data(guest: Guest) -> dict[str, Any]:
    return {
        "qemu": dataclasses.asdict(guest.qemu),
        "tools": {"root": str(guest.tools.root), "digest": guest.tools.digest},
        "boot": guest.boot,
        "gdb": guest.gdb,
    }


def _board_data(board: Board) -> dict[str, Any]:
    return {"address": dataclasses.asdict(board.address)}


def read_session(path: Path) -> Session:
    """The session that `write_session` wrote."""
    data = json.loads(path.read_bytes())
    artifacts = read_artifacts(Path(data["artifacts"]))
    logs = Path(data["log_folder"])
    key = None if data["ssh_key"] is None else Path(data["ssh_key"])
    system: Guest | Board
    if "address" in data:
        assert key is not None
        system = Board(Address(**data["address"]), artifacts, key, logs)
    else:
        qemu = Qemu(**{**data["qemu"], "packages": tuple(data["qemu"]["packages"])})
        tools = Toolbox(Path(data["tools"]["root"]), data["tools"]["digest"])
        system = Guest(artifacts, qemu, tools, data["boot"], logs, key, data["gdb"])
    keep = None if data["keep"] is None else Path(data["keep"])
    cache = Cache(Path(data["cache"]))
    return Session(system, cache, data["memory_budgets"], tuple(data["only"]), keep)
