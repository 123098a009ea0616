"""The steps of a build as data. Pure, except for the digests of the user's own files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagebuilder import device
from imagebuilder.catalog import shipped
from imagebuilder.crossbuild import compiler_flags, source_digest, toolchain_version
from imagebuilder.devicefiles import (
    TEXT_SERVER,
    device_nodes,
    image_info,
    server_config,
    serves,
    text_config,
)
from imagebuilder.engines.debian import config
from imagebuilder.engines.debian.disk import EXT4
from imagebuilder.engines.debian.packages import package_set, root_packages
from imagebuilder.engines.debian.root import DROP, SCRIPTS, STORAGE, data_file, layer_file, script
from imagebuilder.engines.locking import tool_set
from imagebuilder.hosttools import toolbox_digest
from imagebuilder.package import PackageSet
from imagebuilder.plan import FileInput, Plan, Step
from imagebuilder.resolve import Build
from imagebuilder.state import sha256_file

REVISION = "3"
"""Raised when an action gives another result for the same inputs."""


def make_plan(build: Build) -> Plan:
    """All steps; a set of packages counts by the digests of its packages."""
    tools = {"image-tools": toolbox_digest(tool_set(build, "image")), "revision": REVISION}
    storage = build.manifest.image.storage
    steps = [
        _server(build),
        Step("kernel", "kernel",
             {**_packages(build, "kernel"), "modules": wanted_modules(build)},
             tools={"revision": REVISION}),
        Step("root", "root", _root_options(build), _own_files(build),
             ("server",), tools),
        Step("initrd", "initrd", {**_packages(build, "image"), "init": data_file("init"),
             "storage": layer_file(STORAGE), "check-files": script("check-files"),
             "applets": data_file("busybox-applets.txt")}, {}, ("kernel",),
             {"revision": REVISION}),
        Step("models", "models",
             {"bundles": {m.request.bundle: m.bundle.digest for m in build.models},
              **({"signed_by": build.trust.key_text()} if build.trust else {})}, tools=tools),
        Step("data", "data", {"size": storage.data, "format": list(EXT4)}, tools=tools),
    ]  # fmt: skip
    after = ["root", "models", "data"]
    if uefi(build):
        options = {**_packages(build, "sysroot"), "command_line": command_line(build),
                   "arch": build.machine.arch}  # fmt: skip
        steps.append(Step("esp", "esp", options, {}, ("kernel", "initrd"), tools))
        after.append("esp")
    sizes = {device.ROOT: storage.root, device.MODELS: storage.models, device.DATA: None}
    disk = {"sizes": sizes, "arch": build.machine.arch, "seed": seed(build)}
    steps.append(Step("disk", "disk", disk, {}, tuple(after), tools))
    steps.append(Step("compress", "compress", {"level": 9}, {}, ("disk",), {"revision": REVISION}))
    listing = {**_root_packages(build), "kernel": _packages(build, "kernel")["packages"],
               "runtimes": _runtimes(build), "dropped": list(DROP),
               "models": {m.request.bundle: m.bundle.digest for m in build.models}}  # fmt: skip
    steps.append(
        Step("packages", "packages", listing, {}, ("kernel", "server"), {"revision": REVISION})
    )
    return Plan("debian", tuple(steps))


def uefi(build: Build) -> bool:
    """Whether the disk boots by itself."""
    return build.machine.debian is not None and build.machine.debian.boot == "uefi"


def command_line(build: Build) -> str:
    """The kernel's command line; no address is asked for by the kernel itself."""
    assert build.machine.debian is not None
    words = [f"console={build.machine.debian.console}", "ipv6.disable=1", "panic=-1", "quiet",
             "loglevel=4", *build.manifest.kernel.command_line]  # fmt: skip
    return " ".join(words)


def wanted_modules(build: Build) -> list[str]:
    """Modules loaded before the root is mounted."""
    assert build.machine.debian is not None
    return [*build.machine.debian.modules, *build.manifest.kernel.modules]


def seed(build: Build) -> str:
    """What the disk's identifiers depend on."""
    return f"{build.manifest.name}/{build.manifest.version}/{build.machine.name}"


def _server(build: Build) -> Step:
    arch = build.machine.arch
    options = {"arch": arch, "flags": compiler_flags(arch), **_packages(build, "sysroot")}
    tools = {"zig": toolchain_version(), "source": source_digest(shipped("inferd"))}
    return Step("server", "server", options, tools={**tools, "revision": REVISION})


def _packages(build: Build, role: str) -> dict[str, Any]:
    return {"packages": _digests(package_set(build, role))}


def _root_packages(build: Build) -> dict[str, Any]:
    return {"packages": _digests(root_packages(build))}


def _digests(packages: PackageSet) -> list[str]:
    return [f"{p.name} {p.version} {p.sha256}" for p in packages.packages]


def _runtimes(build: Build) -> dict[str, Any]:
    return {
        model.runtime.name: {
            "version": model.target.version,
            "path": config.runtime_path(model),
            "license": model.runtime.license,
            "sha256": _library_digest(model.target.debian),
        }
        for model in build.models
    }


def _library_digest(source: Any) -> str | None:
    return source.wheel.sha256 if source is not None and source.wheel else None


def _root_options(build: Build) -> dict[str, Any]:
    texts = {name: script(name) for name in SCRIPTS}
    texts["busybox-applets.txt"] = data_file("busybox-applets.txt")
    return {
        **_root_packages(build),
        "runtimes": _runtimes(build),
        "server": server_config(build, config.libraries(build)),
        "devices": list(device_nodes(build)),
        "text": text_config(build) if serves(build, TEXT_SERVER) else "",
        "info": image_info(build),
        "inittab": config.inittab(build),
        "hostname": build.manifest.image.hostname,
        "scripts": {name: hashlib.sha256(text.encode()).hexdigest()
                    for name, text in texts.items()},
        "files": [[file.path, file.mode] for file in build.manifest.image.files],
    }  # fmt: skip


def _own_files(build: Build) -> dict[str, FileInput]:
    image = build.manifest.image
    return {
        **_inputs("key", image.authorized_keys),
        **_inputs("file", (file.source for file in image.files)),
        **_inputs("service", image.services),
    }


def _inputs(role: str, paths: Iterable[Path]) -> dict[str, FileInput]:
    return {f"{role}-{i}": FileInput(path, sha256_file(path)) for i, path in enumerate(paths)}
