"""Every change to a sealed bundle is found, on the host and by inferd itself."""

import collections
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tampering
from inferd_host import FIXTURES, Inferd

from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.reader import MANIFEST, read_bundle
from imagebuilder.bundle.signer import FileKey, Trust, check_trust

pytestmark = pytest.mark.inferd

CHANGES = int(os.environ.get("IMAGEBUILDER_TAMPERING", "240"))
"""By hand: 10000."""
SEED = int(os.environ.get("IMAGEBUILDER_SEED", "1"))
OURS, FOREIGN = FileKey(bytes(range(32))), FileKey(bytes(range(1, 33)))
TRUST = Trust(OURS.public_key(), 3)
NAME = "alpha"
NO_LEAKS = "detect_leaks=0"
"""Who is refused at start has nothing to leak; looking would cost a third of the time."""
NOBODY = 65534


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """`good`; `old`, an earlier version of it; and `other`, another model; all validly signed."""
    for name, fixture in (("good", "labels"), ("old", "labels"), ("other", "two-inputs")):
        shutil.copytree(FIXTURES / f"good-{fixture}", tmp_path / name)
    labels = tmp_path / "old" / "labels.txt"
    labels.write_bytes(b"nought\none\n")
    tampering.seal(tmp_path / "good", OURS, name=NAME, rollback_version=3)
    tampering.seal(tmp_path / "old", OURS, name=NAME, rollback_version=2)
    tampering.seal(tmp_path / "other", OURS, name="beta", rollback_version=3)
    return tmp_path


def host_verdict(folder: Path, digest: str) -> str:
    """The code by which the host refuses a bundle; empty if it takes it."""
    try:
        bundle = read_bundle(folder)
        check_trust(bundle, TRUST)
    except BundleError as error:
        return error.code
    return "" if bundle.digest == digest else "other-digest"


def device_verdict(inferd: Inferd, config: Path, user: int | None = None) -> str:
    """The code by which inferd refuses to start; empty if it takes the bundle."""
    result = inferd.run("selftest", "--config", config, user=user, ASAN_OPTIONS=NO_LEAKS)
    if result.returncode == 0:
        return ""
    assert result.returncode == 2, result
    assert result.stderr.count("\n") == 1, result
    return result.stderr.split(": ")[2]


def configure(inferd: Inferd, folder: Path) -> Path:
    verify = {"key": TRUST.key_text(), "minimum_version": TRUST.minimum_version}
    return inferd.configure([folder], verify=verify, model={"name": NAME})


def test_every_change_is_found(inferd: Inferd, bundles: Path) -> None:
    folder = inferd.folder / "bundle"
    config, digest = configure(inferd, folder), read_bundle(bundles / "good").digest
    parts = [bundles / name for name in ("good", "old", "other")]
    shutil.copytree(parts[0], folder)
    assert (host_verdict(folder, digest), device_verdict(inferd, config)) == ("", "")
    found: dict[str, collections.Counter[str]] = {"host": collections.Counter(),
                                                  "inferd": collections.Counter()}  # fmt: skip
    unnoticed = []
    for number in range(CHANGES):
        shutil.rmtree(folder)
        shutil.copytree(parts[0], folder)
        chance = random.Random(f"{SEED} {number}")
        change = tampering.CHANGES[number % len(tampering.CHANGES)]
        case = tampering.Case(folder, *parts, FOREIGN, chance)
        what = f"{number}: {change.__name__}: {change(case)}"
        verdicts = {"host": host_verdict(folder, digest), "inferd": device_verdict(inferd, config)}
        for who, code in verdicts.items():
            found[who][code] += 1
        # That another model of the same signer is no good here is known by name and digest only.
        by_name = change is tampering.other_model
        if (verdicts["host"] in ("", "other-digest") and not by_name) or "" in verdicts.values():
            unnoticed.append(f"{what}: {verdicts}")
    print(CHANGES, {who: dict(sorted(codes.items())) for who, codes in found.items()})  # noqa: T201
    assert unnoticed == []


@pytest.fixture
def open_folder(inferd_build: Path) -> Iterator[Inferd]:
    """inferd and a folder that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="imagebuilder-test-") as name:
        Path(name).chmod(0o755)
        shutil.copy(inferd_build / "inferd", name)
        yield Inferd(Path(name, "inferd"), Path(name))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_files_that_cannot_be_read(open_folder: Inferd, bundles: Path) -> None:
    folder = open_folder.folder / "bundle"
    shutil.copytree(bundles / "good", folder)
    config = configure(open_folder, folder)
    digest = read_bundle(folder).digest
    for path in (*sorted(folder.iterdir()), folder):
        mode = path.stat().st_mode
        path.chmod(0)
        os.seteuid(NOBODY)
        try:
            host = host_verdict(folder, digest)
        finally:
            os.seteuid(0)
        verdicts = host, device_verdict(open_folder, config, NOBODY)
        path.chmod(mode)
        assert all(verdicts), path.name
        assert (verdicts[0] == "missing-manifest") == (path.name in (MANIFEST, "bundle"))
