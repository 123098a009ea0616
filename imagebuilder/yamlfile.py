"""YAML files of values only, with the place of every key, checked against a JSON Schema."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.state import default_cache

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000

Key = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file: plain values, and where each key stands."""

    path: Path
    data: dict[str, Any]
    marks: Mapping[Key, Location] = field(repr=False)

    def locate(self, *key: str | int) -> Location:
        """The place of a key, or of the nearest key above it that exists."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.marks:
                return self.marks[key[:length]]
        return Location(self.path)

    def problem(self, key: Key, what: str, hint: str = "") -> Problem:
        """A problem located at `key`."""
        return Problem(what, self.locate(*key), dotted(key), hint)


def dotted(key: Key) -> str:
    """`("models", 0, "bundle")` as `models[0].bundle`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load(path: Path, schema: str) -> YamlFile:
    """Read, parse and check a YAML file against `data/schemas/SCHEMA.schema.json`.

    Raises `UserError` with every problem found.
    """
    file = parse(path)
    problems = tuple(schema_problems(file, schema))
    if problems:
        raise UserError(*problems)
    return file


def parse(path: Path) -> YamlFile:
    """Read and parse a YAML file without a schema; `UserError` if it holds no mapping."""
    text = _read(path)
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        raise UserError(_syntax_problem(path, error)) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        what = str(error).splitlines()[0] if str(error) else "nested too deep"
        raise UserError(Problem(f"not valid YAML: {what}", Location(path))) from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(Problem("must hold keys and values", Location(path, 1, 1)))
    marks: dict[Key, Location] = {(): Location(path, 1, 1)}
    problems: list[Problem] = []
    data = _Values(path, marks, problems).value(node, (), 0)
    if problems:
        raise UserError(*problems)
    return YamlFile(path, data, marks)


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise UserError(Problem("no such file" if not path.exists() else kind, Location(path)))
        if path.stat().st_size > MAX_BYTES:
            raise UserError(Problem("larger than 1 MiB: not one of ours", Location(path)))
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(Problem(f"not UTF-8 at byte {error.start}", Location(path))) from error
    except OSError as error:
        raise UserError(Problem(f"cannot read: {error.strerror}", Location(path))) from error
    if not text.strip():
        raise UserError(Problem("the file is empty", Location(path)))
    return text


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _syntax_problem(path: Path, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path)
    return Problem(f"not valid YAML: {error.problem or error.context}", where)


class _Values:
    """Turns nodes into plain values, noting marks and problems as it goes."""

    def __init__(self, path: Path, marks: dict[Key, Location], problems: list[Problem]) -> None:
        self._path = path
        self._marks = marks
        self._problems = problems
        self._scalars = yaml.SafeLoader("")
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, key: Key, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            # Aliases of aliases grow without bound, so this one ends the reading.
            raise UserError(Problem(f"too many values, over {MAX_VALUES}", self._location(node)))
        if depth > MAX_DEPTH or id(node) in self._open:
            self._problem(node, key, "nested too deep")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, key, depth)
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, key, depth)
            return self._scalar(node, key)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = self._scalar(name_node, key)
            if not isinstance(name, str):
                self._problem(name_node, key, f"the key {name!r} must be text", "put it in quotes")
                continue
            inner = (*key, name)
            if name in result:
                first = self._marks[inner].line
                self._problem(name_node, inner, f"doubled key, first set in line {first}")
                continue
            self._marks[inner] = self._location(name_node)
            result[name] = self.value(value_node, inner, depth + 1)
        return result

    def _sequence(self, node: yaml.SequenceNode, key: Key, depth: int) -> list[Any]:
        result = []
        for index, item in enumerate(node.value):
            self._marks[*key, index] = self._location(item)
            result.append(self.value(item, (*key, index), depth + 1))
        return result

    def _scalar(self, node: yaml.Node, key: Key) -> Hashable:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node, key, "a key must be text")
            return None
        # 1.10 and 2026-11-23 are versions here: only what JSON knows has a type of its own.
        if node.tag in _TYPED:
            try:
                value: Hashable = self._scalars.construct_object(node)
                return value
            except (yaml.YAMLError, ValueError):
                return str(node.value)
        if node.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
            return str(node.value)
        self._problem(node, key, f"the tag {node.tag!r} is not allowed")
        return None

    def _location(self, node: yaml.Node) -> Location:
        return Location(self._path, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, key: Key, what: str, hint: str = "") -> None:
        self._problems.append(Problem(what, self._location(node), dotted(key), hint))


_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


def read_schema(name: str) -> dict[str, Any]:
    """A schema of `data/schemas/`, by name without ending."""
    source = resources.files("imagebuilder") / "data" / "schemas" / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(source.read_text("utf-8"))
    return schema


