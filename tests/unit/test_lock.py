"""The lock: canonical, checked, round trip."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import UserError
from imagebuilder.lock import (
    LayerPin,
    Lock,
    ModelPin,
    lock_bytes,
    lock_path,
    read_lock,
    write_lock,
)
from imagebuilder.package import Package, PackageSet

HEX = "0" * 64
PACKAGE = Package("libc6", "2.41-12", "arm64", "pool/main/g/glibc/libc6.deb", 9, HEX)
FULL = Lock(
    tools={"amd64": {"image": PackageSet("trixie", "amd64", ("e2fsprogs",), (PACKAGE,))}},
    packages={"qemuarm64": {"image": PackageSet("trixie", "arm64", ("libc6",), (PACKAGE,))}},
    layers={"wrynose": {"core": LayerPin("https://example.org/core.git", "a" * 40)}},
    models={"digits": ModelPin("1.0", f"sha256:{HEX}", HEX, HEX)},
    data={"digits": {"csv": HEX}},
)


def test_round_trip_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "firmware.lock"
    assert write_lock(path, FULL)
    assert not write_lock(path, FULL)
    assert read_lock(path) == FULL
    assert lock_bytes(read_lock(path)) == path.read_bytes()


def test_place_and_absence(tmp_path: Path) -> None:
    assert lock_path(Path("a b/firmware.yaml")) == Path("a b/firmware.lock")
    assert read_lock(tmp_path / "firmware.lock") == Lock()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a lock: not JSON"),
        ('{"format": 2}', "format: 1 was expected"),
        ('{"format": 1, "x": 1}', "Additional properties are not allowed"),
    ],
)
def test_damaged(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "firmware.lock"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_lock(path)
    assert message in str(caught.value)
    assert "hint: remove it and run `imagebuilder lock`" in str(caught.value)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_lock_is_a_user_error_or_another_lock(tmp_path_factory, at, junk) -> None:
    path = tmp_path_factory.mktemp("lock") / "firmware.lock"
    raw = lock_bytes(FULL)
    path.write_bytes(raw[:at] + junk + raw[at + len(junk) :])
    try:
        assert isinstance(read_lock(path), Lock)
    except UserError as error:
        assert error.problems  # noqa: PT017 - either outcome is right


def test_a_lock_of_an_older_version_is_no_traceback(tmp_path: Path) -> None:
    pin = {"version": "1", "bundle": f"sha256:{'0' * 64}", "source_sha256": "0" * 64}
    path = tmp_path / "firmware.lock"
    path.write_text(json.dumps({**json.loads(lock_bytes(Lock())), "models": {"m": pin}}))
    with pytest.raises(UserError) as caught:
        read_lock(path)
    assert str(caught.value) == (
        f"{path}: models.m: 'definition' is a required property\n"
        "  hint: remove it and run `imagebuilder lock`"
    )
