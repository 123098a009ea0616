"""The list of what an image holds: versions, digests, sizes, licences as packages state them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebuilder import __version__, device
from imagebuilder.bundle.reader import MANIFEST, SealedBundle
from imagebuilder.devicefiles import SERVER
from imagebuilder.engines.debian import config
from imagebuilder.engines.debian.packages import package_set, root_packages
from imagebuilder.engines.debian.root import DROP
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.package import Package
from imagebuilder.resolve import Build
from imagebuilder.run import run
from imagebuilder.state import sha256_file

KERNEL = re.compile(r"linux-image-\d")


def package_list(
    build: Build, debs: Sequence[Path], kernel: Path, files: Mapping[str, Path]
) -> list[dict[str, Any]]:
    """One row a package, runtime, server and model; sizes are bytes in the image, not compressed.

    `debs` are those of `root_packages`, `kernel` the output of its step, `files` the runtimes'
    libraries by their path on the device, and the server by its own.
    """
    copyright_text = (kernel / "copyright").read_text("utf-8", "replace")
    rows = [
        _row(package, licenses(deb), root_size(deb))
        for package, deb in zip(root_packages(build).packages, debs, strict=True)
    ]
    size = (kernel / "vmlinuz").stat().st_size
    rows += [
        # The package that only names the current kernel has nothing in the image.
        _row(package, parse_copyright(copyright_text), size if KERNEL.match(package.name) else 0)
        for package in package_set(build, "kernel").packages
    ]
    for model in build.models:
        wheel = model.target.debian.wheel if model.target.debian else None
        if wheel is not None:
            rows.append({"kind": "runtime", "name": model.runtime.name,
                         "version": model.target.version, "sha256": wheel.sha256,
                         "path": config.runtime_path(model),
                         "size": files[config.runtime_path(model)].stat().st_size,
                         "licenses": [model.runtime.license]})  # fmt: skip
        description = model.bundle.description
        rows.append({"kind": "model", "name": description.name, "version": description.version,
                     "sha256": model.bundle.digest.removeprefix("sha256:"),
                     "size": bundle_size(model.bundle),
                     "licenses": sorted(set(description.license.values()))})  # fmt: skip
    if (server := files.get(device.SERVER_PATH)) is not None:
        rows.append({"kind": "server", "name": SERVER, "version": __version__,
                     "sha256": sha256_file(server), "path": device.SERVER_PATH,
                     "size": server.stat().st_size, "licenses": ["MIT"]})  # fmt: skip
    unique = {(row["kind"], row["name"]): row for row in rows}
    return [unique[key] for key in sorted(unique)]


def root_size(deb: Path) -> int:
    """Bytes of a package's files that get into the root."""
    tree = Tree()
    tree.add_package(deb, DROP)
    return sum(len(entry.data) for entry in tree.entries.values())


def bundle_size(bundle: SealedBundle) -> int:
    """Bytes of a bundle's files."""
    listed = sum(entry.size for entry in bundle.description.files.values())
    return listed + (bundle.folder / MANIFEST).stat().st_size


def _row(package: Package, names: list[str], size: int) -> dict[str, Any]:
    return {"kind": "package", "name": package.name, "version": package.version,
            "sha256": package.sha256, "size": size, "licenses": names}  # fmt: skip


def licenses(deb: Path) -> list[str]:
    """The licences named in a package's copyright file, as it names them (DEP-5), sorted.

    Empty where the file is in no machine-readable form or lies in another package.
    """
    archive = run(["dpkg-deb", "--fsys-tarfile", deb]).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if re.fullmatch(r"\./usr/share/doc/[^/]+/copyright", member.name) and member.isreg():
                stream = tar.extractfile(member)
                assert stream is not None
                return parse_copyright(stream.read().decode("utf-8", "replace"))
    return []


def parse_copyright(text: str) -> list[str]:
    """The short names of `License:` fields (Debian's copyright format 1.0)."""
    if not text.lstrip().startswith("Format:"):
        return []
    return sorted(set(re.findall(r"^License:[ \t]*(\S.*?)\s*$", text, re.M)))
