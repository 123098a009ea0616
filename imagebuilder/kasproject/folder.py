"""A generated project in a folder: writes what changed, and nothing that is not its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.state import TEMPORARY, host_errors, sha256_file, write_if_changed

RECORD = "project.json"
"""Lists the generated files with their digests."""

Record = Mapping[str, frozenset[str]]
"""Relative path → digests of what may lie there and is ours; two where a run was killed."""


@dataclass(frozen=True, slots=True)
class Written:
    """Relative paths of the files that a run wrote and removed."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


def write_project(files: Mapping[str, bytes], folder: Path) -> Written:
    """Bring `folder` to exactly these generated files; other files in it are left alone.

    Raises `UserError` before anything is written if the folder is not a generated project, or if
    a file would be lost that is not as it was generated.
    """
    with host_errors("project", folder):
        record = _read_record(folder)
        new = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        found = {path: _digest(folder / path) for path in {*record, *new}}
        if problems := tuple(_problems(folder, record, new, found)):
            raise UserError(*problems)
        written = tuple(path for path in sorted(new) if found[path] != new[path])
        removed = tuple(path for path in sorted(record) if path not in new)
        if written or removed:
            # First, so that a run that is killed leaves nothing that the next takes for another's.
            _write_record(folder, new, record)
        for path in written:
            write_if_changed(folder / path, files[path])
        for path in removed:
            _remove(folder, path)
        _write_record(folder, new, {})
    return Written(written, removed)


def check_folder(folder: Path, mark: str = RECORD) -> None:
    """`UserError` for a file, and for a folder in which something lies but no file `mark`."""
    if folder.exists() and not folder.is_dir():
        hint = "name a folder by --output"
        raise UserError(Problem("this is a file, not a folder", Location(folder), hint=hint))
    if not (_is_empty(folder) or (folder / mark).exists()):
        what = "this folder was not written by imagebuilder; nothing in it was changed"
        hint = "name another by --output, or an empty one"
        raise UserError(Problem(what, Location(folder), hint=hint))


def repository_prefix(folder: Path) -> str:
    """A folder relative to the git repository around it, with a slash; empty if there is none."""
    for parent in folder.absolute().parents:
        if (parent / ".git").exists():
            return f"{folder.absolute().relative_to(parent).as_posix()}/"
    return ""


def _is_empty(folder: Path) -> bool:
    """Whether nothing is there but what a killed run was just writing."""
    return not folder.exists() or all(p.name.startswith(TEMPORARY) for p in folder.iterdir())


def _read_record(folder: Path) -> Record:
    check_folder(folder)
    if _is_empty(folder):
        return {}
    try:
        data = json.loads((folder / RECORD).read_bytes())
        found = {path: {digest} for path, digest in data["files"].items()}
        for path, digests in data.get("unfinished", {}).items():
            found.setdefault(path, set()).update(digests)
        return {path: frozenset(digests) for path, digests in found.items() if _inside(path)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = "not written by imagebuilder, or damaged; nothing was changed"
        raise UserError(Problem(what, Location(folder / RECORD))) from error


def _write_record(folder: Path, new: Mapping[str, str], old: Record) -> None:
    """`old` is what the folder may still have while it is brought to `new`."""
    data: dict[str, object] = {"format": 1, "files": new}
    if old:
        data["unfinished"] = {path: sorted(digests) for path, digests in old.items()}
    write_if_changed(folder / RECORD, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())


def _digest(file: Path) -> str | None:
    return sha256_file(file) if file.is_file() else None


def _problems(
    folder: Path, record: Record, new: Mapping[str, str], found: Mapping[str, str | None]
) -> Iterator[Problem]:
    """Files that are not as they were generated, whose contents would be lost."""
    for path, digest in sorted(found.items()):
        if digest is None or digest in record.get(path, ()) or digest == new.get(path):
            continue
        if path in record:
            what = "changed by hand; generating again would lose that"
            hint = "keep changes in a layer of your own (yocto.layers), or remove this file"
        else:
            what = "not written by imagebuilder; generating would overwrite it"
            hint = "move it away, or keep it in a layer of your own (yocto.layers)"
        yield Problem(what, Location(folder / path), hint=hint)


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _remove(folder: Path, path: str) -> None:
    (folder / path).unlink(missing_ok=True)
    for parent in (folder / path).parents:
        if parent == folder or (parent.is_dir() and any(parent.iterdir())):
            return
        if parent.is_dir():
            parent.rmdir()
