"""The list of what an image holds: versions, digests, and licences as the packages state them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuilder.engines.debian import config
from imagebuilder.engines.debian.packages import package_set
from imagebuilder.resolve import Build
from imagebuilder.run import run


def package_list(build: Build, debs: Mapping[str, tuple[Path, ...]]) -> list[dict[str, Any]]:
    """One row a package, runtime and model; `debs` are the packages by role, in locked order."""
    rows = [
        {"kind": "package", "name": package.name, "version": package.version,
         "sha256": package.sha256, "licenses": licenses(deb)}
        for role, files in debs.items()
        for package, deb in zip(package_set(build, role).packages, files, strict=True)
    ]  # fmt: skip
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
