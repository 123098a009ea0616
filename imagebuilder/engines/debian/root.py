"""The contents of the root, the initramfs and the models partition."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from imagebuilder import device
from imagebuilder.bundle.reader import read_files
from imagebuilder.catalog import shipped
from imagebuilder.devicefiles import (
    SERVER,
    TEXT_SERVER,
    device_nodes,
    devices_text,
    image_info,
    json_text,
    server_config,
    serves,
    text_config,
)
from imagebuilder.engines.debian import config
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.resolve import Build
from imagebuilder.services import service_path, service_script

DROP = (
    "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*",
    "usr/share/lintian/*", "usr/share/bug/*", "usr/share/initramfs-tools/*", "usr/share/gdb/*",
    "usr/share/doc-base/*", "usr/share/menu/*", "usr/share/gcc/*", "usr/include/*",
    "usr/lib/*/gconv/*", "usr/lib/*/libc_malloc_debug*", "usr/lib/*/libmemusage*",
    "usr/lib/*/libpcprofile*", "usr/lib/*/libnss_hesiod*", "usr/lib/*/libnss_compat*",
    "usr/lib/*/libthread_db*", "usr/lib/*.a", "etc/init.d/*", "etc/default/*", "etc/systemd/*",
    "usr/lib/systemd/*", "usr/share/bash-completion/*", "usr/share/llama.cpp/*",
    "usr/bin/llama-cli", "usr/bin/llama-completion", "usr/bin/llama-quantize",
    "usr/sbin/e2fsck.static",
)  # fmt: skip
"""Files of packages that a device has no use for; user packages lose them too."""

LIBEXEC = "usr/libexec/imagebuilder"


SCRIPTS = {
    "rc": "recipes-core/imagebuilder-init/files/rc",
    "announce": "recipes-core/imagebuilder-init/files/announce",
    "check-files": "recipes-core/imagebuilder-init/files/check-files",
    "udhcpc": "recipes-core/imagebuilder-init/files/udhcpc",
    "credential": "recipes-inference/inferd/files/credential",
    "serve": "recipes-inference/inferd/files/serve",
    "explain": "recipes-inference/inferd/files/explain",
    "serve-text": "recipes-runtimes/llama-cpp/files/serve-text",
    "agent": "recipes-core/imagebuilder-agent/files/agent",
}
"""Scripts that both engines put on a device: their places in `layers/meta-imagebuilder`."""


def data_file(name: str) -> str:
    """A file of `imagebuilder/data/debian`."""
    path = resources.files("imagebuilder") / "data" / "debian" / name
    return path.read_text("utf-8")


def script(name: str) -> str:
    """One of `SCRIPTS`."""
    return layer_file(SCRIPTS[name])


def layer_file(path: str) -> str:
    """A file of `layers/meta-imagebuilder`."""
    return (shipped("layers") / "meta-imagebuilder" / path).read_text("utf-8")


def root_tree(
    build: Build, debs: tuple[Path, ...], libraries: dict[str, Path], server: Path
) -> Tree:
    """All files of the root: packages, runtime libraries by device path, server, configuration."""
    tree = Tree()
    for deb in debs:
        tree.add_package(deb, DROP)
    for folder in ("bin", "sbin", "lib"):
        tree.link(folder, f"usr/{folder}")
    if "usr/lib64" in tree.entries:
        tree.link("lib64", "usr/lib64")
    _add_applets(tree)
    for path, library in libraries.items():
        tree.file(path, library.read_bytes(), 0o755)
    tree.file(device.SERVER_PATH, server.read_bytes(), 0o755)
    _add_configuration(tree, build)
    _add_own_files(tree, build)
    tree.file(device.DIGESTS_PATH, tree.digests())
    return tree


def _add_applets(tree: Tree) -> None:
    for name in data_file("busybox-applets.txt").split():
        for folder in ("usr/bin", "usr/sbin"):
            if f"{folder}/{name}" in tree.entries:
                break
        else:
            tree.link(f"usr/bin/{name}", "busybox")
    tree.link("usr/sbin/init", "../bin/busybox")


def _add_configuration(tree: Tree, build: Build) -> None:
    for name in ("boot", "data", "dev", "models", "proc", "run", "sys", "tmp"):
        tree.folder(name)
    tree.file("etc/passwd", config.passwd())
    tree.file("etc/group", config.group())
    tree.file("etc/hostname", build.manifest.image.hostname + "\n")
    hosts = f"127.0.0.1 localhost {build.manifest.image.hostname}\n"
    tree.file("etc/hosts", hosts)
    tree.file("etc/os-release", config.os_release(build))
    tree.file("etc/inittab", config.inittab(build))
    tree.file("etc/shells", "/bin/sh\n")
    tree.link("etc/resolv.conf", "/run/resolv.conf")
    tree.link("etc/machine-id", "/data/machine-id")
    tree.link("etc/mtab", "/proc/mounts")
    if serves(build, SERVER):
        settings = server_config(build, config.libraries(build))
        tree.file(device.SERVER_CONFIG_PATH, json_text(settings))
    if nodes := device_nodes(build):
        tree.file(device.SERVER_DEVICES_PATH, devices_text(nodes))
    if serves(build, TEXT_SERVER):
        tree.file(device.TEXT_CONFIG_PATH, text_config(build))
    tree.file(device.IMAGE_PATH, json_text(image_info(build)))
    left_out = {"serve", "serve-text"} - set(config.serve_scripts(build))
    if "serve" in left_out:
        left_out.add("credential")
    for name in SCRIPTS:
        if name not in left_out:
            tree.file(f"{LIBEXEC}/{name}", script(name), 0o755)


def _add_own_files(tree: Tree, build: Build) -> None:
    image = build.manifest.image
    keys = "".join(path.read_text("utf-8").rstrip("\n") + "\n" for path in image.authorized_keys)
    if keys:
        tree.folder("etc/dropbear", 0o700)
        tree.file("etc/dropbear/authorized_keys", keys, 0o600)
    for file in image.files:
        tree.file(file.path, file.source.read_bytes(), file.mode)
    for index, path in enumerate(image.services):
        tree.file(service_path(index, path), service_script(path), 0o755)


STORAGE = "recipes-core/imagebuilder-init/files/storage"
"""Functions of `init`, and of what takes its place in an image of Yocto."""


def initrd_tree(busybox: bytes, e2fsck: bytes, kernel: Path) -> Tree:
    """The initramfs: busybox, e2fsck, the modules in their order, and `init`."""
    tree = Tree()
    for name in ("dev", "proc", "sys", "root"):
        tree.folder(name)
    tree.file("bin/busybox", busybox, 0o755)
    for name in data_file("busybox-applets.txt").split():
        tree.link(f"bin/{name}", "busybox")
    tree.file("bin/e2fsck", e2fsck, 0o755)
    tree.file("bin/check-files", script("check-files"), 0o755)
    tree.file("storage", layer_file(STORAGE))
    tree.file("modules/order", (kernel / "order").read_bytes())
    for module in sorted((kernel / "modules").iterdir()):
        tree.file(f"modules/{module.name}", module.read_bytes())
    tree.file("init", data_file("init"), 0o755)
    return tree


def models_tree(build: Build) -> Tree:
    """The models partition: one folder a sealed bundle."""
    tree = Tree()
    for model in sorted(build.models, key=lambda model: model.request.bundle):
        files = read_files(model.bundle, signed=build.trust is not None)
        for name, raw in files.items():
            tree.file(f"{model.request.bundle}/{name}", raw)
    return tree
