"""The list of what an image holds: versions, digests, and licences as the packages state them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebuilder.engines.debian import config
from imagebuilder.engines.debian.packages import package_set, root_packages
from imagebuilder.package import Package
from imagebuilder.resolve import Build
from imagebuilder.run import run


def package_list(build: Build, debs: Sequence[Path], kernel_copyright: str) -> list[dict[str, Any]]:
    """One row a package, runtime and model; `debs` are those of `root_packages`."""
    rows = [
        _row(package, licenses(deb))
        for package, deb in zip(root_packages(build).packages, debs, strict=True)
    ]
    rows += [
        _row(package, parse_copyright(kernel_copyright))
        for package in package_set(build, "kernel").packages
    ]
    for model in build.models:
        wheel = model.target.debian.wheel if model.target.debian else None
        if wheel is not None:
            rows.append({"kind": "runtime", "name": model.runtime.name,
                         "version": model.target.version, "sha256": wheel.sha256,
                         "path": config.runtime_path(model),
                         "licenses": [model.runtime.license]})  # fmt: skip
        description = model.bundle.description
        rows.append({"kind": "model", "name": description.name, "version": description.version,
                     "sha256": model.bundle.digest.removeprefix("sha256:"),
                     "licenses": sorted(set(description.license.values()))})  # fmt: skip
    unique = {(row["kind"], row["name"]): row for row in rows}
    return [unique[key] for key in sorted(unique)]


def _row(package: Package, names: list[str]) -> dict[str, Any]:
    return {"kind": "package", "name": package.name, "version": package.version,
            "sha256": package.sha256, "licenses": names}  # fmt: skip


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
