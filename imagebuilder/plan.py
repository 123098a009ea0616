"""The plan: what will be done, as data that can be printed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file that a step reads; only its digest and mode-free content count, never its path."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work.

    `action` names the function in the engine's table, `options` is JSON data, `files` are inputs by
    role, `after` are earlier steps whose outputs it reads, `tools` are versions or digests of what
    does the work.
    """

    name: str
    action: str
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileInput] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which each follows those it reads from."""

    engine: str
    steps: tuple[Step, ...]


def keys(step: Step, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Everything that decides a step's result: a key and a digest or value for each."""
    return {
        "action": step.action,
        **{f"options.{key}": _digest(value) for key, value in step.options.items()},
        **{f"files.{role}": file.sha256 for role, file in step.files.items()},
        **{f"after.{name}": fingerprints[name] for name in step.after},
        **{f"tools.{name}": version for name, version in step.tools.items()},
    }


def fingerprints(plan: Plan) -> dict[str, str]:
    """Step name → fingerprint: a hash chain, since a step's keys hold those of its inputs."""
    found: dict[str, str] = {}
    for step in plan.steps:
        found[step.name] = _digest(keys(step, found))
    return found


def changed_keys(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """The keys in which two runs of a step differ, sorted."""
    return tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
