"""What each step does: the engine's only code with effects."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import device
from imagebuilder.catalog import shipped
from imagebuilder.crossbuild import build_inferd
from imagebuilder.devicefiles import json_text
from imagebuilder.engines.debian import config, disk, root
from imagebuilder.engines.debian.kernel import UnknownModule, extract_kernel
from imagebuilder.engines.debian.packages import UEFI_BUILD, package_set, root_packages
from imagebuilder.engines.debian.steps_plan import command_line, wanted_modules
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.engines.locking import tool_set
from imagebuilder.errors import BuildError, UserError
from imagebuilder.executor import Work
from imagebuilder.fetch.debian import Archive
from imagebuilder.fetch.wheels import fetch_from_wheel
from imagebuilder.hosttools import Toolbox, fetch_all, unpack_tools
from imagebuilder.resolve import Build
from imagebuilder.run import run
from imagebuilder.units import show_size

EFI_NAMES = {"aarch64": ("BOOTAA64.EFI", "aa64"), "x86_64": ("BOOTX64.EFI", "x64")}


@dataclass(frozen=True, slots=True)
class Tools:
    """What the actions share: the build, and where packages come from."""

    build: Build
    archive: Archive

    def image_tools(self) -> Toolbox:
        """The host tools that make images."""
        cache = self.archive.fetcher.cache
        return unpack_tools(tool_set(self.build, "image"), self.archive, cache)

    def packages(self, role: str) -> tuple[Path, ...]:
        """The fetched packages of a role."""
        return fetch_all(package_set(self.build, role), self.archive)

    def root_packages(self) -> tuple[Path, ...]:
        """The fetched packages of the root."""
        return fetch_all(root_packages(self.build), self.archive)

    def package(self, role: str, name: str) -> Path:
        """One fetched package of a role."""
        packages = package_set(self.build, role).packages
        return self.archive.fetch(next(p for p in packages if p.name == name))


def server(tools: Tools, work: Work) -> None:
    """Compile inferd for the machine."""
    sysroot = work.output / "sysroot"
    for deb in tools.packages("sysroot"):
        run(["dpkg-deb", "-x", deb, sysroot])
    build_inferd(
        shipped("inferd"),
        sysroot,
        tools.build.machine.arch,
        work.output / "build",
        work.output / "inferd",
        zig_cache=work.cache.root / "zig",
    )
    shutil.rmtree(sysroot)
    shutil.rmtree(work.output / "build", ignore_errors=True)


def kernel(tools: Tools, work: Work) -> None:
    """Take kernel and modules out of their package."""
    debs = tools.packages("kernel")
    largest = max(debs, key=lambda path: path.stat().st_size)
    try:
        extract_kernel(largest, wanted_modules(tools.build), work.output)
    except UnknownModule as error:
        manifest = tools.build.manifest
        asked = {name.replace("-", "_"): i for i, name in enumerate(manifest.kernel.modules)}
        if error.module not in asked:
            raise
        key = ("kernel", "modules", asked[error.module])
        raise UserError(manifest.problem(key, str(error))) from error


def root_image(tools: Tools, work: Work) -> None:
    """Put the root together."""
    libraries = _libraries(tools, work)
    server_file = work.inputs["server"] / "inferd"
    tree = root.root_tree(tools.build, tools.root_packages(), libraries, server_file)
    _check_runtimes(tools.build, tree)
    disk.make_erofs(tools.image_tools(), tree, work.output / "root.img", compress=True)


def _libraries(tools: Tools, work: Work) -> dict[str, Path]:
    """Runtimes' libraries from wheels, by their path on the device."""
    return {
        config.runtime_path(model): fetch_from_wheel(work.fetcher, model.target.debian.wheel)
        for model in tools.build.models
        if model.target.debian is not None and model.target.debian.wheel is not None
    }


def _check_runtimes(build: Build, tree: Tree) -> None:
    for model in build.models:
        path = config.runtime_path(model).strip("/")
        if path not in tree.entries:
            raise BuildError(
                f"the packages of {model.runtime.name} hold no {path}",
                hint="the runtime's `file` in its YAML is wrong for this version",
            )


def initrd(tools: Tools, work: Work) -> None:
    """Put the initramfs together."""
    tree = Tree()
    for package in ("busybox-static", "e2fsck-static"):
        tree.add_package(tools.package("image", package))
    busybox, e2fsck = (
        tree.entries[path].data for path in ("usr/bin/busybox", "usr/sbin/e2fsck.static")
    )
    archive = root.initrd_tree(busybox, e2fsck, work.inputs["kernel"]).cpio()
    (work.output / "initrd").write_bytes(archive)


