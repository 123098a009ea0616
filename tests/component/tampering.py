"""Random changes to a sealed and signed bundle, the same for the same seed."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.bundle.reader import MANIFEST, SIGNATURE
from imagebuilder.bundle.signer import FileKey, signature_line
from imagebuilder.state import sha256_file


def seal(folder: Path, key: FileKey | None, **changes: object) -> None:
    """Write bundle.json for the files as they are, with `changes` of its keys, and sign it."""
    path = folder / MANIFEST
    data = {**json.loads(path.read_bytes()), **changes}
    data["files"] = {
        file.name: {"size": file.stat().st_size, "sha256": sha256_file(file)}
        for file in sorted(folder.iterdir())
        if file.name not in (MANIFEST, SIGNATURE)
    }
    raw = (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()
    path.write_bytes(raw)
    if key is not None:
        (folder / SIGNATURE).write_bytes(signature_line(key, raw))


@dataclass(frozen=True, slots=True)
class Case:
    """A copy of the good bundle in `folder`, and what an attacker has to put in.

    `old` is the same model in a version that is not allowed any more, `other` another model of the
    same signer, `foreign` the attacker's own key.
    """

    folder: Path
    good: Path
    old: Path
    other: Path
    foreign: FileKey
    chance: random.Random

    def file(self) -> Path:
        """One of the files."""
        return self.chance.choice(sorted(self.folder.iterdir()))

    def rewrite(self, change: Callable[[bytes], bytes]) -> str:
        """Change the bytes of one file."""
        path = self.file()
        path.write_bytes(change(path.read_bytes()))
        return path.name


def flip(case: Case) -> str:
    at = -1

    def change(raw: bytes) -> bytes:
        nonlocal at
        at = case.chance.randrange(8 * len(raw))
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        return bytes(changed)

    return f"{case.rewrite(change)} bit {at}"


def truncate(case: Case) -> str:
    return case.rewrite(lambda raw: raw[: case.chance.randrange(len(raw))])


def append(case: Case) -> str:
    return case.rewrite(lambda raw: raw + case.chance.choice((b"\n", b" ", b"\0", b"x" * 4096)))


def insert(case: Case) -> str:
    def change(raw: bytes) -> bytes:
        at = case.chance.randrange(len(raw))
        return raw[:at] + case.chance.randbytes(case.chance.randint(1, 9)) + raw[at:]

    return case.rewrite(change)


def exchange(case: Case) -> str:
    """Two blocks of one file change places."""

    def change(raw: bytes) -> bytes:
        at = case.chance.randrange(1, len(raw) // 2)
        changed = raw[at:] + raw[:at]
        return changed if changed != raw else raw + b"\n"

    return case.rewrite(change)


def delete(case: Case) -> str:
    path = case.file()
    path.unlink()
    return path.name


def rename(case: Case) -> str:
    path = case.file()
    name = case.chance.choice((path.name.upper(), f".{path.name}", f"{path.name}~", "x"))
    path.rename(path.with_name(name))
    return f"{path.name} to {name}"


def extra_file(case: Case) -> str:
    name = case.chance.choice(("more", ".hidden", "model.ort", "bundle.json~", "x é", "bundle"))
    (case.folder / name).write_bytes(case.chance.randbytes(case.chance.randrange(9)))
    return name


def extra_other(case: Case) -> str:
    """Something that is no file."""
    path = case.folder / case.chance.choice(("more", ".hidden"))
    _no_file(case, path)
    return path.name


def replace_file(case: Case) -> str:
    """Something that is no file in the place of one."""
    path = case.file()
    path.unlink()
    _no_file(case, path)
    return path.name


def _no_file(case: Case, path: Path) -> None:
    kind = case.chance.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    elif kind == 3:
        path.symlink_to("/nowhere")
    else:
        # A link to the very file: what it leads to can change later.
        target = case.good / path.name
        path.symlink_to(target if target.exists() else case.good / MANIFEST)


def swap_names(case: Case) -> str:
    """Two files of the bundle change names."""
    one, two = case.chance.sample(sorted(case.folder.iterdir()), 2)
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    return f"{one.name} and {two.name}"


def from_another(case: Case) -> str:
    """Files of another bundle of the same signer, one to all but one."""
    source = case.chance.choice((case.old, case.other))
    names = sorted(
        path.name
        for path in source.iterdir()
        if not (case.folder / path.name).exists()
        or path.read_bytes() != (case.folder / path.name).read_bytes()
    )
    chosen = case.chance.sample(names, case.chance.randint(1, len(names) - 1))
    for name in chosen:
        shutil.copyfile(source / name, case.folder / name)
    return f"{', '.join(chosen)} of {source.name}"


def older_version(case: Case) -> str:
    """All of an older version that was validly signed."""
    _replace_all(case, case.old)
    return case.old.name


def other_model(case: Case) -> str:
    """All of another model that is validly signed."""
    _replace_all(case, case.other)
    return case.other.name


def _replace_all(case: Case, source: Path) -> None:
    shutil.rmtree(case.folder)
    shutil.copytree(source, case.folder)


def forge(case: Case) -> str:
    """A changed model, sealed again, with the old signature, another key's, or none."""
    model = next(case.folder.glob("model.*"))
    model.write_bytes(model.read_bytes() + case.chance.randbytes(4))
    kind = case.chance.choice(("old signature", "foreign key", "no signature"))
    seal(case.folder, case.foreign if kind == "foreign key" else None, rollback_version=9)
    if kind == "no signature":
        (case.folder / SIGNATURE).unlink()
    return kind


def rewrite_description(case: Case) -> str:
    """The same description in other bytes."""
    path = case.folder / MANIFEST
    data = json.loads(path.read_bytes())
    keys = list(data)
    case.chance.shuffle(keys)
    indent = case.chance.choice((None, 1, 4))
    path.write_text(json.dumps({key: data[key] for key in keys}, indent=indent))
    return f"indent {indent}"


CHANGES = (
    flip, flip, flip, flip, truncate, truncate, append, insert, exchange, delete, rename,
    extra_file, extra_other, replace_file, replace_file, swap_names, from_another, from_another,
    older_version, other_model, forge, rewrite_description,
)  # fmt: skip
"""Each as often as it is listed."""
