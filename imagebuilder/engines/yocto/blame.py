"""Which line of the manifest asked for what BitBake failed at. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagebuilder.errors import BuildError, Problem
from imagebuilder.manifest import Manifest
from imagebuilder.yamlfile import Key


def located(manifest: Manifest, error: BuildError) -> BuildError:
    """The error with the places in the manifest that its lines lead to, if there are any."""
    places = [str(problem) for problem in _problems(manifest, "\n".join(error.details))]
    if not places:
        return error
    return BuildError(error.what, details=[*places, *error.details], hint=error.hint)


def _problems(manifest: Manifest, text: str) -> Iterator[Problem]:
    named: list[tuple[Key, str, str]] = [
        (("kernel", "fragments", index), path.name, rf"(?<![\w./-]){re.escape(path.name)}:\d+: ")
        for index, path in enumerate(manifest.kernel.fragments)
    ]
    named += [
        (("yocto", "packages", index), name, rf"Nothing R?PROVIDES '{re.escape(name)}'")
        for index, name in enumerate(manifest.yocto.packages)
    ]
    for key, name, pattern in named:
        if re.search(pattern, text):
            yield manifest.problem(key, f"{name} is asked for here")
