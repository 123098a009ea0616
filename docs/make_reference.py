"""Writes docs/reference/*.md from schemas and docstrings: `python docs/make_reference.py`.

`tests/unit/test_docs.py` holds the result to the schemas.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuilder.yamlfile import read_schema

FOLDER = Path(__file__).parent / "reference"
SCHEMAS = ("manifest", "machine", "runtime", "series", "bundle-source", "lock", "parity")


def main() -> None:
    """Write every page."""
    for name in SCHEMAS:
        (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
    (FOLDER / "testing-api.md").write_text(testing_page(), encoding="utf-8")


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


TESTING = Path(__file__).parents[1] / "imagebuilder" / "testing"


def testing_page() -> str:
    """The fixtures of the pytest plugin and the verbs of a target, from their docstrings."""
    plugin = ast.parse((TESTING / "plugin.py").read_text("utf-8"))
    target = ast.parse((TESTING / "target.py").read_text("utf-8"))
    (verbs,) = [n for n in target.body if isinstance(n, ast.ClassDef) and n.name == "Target"]
    fixtures = [n for n in _public(plugin) if "fixture" in map(_called, n.decorator_list)]
    return "\n".join([
        "# Testing API",
        "",
        "What tests of an image are written with; "
        "[Write tests](../how-to/write-tests.md) shows it in use.",
        "This page is made from the docstrings of `imagebuilder.testing`.",
        "",
        "## Fixtures",
        "",
        *(f"- `{node.name}`: {_text(node)}" for node in fixtures),
        "",
        "The mark `fresh` has a test start from the target as it was right after its boot.",
        "",
        "## The target",
        "",
        _text(verbs),
        "",
        *(f"- `target.{_signature(node)}`: {_text(node)}" for node in _public(verbs)),
        "",
    ])  # fmt: skip


def _public(tree: ast.Module | ast.ClassDef) -> list[ast.FunctionDef]:
    return [node for node in tree.body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            and node.name != "prepare"]  # fmt: skip


def _called(node: ast.expr) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _signature(node: ast.FunctionDef) -> str:
    if any("property" in _called(d) for d in node.decorator_list):
        return node.name
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    return f"{node.name}({arguments})"


def _text(node: ast.FunctionDef | ast.ClassDef) -> str:
    return " ".join((ast.get_docstring(node) or "").split())


if __name__ == "__main__":
    main()
