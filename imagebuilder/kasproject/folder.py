"""A generated project in a folder: writes what changed, and nothing that is not its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.state import host_errors, sha256_file, write_if_changed

RECORD = "project.json"
"""Lists the generated files with their digests; written last."""


@dataclass(frozen=True, slots=True)
class Written:
    """Relative paths of the files that a run wrote and removed."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def write_project(files: Mapping[str, bytes], folder: Path) -> Written:
    """Bring `folder` to exactly these generated files; other files in it are left alone.

    Raises `UserError` before anything is written if the folder is not a generated project, or if
    generated files in it were changed by hand.
    """
    old = _read_record(folder)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    if problems := _changed_by_hand(folder, old, digests):
        raise UserError(*problems)
    with host_errors("project"):
        written = tuple(p for p in sorted(files) if write_if_changed(folder / p, files[p]))
        removed = tuple(path for path in sorted(old) if path not in files)
        for path in removed:
            _remove(folder, path)
    record = json.dumps({"format": 1, "files": digests}, indent=1, sort_keys=True) + "\n"
    write_if_changed(folder / RECORD, record.encode())
    return Written(written, removed)


def repository_prefix(folder: Path) -> str:
    """A folder relative to the git repository around it, with a slash; empty if there is none."""
    for parent in folder.absolute().parents:
        if (parent / ".git").exists():
            return f"{folder.absolute().relative_to(parent).as_posix()}/"
    return ""


def _read_record(folder: Path) -> dict[str, str]:
    if folder.is_dir() and not any(folder.iterdir()):
        return {}
    try:
        data = json.loads((folder / RECORD).read_bytes())
        files: dict[str, str] = data["files"]
        return {path: digest for path, digest in files.items() if _inside(path)}
    except FileNotFoundError as error:
        if not folder.exists() or _interrupted(folder):
            return {}
        what = "this folder was not written by imagebuilder; nothing in it was changed"
        hint = "name another by --output, or an empty one"
        raise UserError(Problem(what, Location(folder), hint=hint)) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = "not written by imagebuilder, or damaged; nothing was changed"
        raise UserError(Problem(what, Location(folder / RECORD))) from error


def _interrupted(folder: Path) -> bool:
    """Whether only a first run that was killed can have left what is there."""
    return {path.name for path in folder.iterdir()} <= {"kas.yml", "README.md", "layers"}


def _changed_by_hand(
    folder: Path, old: Mapping[str, str], new: Mapping[str, str]
) -> tuple[Problem, ...]:
    found = []
    for path, digest in sorted(old.items()):
        file = folder / path
        if file.is_file() and sha256_file(file) not in (digest, new.get(path)):
            what = "changed by hand; generating again would lose that"
            hint = "keep changes in a layer of your own (yocto.layers), or remove this file"
            found.append(Problem(what, Location(file), hint=hint))
    return tuple(found)


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _remove(folder: Path, path: str) -> None:
    (folder / path).unlink(missing_ok=True)
    for parent in (folder / path).parents:
        if parent == folder or any(parent.iterdir()):
            return
        parent.rmdir()
