"""Random changes to a signed archive of evidence: `inspect --verify` finds each."""

import collections
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_evidence import KEY, YOCTO, collected

from imagebuilder.bundle.signer import FileKey
from imagebuilder.errors import UserError
from imagebuilder.kasproject.tarball import tarball
from imagebuilder.report.evidence import INDEX, Evidence, read_evidence, verify_evidence

CHANGES = int(os.environ.get("IMAGEBUILDER_TAMPERING", "300"))
"""By hand: 10000."""
SEED = int(os.environ.get("IMAGEBUILDER_SEED", "1"))
FOREIGN = FileKey(bytes(range(32)))
TOP = "doorbell"


@dataclass(frozen=True, slots=True)
class Case:
    """An archive, its files, and those of another image of the same signer."""

    raw: bytes
    files: dict[str, bytes]
    other: dict[str, bytes]
    chance: random.Random

    def some(self) -> str:
        """The name of a file that the other archive has with other contents, or any."""
        return self.chance.choice(sorted(self.files))


def flip(case: Case) -> bytes:
    at = case.chance.randrange(8 * len(case.raw))
    changed = bytearray(case.raw)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def truncate(case: Case) -> bytes:
    return case.raw[: case.chance.randrange(len(case.raw))]


def append(case: Case) -> bytes:
    return case.raw + case.chance.choice((b"\0", b"x", bytes(512), bytes(10240)))


def insert(case: Case) -> bytes:
    at = case.chance.randrange(len(case.raw))
    some = case.chance.randbytes(case.chance.randint(1, 600))
    return case.raw[:at] + some + case.raw[at:]


def exchange(case: Case) -> bytes:
    at = case.chance.randrange(1, len(case.raw))
    return case.raw[at:] + case.raw[:at]


def a_byte_of_a_file(case: Case) -> bytes:
    name = case.some()
    changed = bytearray(case.files[name])
    changed[case.chance.randrange(len(changed))] ^= case.chance.randint(1, 255)
    return tarball(TOP, {**case.files, name: bytes(changed)})


def delete(case: Case) -> bytes:
    name = case.some()
    return tarball(TOP, {key: data for key, data in case.files.items() if key != name})


def rename(case: Case) -> bytes:
    name = case.some()
    files = {key: data for key, data in case.files.items() if key != name}
    return tarball(TOP, {**files, f"{name}~": case.files[name]})


def extra_file(case: Case) -> bytes:
    name = case.chance.choice(("more", "models/x/bundle.json", "tests/report.md", ".hidden"))
    return tarball(TOP, {**case.files, name: case.chance.randbytes(case.chance.randrange(9))})


def swap(case: Case) -> bytes:
    one, two = case.chance.sample(sorted(case.files), 2)
    return tarball(TOP, {**case.files, one: case.files[two], two: case.files[one]})


def from_another(case: Case) -> bytes:
    """Files of the evidence of another image of the same signer, one to all but one."""
    names = sorted(n for n in case.other if case.files.get(n) != case.other[n])
    chosen = case.chance.sample(names, case.chance.randint(1, len(names) - 1))
    return tarball(TOP, {**case.files, **{name: case.other[name] for name in chosen}})


def forge(case: Case) -> bytes:
    """A changed file and an index that fits, with another key's signature, the old one, or none."""
    name = case.chance.choice([name for name in sorted(case.files) if "evidence" not in name])
    signed = {n: d for n, d in case.files.items() if n not in (INDEX, "evidence.sig")}
    changed = Evidence({**signed, name: case.files[name] + b" "})
    kind = case.chance.choice(("old signature", "foreign key", "no signature"))
    if kind == "foreign key":
        return changed.pack(TOP, FOREIGN)
    old = {"evidence.sig": case.files["evidence.sig"]} if kind == "old signature" else {}
    return tarball(TOP, {**changed.files, INDEX: changed.index(), **old})


KINDS: tuple[Callable[[Case], bytes], ...] = (
    flip, flip, flip, flip, truncate, append, insert, exchange, a_byte_of_a_file, a_byte_of_a_file,
    delete, rename, extra_file, swap, from_another, from_another, forge,
)  # fmt: skip
"""Each as often as it is listed."""


def verdict(raw: bytes, path: Path) -> str:
    """How a change is found; empty if it is not."""
    path.write_bytes(raw)
    try:
        found = verify_evidence(read_evidence(path), KEY.public_key())
    except UserError:
        return "refused"
    return "problems" if found else ""


@pytest.fixture
def case(tmp_path: Path) -> Case:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    pack = collected(tmp_path / "one", YOCTO.read_bytes()).pack(TOP, KEY)
    (tmp_path / "evidence.tar").write_bytes(pack)
    files = dict(read_evidence(tmp_path / "evidence.tar").files)
    lock = json.loads(files["firmware.lock"])
    others = {**collected(tmp_path / "two").files,
              "firmware.lock": json.dumps({**lock, "tools": {}}).encode(),
              "tests/results.json": b"[]"}  # fmt: skip
    (tmp_path / "other.tar").write_bytes(Evidence(others).pack(TOP, KEY))
    other = dict(read_evidence(tmp_path / "other.tar").files)
    assert verdict(pack, tmp_path / "evidence.tar") == ""
    return Case(pack, files, other, random.Random())


def test_every_change_is_found(case: Case, tmp_path: Path) -> None:
    found: collections.Counter[str] = collections.Counter()
    unnoticed = []
    for number in range(CHANGES):
        case.chance.seed(f"{SEED} {number}")
        kind = KINDS[number % len(KINDS)]
        raw = kind(case)
        how = verdict(raw, tmp_path / "changed.tar") if raw != case.raw else "not changed"
        found[how] += 1
        if not how:
            unnoticed.append(f"{number}: {kind.__name__}")
    print(CHANGES, dict(found))  # noqa: T201
    assert unnoticed == []
    assert found["not changed"] < CHANGES / 100


def test_a_pack_that_was_packed_again(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "again.tar"
    path.write_bytes(case.raw[:-512])
    with pytest.raises(UserError) as caught:
        read_evidence(path)
    assert str(caught.value) == f"{path}: was packed again, or changed outside the files in it"
