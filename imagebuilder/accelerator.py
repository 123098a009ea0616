"""Whether the parts of an accelerator belong together and all are named. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagebuilder.catalog.machine import Accelerator, Machine
from imagebuilder.errors import Problem


def accelerator_problems(machine: Machine) -> Iterator[Problem]:
    """What is wrong with the machine's accelerator, as its own file describes it."""
    if machine.accelerator is not None:
        yield from _version_problems(machine, machine.accelerator)
        yield from _device_problems(machine, machine.accelerator)


def _version_problems(machine: Machine, found: Accelerator) -> Iterator[Problem]:
    """The machine's versions must be one of the sets that its file calls compatible.

    A mismatch costs a day on the device: the NPU then falls back silently, or gives wrong results.
    """
    if not found.compatible:
        return
    versions = {name: entry.get("version", "") for name, entry in found.runtimes.items()}
    if any(_fits(found, versions, entry) for entry in found.compatible):
        return
    what = f"{machine.name}: {_parts(found, versions)} do not belong together"
    sets = "; ".join(_listing(entry) for entry in found.compatible)
    yield machine.file.problem(("accelerator",), what, f"these do: {sets}")


def _device_problems(machine: Machine, found: Accelerator) -> Iterator[Problem]:
    """Nodes that nobody names stay root's, and the server never starts."""
    delegates = [name for name, entry in found.runtimes.items() if "delegate" in entry]
    if delegates and found.devices is None:
        what = f"{machine.name} does not say which device nodes the delegate opens"
        hint = "add `devices: [/dev/NODE]`, or `devices: []` if it opens none"
        yield machine.file.problem(("accelerator", "runtimes", delegates[0]), what, hint)


def _fits(found: Accelerator, versions: Mapping[str, str], entry: Mapping[str, Any]) -> bool:
    driver = found.driver.version if found.driver else None
    firmware = found.firmware.version if found.firmware else None
    runtimes = entry.get("runtimes", {})
    return (driver, firmware) == (entry["driver"], entry["firmware"]) and all(
        runtimes.get(name, version) == version for name, version in versions.items()
    )


def _parts(found: Accelerator, versions: Mapping[str, str]) -> str:
    parts = [f"driver {found.driver.name} {found.driver.version}"] if found.driver else []
    if found.firmware:
        parts.append(f"firmware {found.firmware.name} {found.firmware.version}")
    parts += [f"runtime {name} {version}" for name, version in versions.items()]
    return ", ".join(parts)


def _listing(entry: Mapping[str, Any]) -> str:
    runtimes = "".join(f", {name} {text}" for name, text in entry.get("runtimes", {}).items())
    return f"driver {entry['driver']}, firmware {entry['firmware']}{runtimes}"
