"""What a user needs to debug a kernel that QEMU runs."""

from __future__ import annotations

from imagebuilder.artifact import Artifacts
from imagebuilder.catalog.machine import Machine

ARCHITECTURES = {
    "aarch64": "aarch64",
    "armv7": "arm",
    "riscv64": "riscv:rv64",
    "x86_64": "i386:x86-64",
}


def gdb_words(machine: Machine, artifacts: Artifacts, port: int) -> str:
    """The command for gdb, and where the kernel's symbols are to be had."""
    lines = [
        f"QEMU waits on port {port}; let it go on from another terminal:",
        f"  gdb-multiarch -ex 'set architecture {ARCHITECTURES[machine.arch]}' "
        f"-ex 'target remote 127.0.0.1:{port}' [VMLINUX]",
    ]
    if artifacts.engine == "debian" and machine.debian is not None:
        lines.append(f"VMLINUX, the kernel's symbols, is /usr/lib/debug/boot/vmlinux-* of Debian's "
                     f"package {machine.debian.kernel}-dbg; the image has none.")  # fmt: skip
    else:
        lines.append("VMLINUX, the kernel's symbols, is in the build folder of virtual/kernel "
                     "(`bitbake -e virtual/kernel | grep ^B=`); the image has none.")  # fmt: skip
    return "\n".join(lines)
