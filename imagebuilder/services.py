"""Units of the user's own where busybox init runs them. Pure, but for reading them."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

from imagebuilder import device
from imagebuilder.errors import Location, Problem, UserError

USERS = {"root": 0, device.SERVER_USER: device.SERVER_UID, device.TEXT_USER: device.TEXT_UID,
         "nobody": 65534}  # fmt: skip
"""Users of the device and their numbers, which are also those of their groups."""

SERVICE_KEYS = {"execstart", "user", "environment", "restart", "type", "restartsec"}
"""What a [Service] may say: the program is run, the unit is for systemd."""

SCRIPTS = "/usr/libexec/imagebuilder"
"""Where the scripts lie on the device."""


def service_path(index: int, unit: Path) -> str:
    """The script of the manifest's service `index`."""
    return f"{SCRIPTS}/service-{index}-{unit.stem}"


def service_script(path: Path) -> str:
    """A systemd unit's [Service] as a script; `UserError` for what it cannot express."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text("utf-8"))
        service = dict(parser["Service"])
        command = service["execstart"]
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        what = "needs a section [Service] with ExecStart="
        raise UserError(Problem(what, Location(path))) from error
    problems = tuple(_unsupported(path, service))
    if problems:
        raise UserError(*problems)
    export = f"export {service['environment']}\n" if "environment" in service else ""
    user = service.get("user", "root")
    run = f"exec {command}" if user == "root" else f"exec su -s /bin/sh {user} -c 'exec {command}'"
    return f"#!/bin/sh\n{export}{run}\n"


def _unsupported(path: Path, service: dict[str, str]) -> Iterator[Problem]:
    for key in service:
        if key not in SERVICE_KEYS:
            yield Problem(
                "busybox init does not run this",
                Location(path),
                f"Service.{key}",
                f"it knows {', '.join(sorted(SERVICE_KEYS))}",
            )
    user = service.get("user", "root")
    if user not in USERS:
        what = f"there is no user {user}"
        yield Problem(what, Location(path), "Service.User", f"choose from {', '.join(USERS)}")
    if service["execstart"][:1] in "@-:+!" or "'" in service["execstart"]:
        what = "prefixes and single quotes are not supported"
        yield Problem(what, Location(path), "Service.ExecStart")
