"""The operators that a cut runtime is built with: those of the image's models, no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from imagebuilder.errors import Problem
from imagebuilder.operators import merge_operators, operators_text, parse_operators
from imagebuilder.resolve import Build, BuildModel


def operators_file(build: Build) -> dict[str, bytes]:
    """Name and contents of the operator configuration; empty if no model takes a cut runtime.

    The name holds the digest: the runtime is built anew if the operators changed, not the models.
    """
    parts = [parse_operators(_lines(m)) for m in build.models if m.target.yocto_cut]
    if not parts:
        return {}
    text = operators_text(merge_operators(parts)).encode()
    return {f"operators-{hashlib.sha256(text).hexdigest()[:12]}.config": text}


def operators_problems(build: Build) -> Iterator[Problem]:
    """Models of a cut runtime whose sealed bundle does not say what they need."""
    for index, model in enumerate(build.models):
        if model.target.yocto_cut and not _lines(model):
            name = model.bundle.description.name
            what = f"{name} does not say which operators it needs, {model.runtime.name} has to know"
            hint = "build the model bundle with `ort-format` as its last step"
            yield build.manifest.problem(("models", index, "bundle"), what, hint)


def _lines(model: BuildModel) -> list[str]:
    if "report.json" not in model.bundle.description.files:
        return []
    report = json.loads((model.bundle.folder / "report.json").read_bytes())
    return [str(line) for line in report.get("required_operators", ())]
