"""The commands that bring an image to a device, and what keeps them from running."""

from pathlib import Path

import pytest

from imagebuilder.artifact import Artifact, Artifacts
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import UserError
from imagebuilder.flash import METHODS, device_problems, flash_commands

FILES = {
    "disk": "f.img",
    "compressed": "f.img.zst",
    "bmap": "f.img.bmap",
    "bootloader": "imx-boot",
    "flash": "f.tegraflash.tar.zst",
}
DEVICE = Path("/dev/sdz")


def artifacts(*kinds: str) -> Artifacts:
    files = tuple(Artifact(kind, FILES[kind], 1, "0") for kind in kinds)
    return Artifacts(
        Path("/o é"), "f", "1", "m", "yocto", "release", "", "127.0.0.1:1", False, (), files
    )


@pytest.mark.parametrize(
    ("method", "device", "commands"),
    [
        ("bmaptool", DEVICE,
         ["bmaptool copy --bmap /o é/f.img.bmap /o é/f.img.zst /dev/sdz"]),
        ("dd", DEVICE, ["dd if=/o é/f.img of=/dev/sdz bs=4M conv=fsync"]),
        ("uuu", None, ["uuu -b emmc_all /o é/imx-boot /o é/f.img.zst"]),
        ("uuu", DEVICE, ["bmaptool copy --bmap /o é/f.img.bmap /o é/f.img.zst /dev/sdz"]),
        ("tegraflash", None,
         ["mkdir -p /o é/f-flash", "tar -C /o é/f-flash -xf /o é/f.tegraflash.tar.zst",
          'sh -c cd "$0" && ./doflash.sh /o é/f-flash']),
    ],
)  # fmt: skip
def test_commands(method: str, device: Path | None, commands: list[str]) -> None:
    found = flash_commands(method, artifacts(*FILES), device)
    assert [" ".join(words) for words in found] == commands


def test_without_a_block_map_all_is_copied() -> None:
    assert flash_commands("bmaptool", artifacts("disk"), DEVICE) == (
        ("bmaptool", "copy", "--nobmap", "/o é/f.img", "/dev/sdz"),
    )


@pytest.mark.parametrize(
    ("method", "device", "kinds", "what"),
    [
        ("bmaptool", None, ("disk",), "this machine is flashed onto a block device"),
        ("uuu", None, ("disk",), "the build in /o é has no file of the kind bootloader"),
        ("tegraflash", DEVICE, ("flash",), "this device is flashed over USB in recovery mode"),
    ],
)
def test_what_is_missing(
    method: str, device: Path | None, kinds: tuple[str, ...], what: str
) -> None:
    with pytest.raises(UserError, match=what):
        flash_commands(method, artifacts(*kinds), device)


def test_a_device_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [p.what for p in device_problems(tmp_path / "none", 1, "")] == [
        f"{tmp_path / 'none'}: No such file or directory"
    ]
    assert [p.what for p in device_problems(tmp_path / "file", 1, "")] == [
        f"{tmp_path / 'file'} is not a block device"
    ]


def block_device() -> Path:
    for path in sorted(Path("/dev").iterdir()):
        if path.is_block_device():
            return path
    pytest.skip("this host shows no block device")


def test_a_mounted_or_small_device_is_refused() -> None:
    device = block_device().resolve()
    mounts = f"{device}1 /mnt ext4 rw 0 0\n{device} / ext4 rw 0 0\n/dev/other /x ext4 rw 0 0\n"
    found = list(device_problems(device, 1 << 60, mounts))
    assert [str(problem) for problem in found[:2]] == [
        f"{device}1 is mounted at /mnt\n  hint: umount /mnt",
        f"{device} is mounted at /\n  hint: this is the disk that the host runs from",
    ]
    assert "the image needs" in found[2].what


def test_every_machine_names_a_known_method() -> None:
    catalog = make_catalog()
    methods = {catalog.machine(name).flash for name in catalog.names("machines")}
    assert methods <= {*METHODS, None}
