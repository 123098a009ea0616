"""Why a sealed bundle is refused."""

from __future__ import annotations

from typing import Any

from imagebuilder.errors import UserError


class BundleError(UserError):
    """A bundle breaks a rule; `code` is one of docs/reference/bundle-format.md."""

    def __init__(self, code: str, what: str, folder: str = "") -> None:
        self.code = code
        self.what = what
        super().__init__(f"{folder}: {code}: {what}" if folder else f"{code}: {what}")


def no_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=...)`: `ValueError` for a doubled key."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is doubled")
    return result