def schema_problems(file: YamlFile, schema: str) -> Iterator[Problem]:
    """Every way in which a file breaks its schema, in the order of the file.

    That one fits is remembered in the cache, under the digest of both.
    """
    wanted = read_schema(schema)
    fits = default_cache().root / "checked" / _digest(wanted, file.data)
    if fits.exists():
        return
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(wanted)
    found = [
        problem for error in validator.iter_errors(file.data) for problem in _explain(file, error)
    ]
    if not found:
        # A cache that cannot be written costs time only.
        with contextlib.suppress(OSError):
            fits.parent.mkdir(parents=True, exist_ok=True)
            fits.touch()
    yield from sorted(
        found, key=lambda p: (p.location.line, p.location.column) if p.location else (0, 0)
    )


def _digest(schema: Any, data: Any) -> str:
    return hashlib.sha256(repr((schema, data)).encode("utf-8", "surrogatepass")).hexdigest()


def _explain(file: YamlFile, error: Any) -> Iterator[Problem]:
    key = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from _unknown_keys(file, key, error)
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        # jsonschema reports each missing key on its own; its message names it in quotes.
        for name in missing:
            if error.message.startswith(repr(name)):
                yield file.problem(key, f"the key `{name}` is missing")
    elif error.validator in ("oneOf", "anyOf"):
        yield from _union(file, key, error)
    else:
        yield file.problem(key, _message(error), _hint(error))


def _hint(error: Any) -> str:
    number = isinstance(error.instance, int | float) and not isinstance(error.instance, bool)
    wants_text = error.validator == "type" and error.validator_value == "string"
    return "put it in quotes" if number and wants_text else ""


def _unknown_keys(file: YamlFile, key: Key, error: Any) -> Iterator[Problem]:
    import difflib

    known = list(error.schema.get("properties", {}))
    for name in error.instance:
        if name in known or any(
            re.search(p, name) for p in error.schema.get("patternProperties", {})
        ):
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
        yield file.problem((*key, name), "unknown key", hint)


def _union(file: YamlFile, key: Key, error: Any) -> Iterator[Problem]:
    """Of a union's branches, explain the one that the value comes nearest to."""
    branches: dict[int, list[Any]] = {}
    for sub in error.context:
        branches.setdefault(sub.schema_path[0], []).append(sub)
    fitting = [subs for subs in branches.values() if not any(_wrong_kind(s, key) for s in subs)]
    # With the keys of one branch only, it is the value of one that is wrong.
    alike = fitting or [subs for subs in branches.values() if _has_keys(subs, key)]
    if len(alike) == 1:
        for sub in alike[0]:
            yield from _explain(file, sub)
    else:
        forms = error.schema.get("x-forms", "see the reference")
        yield file.problem(key, f"{_show(error.instance)} fits none of the forms: {forms}")


def _has_keys(errors: list[Any], key: Key) -> bool:
    return all(len(error.absolute_path) > len(key) for error in errors)


def _wrong_kind(error: Any, key: Key) -> bool:
    """The value is of another kind than the branch, by type or by its discriminating key."""
    depth = len(error.absolute_path) - len(key)
    if depth == 0:
        return error.validator in ("type", "enum", "const", "required")
    return depth == 1 and error.validator in ("const", "enum")


_MESSAGES: dict[str, Callable[[str, Any], str]] = {
    "type": lambda value, limit: f"{value} must be {_type_name(limit)}",
    "enum": lambda value, limit: f"{value} is not one of {', '.join(map(str, limit))}",
    "const": lambda value, limit: f"{value} must be {limit!r}",
    "minimum": lambda value, limit: f"{value} is less than {limit}",
    "maximum": lambda value, limit: f"{value} is more than {limit}",
    "minItems": lambda _, limit: f"needs at least {limit} item{'s' if limit != 1 else ''}",
    "maxItems": lambda _, limit: f"has more than {limit} items",
    "minLength": lambda _value, _limit: "must not be empty",
    "uniqueItems": lambda _value, _limit: "has doubled items",
}


def _message(error: Any) -> str:
    value, limit = _show(error.instance), error.validator_value
    if error.validator == "pattern":
        return f"{value} {error.schema.get('x-pattern', f'does not match {limit}')}"
    text = _MESSAGES.get(error.validator)
    return text(value, limit) if text else str(error.message)


def _type_name(kind: str | list[str]) -> str:
    names = {
        "string": "text", "integer": "a whole number", "number": "a number", "null": "null",
        "boolean": "true or false", "array": "a list", "object": "keys and values",
    }  # fmt: skip
    return " or ".join(names[k] for k in ([kind] if isinstance(kind, str) else kind))


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
