"""Kernels are known by their first bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.target.kernels import ELF, HEAD, MAGICS, kernel_system, wrong_kernel


def head(at: int, magic: bytes) -> bytes:
    return bytes(at) + magic + bytes(HEAD - at - len(magic))


@pytest.mark.parametrize("system", MAGICS)
def test_each_system_is_known(system: str, tmp_path: Path) -> None:
    assert kernel_system(head(*MAGICS[system])) == system
    (machine,) = [number for number, name in ELF.items() if name == system]
    elf = b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little")
    assert kernel_system(elf) == system
    path = tmp_path / "vmlinuz"
    path.write_bytes(elf)
    assert wrong_kernel(path, system) == ""
    other = next(name for name in MAGICS if name != system)
    assert wrong_kernel(path, other) == (
        f"vmlinuz is a kernel for {system}, this is an emulated {other}"
    )


def test_what_nobody_knows_is_not_judged(tmp_path: Path) -> None:
    assert wrong_kernel(tmp_path / "none", "arm") == ""
    (tmp_path / "kernel").write_bytes(b"MZ\0\0zimg")
    assert wrong_kernel(tmp_path / "kernel", "arm") == ""


@given(st.binary(max_size=HEAD))
def test_any_bytes_are_a_kernel_or_none(raw: bytes) -> None:
    assert kernel_system(raw) in (None, *MAGICS)
