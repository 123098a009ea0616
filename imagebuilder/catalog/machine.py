"""Machines: one YAML file each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from imagebuilder.units import parse_size
from imagebuilder.yamlfile import YamlFile


@dataclass(frozen=True, slots=True)
class Component:
    """A driver or firmware and its version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An NPU or GPU; `runtimes` maps a runtime to its delegate's path and version.

    `compatible` lists versions that belong together: `driver`, `firmware`, `runtimes`.
    `devices` are the nodes that its delegates open; None if the file does not say.
    """

    kind: str
    driver: Component | None
    firmware: Component | None
    runtimes: dict[str, dict[str, str]]
    compatible: tuple[dict[str, Any], ...] = ()
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DebianMachine:
    """What the engine debian needs; `boot` is `uefi` or `direct`."""

    arch: str
    kernel: str
    modules: tuple[str, ...]
    console: str
    boot: str


@dataclass(frozen=True, slots=True)
class YoctoMachine:
    """What the engine yocto needs; an empty `series` means any, None the BSP's own choice."""

    machine: str
    layers: tuple[str, ...]
    kernel: str
    kernel_config: str
    features: tuple[str, ...]
    image_types: tuple[str, ...]
    wks: str | None
    licenses: tuple[str, ...]
    packages: tuple[str, ...]
    settings: dict[str, str]
    series: tuple[str, ...]
    overrides: dict[str, dict[str, Any]]

    def of_series(self, name: str) -> YoctoMachine:
        """These values with what differs in a series."""
        own: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in self.overrides.get(name, {}).items()
        }
        return dataclasses.replace(self, **own)


@dataclass(frozen=True, slots=True)
class Qemu:
    """How QEMU stands in; `memory` in bytes; firmware paths as in the Debian packages."""

    system: str
    machine: str
    cpu: str
    memory: int
    packages: tuple[str, ...]
    firmware_code: str | None
    firmware_vars: str | None
    stand_in_for: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """One device; `memory` and `storage_size` in bytes. A part that is None does not exist."""

    name: str
    file: YamlFile
    description: str
    arch: str
    cpu: str
    memory: int
    storage_device: str
    storage_size: int
    accelerator: Accelerator | None
    debian: DebianMachine | None
    yocto: YoctoMachine | None
    qemu: Qemu | None
    flash: str | None
    status: dict[str, str]


def make_machine(name: str, file: YamlFile, data: dict[str, Any], like: dict[str, Any]) -> Machine:
    """A machine from data that has passed the schema; `like` is the `qemu` part it refers to."""
    return Machine(
        name=name,
        file=file,
        description=data["description"],
        arch=data["arch"],
        cpu=data["cpu"],
        memory=parse_size(data["memory"]),
        storage_device=data["storage"]["device"],
        storage_size=parse_size(data["storage"]["size"]),
        accelerator=_accelerator(data.get("accelerator")),
        debian=_debian(data.get("debian")),
        yocto=_yocto(data.get("yocto")),
        qemu=_qemu(name, data, like),
        flash=(data.get("flash") or {}).get("method"),
        status=dict(data.get("status", {})),
    )


def _accelerator(data: dict[str, Any] | None) -> Accelerator | None:
    if data is None:
        return None
    return Accelerator(
        data["kind"],
        _component(data.get("driver")),
        _component(data.get("firmware")),
        dict(data.get("runtimes", {})),
        tuple(data.get("compatible", ())),
        tuple(data["devices"]) if "devices" in data else None,
    )


def _component(data: dict[str, str] | None) -> Component | None:
    return None if data is None else Component(data["name"], data["version"])


def _debian(data: dict[str, Any] | None) -> DebianMachine | None:
    if data is None:
        return None
    return DebianMachine(
        data["arch"],
        data["kernel"],
        tuple(data["modules"]),
        data["console"],
        data.get("boot", "direct"),
    )


def _yocto(data: dict[str, Any] | None) -> YoctoMachine | None:
    if data is None:
        return None
    return YoctoMachine(
        data["machine"],
        tuple(data.get("layers", ())),
        data.get("kernel", "linux-yocto"),
        data.get("kernel_config", "kernel-yocto"),
        tuple(data.get("features", ())),
        tuple(data.get("image_types", ())),
        data.get("wks"),
        tuple(data.get("licenses", ())),
        tuple(data.get("packages", ())),
        dict(data.get("settings", {})),
        tuple(data.get("series", ())),
        dict(data.get("overrides", {})),
    )


def _qemu(name: str, data: dict[str, Any], like: dict[str, Any]) -> Qemu | None:
    own = data.get("qemu")
    if own is None:
        return None
    merged = {**like, **{key: value for key, value in own.items() if key != "like"}}
    firmware = merged.get("firmware", {})
    return Qemu(
        system=merged["system"],
        machine=merged["machine"],
        cpu=merged["cpu"],
        memory=parse_size(merged.get("memory", data["memory"])),
        packages=tuple(merged.get("packages", ())),
        firmware_code=firmware.get("code"),
        firmware_vars=firmware.get("vars"),
        stand_in_for=name if "like" in own else None,
    )
