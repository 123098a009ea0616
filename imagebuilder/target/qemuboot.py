"""Reads the `qemuboot.conf` that OpenEmbedded writes beside an image for QEMU. Pure."""

from __future__ import annotations

import configparser
import dataclasses
import re
from dataclasses import dataclass

from imagebuilder.catalog.machine import Qemu


@dataclass(frozen=True, slots=True)
class QemuBoot:
    """What of it counts here; empty where the file says nothing."""

    machine: str
    cpu: str
    console: str


def read_qemuboot(text: str) -> QemuBoot:
    """The values of a file; keys of other meaning are left alone."""
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    section = parser["config_bsp"] if parser.has_section("config_bsp") else {}
    serial = section.get("serial_consoles", "").split()
    named = re.findall(r"console=(tty[A-Z]\S+)", section.get("qb_kernel_cmdline_append", ""))
    consoles = [entry.partition(";")[2] for entry in serial] + named
    return QemuBoot(
        machine=_option(section.get("qb_machine", ""), "machine"),
        cpu=_option(section.get("qb_cpu", ""), "cpu"),
        console=consoles[0] if consoles else "",
    )


def _option(text: str, name: str) -> str:
    match = re.search(rf"-{name}\s+(\S+)", text)
    return match[1] if match else ""


def with_qemuboot(qemu: Qemu, conf: QemuBoot) -> Qemu:
    """The stand-in with the machine and processor that the image was made for."""
    return dataclasses.replace(qemu, machine=conf.machine or qemu.machine, cpu=conf.cpu or qemu.cpu)