def models(tools: Tools, work: Work) -> None:
    """Put the models partition together; not compressed, so that models can be mapped."""
    tree = root.models_tree(tools.build)
    disk.make_erofs(tools.image_tools(), tree, work.output / "models.img", compress=False)


def data(tools: Tools, work: Work) -> None:
    """Make the empty data partition."""
    size = tools.build.manifest.image.storage.data
    disk.make_ext4(tools.image_tools(), work.output / "data.img", size, device.DATA)


def esp(tools: Tools, work: Work) -> None:
    """Join kernel, command line and initramfs in one UEFI program, on a FAT."""
    name, short = EFI_NAMES[tools.build.machine.arch]
    unpacked = work.output / "boot"
    for package in UEFI_BUILD:
        run(["dpkg-deb", "-x", tools.package("sysroot", package), unpacked])
    image = work.output / "image.efi"
    run([
        sys.executable, unpacked / "usr/bin/ukify", "build",
        f"--linux={work.inputs['kernel'] / 'vmlinuz'}",
        f"--initrd={work.inputs['initrd'] / 'initrd'}",
        f"--cmdline={command_line(tools.build)}",
        f"--stub={unpacked / f'usr/lib/systemd/boot/efi/linux{short}.efi.stub'}",
        f"--efi-arch={short}", "--uname=imagebuilder", "--os-release=ID=imagebuilder",
        f"--output={image}",
    ], env=disk.EPOCH)  # fmt: skip
    disk.make_esp(tools.image_tools(), image, name, work.output / "esp.img")
    image.unlink()
    shutil.rmtree(unpacked)


def gpt(tools: Tools, work: Work) -> None:
    """Put the partitions on one disk, and map what of it must be written."""
    names = {device.ROOT: "root", device.MODELS: "models", device.DATA: "data", device.ESP: "esp"}
    parts = {
        name: work.inputs[step] / f"{step}.img"
        for name, step in names.items()
        if step in work.inputs
    }
    options = work.step.options
    partitions = disk.disk_partitions(parts, options["arch"], options["sizes"])
    check_sizes(tools.build, partitions)
    image = work.output / "disk.img"
    disk.make_disk(tools.image_tools(), partitions, options["seed"], image)
    (work.output / "disk.img.bmap").write_text(disk.bmap(image, partitions))


def check_sizes(build: Build, partitions: Sequence[disk.Partition]) -> None:
    """Raises `UserError`, with every problem, when contents or disk are too large."""
    manifest, machine = build.manifest, build.machine
    problems = [
        manifest.problem(
            ("image", "storage", partition.name.removesuffix("-a")),
            f"the contents take {show_size(used)}, the partition has {show_size(size)}",
        )
        for partition in partitions
        if (used := partition.contents.stat().st_size) > (size := partition.size or used)
    ]
    if (needs := disk.disk_size(partitions)) > machine.storage_size:
        has = show_size(machine.storage_size)
        what = f"the image takes {show_size(needs)}, {machine.name} has {has}"
        problems.append(manifest.problem(("image", "storage"), what))
    if problems:
        raise UserError(*problems)


def compress(_tools: Tools, work: Work) -> None:
    """Compress the disk."""
    import zstandard

    image = work.inputs["disk"] / "disk.img"
    # The number of threads is fixed because one thread gives other bytes than several.
    compressor = zstandard.ZstdCompressor(level=work.step.options["level"], threads=2)
    with image.open("rb") as source, (work.output / "disk.img.zst").open("wb") as target:
        compressor.copy_stream(source, target, size=image.stat().st_size)


def packages(tools: Tools, work: Work) -> None:
    """List what the image holds, with versions, sizes and licences."""
    from imagebuilder.engines.debian.licenses import package_list

    files = _libraries(tools, work) | {device.SERVER_PATH: work.inputs["server"] / "inferd"}
    rows = package_list(tools.build, tools.root_packages(), work.inputs["kernel"], files)
    (work.output / "packages.json").write_text(json_text(rows))


ACTIONS: Mapping[str, Callable[[Tools, Work], None]] = {
    "server": server,
    "kernel": kernel,
    "root": root_image,
    "initrd": initrd,
    "models": models,
    "data": data,
    "esp": esp,
    "disk": gpt,
    "compress": compress,
    "packages": packages,
}
