"""Names and expressions as OpenEmbedded writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

NO_WEIGHTS_LICENSE = "not-separate"


def recipe_version(version: str) -> str:
    """A version as PV: package managers keep the hyphen for themselves."""
    return version.replace("-", "+")


def bundle_recipe(model: str) -> str:
    """The recipe, and the package, of a model bundle."""
    return f"model-bundle-{model}"


def license_expression(license_: Mapping[str, str]) -> str:
    """Code and weights licence of a bundle as LICENSE, with `&` and `|` as both series want it."""
    parts = [license_["code"], license_["weights"]]
    parts = [part for part in dict.fromkeys(parts) if part != NO_WEIGHTS_LICENSE]
    return " & ".join(_operators(part, alone=len(parts) == 1) for part in parts)


def _operators(expression: str, *, alone: bool) -> str:
    text = re.sub(r"\s+AND\s+", " & ", re.sub(r"\s+OR\s+", " | ", expression))
    return text if alone or "|" not in text else f"({text})"


def bitbake_value(text: str) -> str:
    """Text for a double-quoted assignment in a .conf or recipe."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
