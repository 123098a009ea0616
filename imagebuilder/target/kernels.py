"""Which processors a kernel file is for, from its first bytes."""

from __future__ import annotations

from pathlib import Path

HEAD = 0x400
MAGICS = {
    "aarch64": (0x38, b"ARM\x64"),  # Documentation/arch/arm64/booting.rst
    "arm": (0x24, b"\x18\x28\x6f\x01"),  # arch/arm/boot/compressed/head.S, zImage
    "riscv64": (0x38, b"RSC\x05"),  # Documentation/arch/riscv/boot-image-header.rst
    "x86_64": (0x202, b"HdrS"),  # Documentation/arch/x86/boot.rst
}
"""QEMU's word for a system → where its kernels have what."""
ELF = {40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def kernel_system(head: bytes) -> str | None:
    """QEMU's word for the system that a kernel's first `HEAD` bytes are of; None if unknown."""
    if head.startswith(b"\x7fELF"):
        return ELF.get(int.from_bytes(head[18:20], "little"))
    found = [name for name, (at, magic) in MAGICS.items() if head.startswith(magic, at)]
    return found[0] if found else None


def wrong_kernel(path: Path, system: str) -> str:
    """What is wrong with a kernel for an emulated system; empty if nothing is, or nobody knows."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        found = kernel_system(stream.read(HEAD))
    if found in (None, system):
        return ""
    return f"{path.name} is a kernel for {found}, this is an emulated {system}"
