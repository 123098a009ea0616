"""Whether an accelerator's driver, firmware and runtimes belong together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagebuilder.catalog.machine import Accelerator, Machine
from imagebuilder.errors import Problem


def accelerator_problems(machine: Machine) -> Iterator[Problem]:
    """The machine's versions must be one of the sets that its file calls compatible.

    A mismatch costs a day on the device: the NPU then falls back silently, or gives wrong results.
    """
    found = machine.accelerator
    if found is None or not found.compatible:
        return
    versions = {name: entry.get("version", "") for name, entry in found.runtimes.items()}
    if any(_fits(found, versions, entry) for entry in found.compatible):
        return
    what = f"{machine.name}: {_parts(found, versions)} do not belong together"
    sets = "; ".join(_listing(entry) for entry in found.compatible)
    yield machine.file.problem(("accelerator",), what, f"these do: {sets}")


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
