"""The operators and types that converted models need, in ONNX Runtime's own text form.

A line is `domain;opset;Op1,Op2`; an operator may have the types it is used with behind it, as JSON
("reduced operator configuration", onnxruntime's docs/Reduced_Operator_Kernel_build.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Types = Mapping[str, Any]
"""How an operator is used: {"inputs": {"0": ["float"]}}, {"outputs": ...} or {"custom": [...]}."""


@dataclass(frozen=True, slots=True)
class Operators:
    """`opsets` is (domain, opset) → operator types; `types` is (domain, operator) → its types.

    An operator without types is needed for all of them.
    """

    opsets: Mapping[tuple[str, int], frozenset[str]]
    types: Mapping[tuple[str, str], Types]


def parse_operators(lines: Iterable[str]) -> Operators:
    """Read the text form; comments and empty lines are skipped. `ValueError` for any other text."""
    opsets: dict[tuple[str, int], frozenset[str]] = {}
    types: dict[tuple[str, str], Types] = {}
    for line in lines:
        text = line.split("#")[0].strip()
        if not text:
            continue
        domain, opset, names = text.split(";", 2)
        found = dict(_entries(names))
        key = (domain, int(opset))
        opsets[key] = opsets.get(key, frozenset()) | found.keys()
        for name, used in found.items():
            if used is not None:
                types[domain, name] = _union(types.get((domain, name), {}), used)
    return Operators(opsets, types)


def _entries(text: str) -> Iterator[tuple[str, Types | None]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] not in ",{":
            end += 1
        name, used = text[at:end].strip(), None
        if end < len(text) and text[end] == "{":
            used, end = decoder.raw_decode(text, end)
        if not name or (end < len(text) and text[end] != ","):
            raise ValueError(f"{text!r} is not a list of operators")
        yield name, used
        at = end + 1


def merge_operators(parts: Iterable[Operators]) -> Operators:
    """What all of them need together."""
    opsets: dict[tuple[str, int], frozenset[str]] = {}
    types: dict[tuple[str, str], Types] = {}
    for part in parts:
        for key, names in part.opsets.items():
            opsets[key] = opsets.get(key, frozenset()) | names
        for operator, used in part.types.items():
            types[operator] = _union(types.get(operator, {}), used)
    return Operators(opsets, types)


def _union(left: Any, right: Any) -> Any:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        keys = sorted({*left, *right})
        return {k: _union(left[k], right[k]) if k in left and k in right
                else left.get(k, right.get(k)) for k in keys}  # fmt: skip
    return sorted([*left, *(item for item in right if item not in left)])


def operators_text(operators: Operators) -> str:
    """The text form, sorted: the same operators give the same bytes."""
    lines = []
    for (domain, opset), names in sorted(operators.opsets.items()):
        entries = (
            name + _types_text(operators.types.get((domain, name))) for name in sorted(names)
        )
        lines.append(f"{domain};{opset};{','.join(entries)}\n")
    return "".join(lines)


def _types_text(used: Types | None) -> str:
    return "" if used is None else json.dumps(used, sort_keys=True)
