"""The SPDX 3 document of an engine, as far as ours refers to it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENGINE_SBOM = "sbom.engine.spdx.json"
"""Where the document lies beside ours."""


@dataclass(frozen=True, slots=True)
class EngineDocument:
    """Identifiers of its elements: root packages, installed packages by name, files by SHA-256."""

    sha256: str
    roots: tuple[str, ...]
    packages: Mapping[str, str]
    files: Mapping[str, str]


def read_engine_document(raw: bytes) -> EngineDocument | None:
    """None for what is no SPDX 3 document, as OE-core's SPDX 2 of older series."""
    try:
        graph = [e for e in json.loads(raw)["@graph"] if isinstance(e, dict)]
        roots = {root for e in graph if e["type"] == "software_Sbom" for root in e["rootElement"]}
        packages = [e for e in graph if e["type"] == "software_Package"]
        files = [e for e in graph if e["type"] == "software_File"]
        if not roots:
            return None
        return EngineDocument(
            hashlib.sha256(raw).hexdigest(),
            tuple(e["spdxId"] for e in packages if e["spdxId"] in roots),
            {e["name"]: e["spdxId"] for e in packages if _is_installed(e)},
            {h: e["spdxId"] for e in files if e["spdxId"] in roots for h in _hashes(e)},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_installed(element: Mapping[str, Any]) -> bool:
    return element.get("software_primaryPurpose") == "install"


def _hashes(element: Mapping[str, Any]) -> list[str]:
    return [item["hashValue"] for item in element.get("verifiedUsing", ())
            if item.get("algorithm") == "sha256"]  # fmt: skip
