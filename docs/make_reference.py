"""Writes docs/reference/*.md from the JSON Schemas: `python docs/make_reference.py`.

`tests/unit/test_docs.py` holds the result to the schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuilder.yamlfile import read_schema

FOLDER = Path(__file__).parent / "reference"
SCHEMAS = ("manifest", "machine", "runtime", "series", "bundle-source", "lock")


def main() -> None:
    """Write every page."""
    for name in SCHEMAS:
        (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")


def page(name: str) -> str:
    """The page of one schema."""
    schema = read_schema(name)
    head = [
        f"# {schema['title']}",
        "",
        schema["description"],
        f"This page is made from the schema; `imagebuilder export schema {name}` prints it.",
        "",
        "| key | values | default | meaning |",
        "|---|---|---|---|",
    ]
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in
            _rows(schema, schema, "")]  # fmt: skip
    return "\n".join([*head, *rows]) + "\n"


Row = tuple[str, str, str, str]


def _rows(root: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[Row]:
    required = schema.get("required", ())
    for name, raw in schema.get("properties", {}).items():
        part = _resolve(root, raw)
        key = f"{prefix}{name}"
        default = _default(part, name in required)
        yield key, _kind(root, part), default, part.get("description", "")
        yield from _below(root, part, key)


def _below(root: dict[str, Any], part: dict[str, Any], key: str) -> Iterator[Row]:
    yield from _rows(root, part, f"{key}.")
    if "items" in part:
        item = _resolve(root, part["items"])
        yield from _rows(root, item, f"{key}[].")
        for branch in item.get("oneOf", ()):
            yield from _rows(root, _resolve(root, branch), f"{key}[].")
    for branch in part.get("oneOf", ()):
        yield from _rows(root, _resolve(root, branch), f"{key}.")
    if isinstance(part.get("additionalProperties"), dict):
        inner = _resolve(root, part["additionalProperties"])
        yield from _below(root, inner, f"{key}.NAME")


def _resolve(root: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    target = root["$defs"][part["$ref"].rsplit("/", 1)[1]]
    return {**target, **{key: value for key, value in part.items() if key != "$ref"}}


def _default(part: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    if "default" not in part:
        return ""
    value = part["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(root: dict[str, Any], part: dict[str, Any]) -> str:
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "oneOf" in part:
        return str(part.get("x-forms", ""))
    names = {"object": "keys", "array": "list", "string": "text", "integer": "whole number"}
    kinds = part.get("type", "")
    if kinds == "array":
        inner = _kind(root, _resolve(root, part.get("items", {})))
        return f"list of {inner}" if inner else "list"
    if isinstance(kinds, list):
        return "size" if "MiB" in part.get("x-pattern", "") else " or ".join(
            names.get(kind, kind) for kind in kinds
        )  # fmt: skip
    return names.get(kinds, kinds)


if __name__ == "__main__":
    main()
