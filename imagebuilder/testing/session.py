"""What `imagebuilder test` hands to pytest: a JSON file that says what to boot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.artifact import read_artifacts
from imagebuilder.catalog.machine import Qemu
from imagebuilder.hosttools import Toolbox
from imagebuilder.state import Cache
from imagebuilder.target.qemu import Guest


@dataclass(frozen=True, slots=True)
class Session:
    """What to boot, where sealed bundles are, how much memory each server may take (bytes)."""

    guest: Guest
    cache: Cache
    memory_budgets: Mapping[str, int]


def write_session(session: Session, path: Path) -> None:
    """Write a session for `read_session`."""
    guest = session.guest
    qemu = guest.qemu
    data = {
        "artifacts": str(guest.artifacts.folder),
        "qemu": {
            "system": qemu.system, "machine": qemu.machine, "cpu": qemu.cpu,
            "memory": qemu.memory, "packages": list(qemu.packages),
            "firmware_code": qemu.firmware_code, "firmware_vars": qemu.firmware_vars,
            "stand_in_for": qemu.stand_in_for,
        },
        "tools": {"root": str(guest.tools.root), "digest": guest.tools.digest},
        "boot": guest.boot,
        "log_folder": str(guest.log_folder),
        "ssh_key": None if guest.ssh_key is None else str(guest.ssh_key),
        "cache": str(session.cache.root),
        "memory_budgets": dict(session.memory_budgets),
    }  # fmt: skip
    path.write_text(json.dumps(data, indent=2))


def read_session(path: Path) -> Session:
    """The session that `write_session` wrote."""
    data = json.loads(path.read_bytes())
    qemu = {**data["qemu"], "packages": tuple(data["qemu"]["packages"])}
    guest = Guest(
        artifacts=read_artifacts(Path(data["artifacts"])),
        qemu=Qemu(**qemu),
        tools=Toolbox(Path(data["tools"]["root"]), data["tools"]["digest"]),
        boot=data["boot"],
        log_folder=Path(data["log_folder"]),
        ssh_key=None if data["ssh_key"] is None else Path(data["ssh_key"]),
    )
    return Session(guest, Cache(Path(data["cache"])), data["memory_budgets"])
