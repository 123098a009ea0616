"""Text files of the root, rendered from a build. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.devicefiles import SERVER, TEXT_SERVER, serves
from imagebuilder.errors import Problem
from imagebuilder.resolve import Build, BuildModel
from imagebuilder.services import USERS, service_path


def ignored(build: Build) -> Iterator[Problem]:
    """What the manifest asks for and only another engine does."""
    if build.manifest.kernel.fragments:
        what = "the engine debian takes Debian's kernel as it is and applies none"
        yield build.manifest.problem(("kernel", "fragments"), what)


def runtime_path(model: BuildModel) -> str:
    """Where a model's runtime library lies on the device."""
    source = model.target.debian
    assert source is not None
    return source.path or f"/usr/lib/lib{model.runtime.name}.so"


def libraries(build: Build) -> dict[str, str]:
    """What inferd calls a runtime → path of its library on the device."""
    return {
        model.runtime.backend: runtime_path(model)
        for model in build.models
        if model.runtime.server == SERVER
    }


def serve_scripts(build: Build) -> tuple[str, ...]:
    """The scripts that run the image's servers."""
    scripts = {SERVER: "serve", TEXT_SERVER: "serve-text"}
    return tuple(script for server, script in scripts.items() if serves(build, server))


def os_release(build: Build) -> str:
    """/etc/os-release."""
    manifest = build.manifest
    return (
        "ID=imagebuilder\nNAME=imagebuilder\n"
        f'PRETTY_NAME="{manifest.name} {manifest.version}"\n'
        f"IMAGE_ID={manifest.name}\nIMAGE_VERSION={manifest.version}\n"
        f"VARIANT_ID={build.variant}\n"
    )


def inittab(build: Build) -> str:
    """busybox init's table: start-up, what is kept alive, what happens at the end."""
    lines = [
        "::sysinit:/usr/libexec/imagebuilder/rc",
        "::respawn:udhcpc -f -i eth0 -s /usr/libexec/imagebuilder/udhcpc"
        " -x hostname:" + build.manifest.image.hostname,
        *(f"::respawn:/usr/libexec/imagebuilder/{name}" for name in serve_scripts(build)),
        "::once:/usr/libexec/imagebuilder/announce",
        "::respawn:/usr/libexec/imagebuilder/agent",
        "::askfirst:-/bin/sh",
    ]
    if build.manifest.image.authorized_keys:
        lines.append(
            "::respawn:/usr/sbin/dropbear -F -E -s -k -p 22 -r /data/ssh/ed25519 -D /etc/dropbear"
        )
    for index, path in enumerate(build.manifest.image.services):
        lines.append(f"::respawn:{service_path(index, path)}")
    lines += ["::ctrlaltdel:/sbin/reboot", "::shutdown:/bin/sync", "::shutdown:/bin/umount -a -r"]
    return "".join(f"{line}\n" for line in lines)


def passwd() -> str:
    """/etc/passwd: nobody has a password, only root a shell."""
    rows = [f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in USERS.items() if uid]
    return "".join(["root:x:0:0:root:/run:/bin/sh\n", *rows])


def group() -> str:
    """/etc/group."""
    return "".join(f"{name}:x:{uid}:\n" for name, uid in USERS.items())
