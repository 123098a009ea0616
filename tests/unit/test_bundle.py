"""Sealed bundles: the fixtures, and that every change is found."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.reader import read_bundle
from imagebuilder.bundle.writer import description_bytes

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
CODES = (
    "missing-manifest", "too-large", "not-json", "unknown-format", "schema", "bad-path",
    "unlisted-file", "extra-file", "missing-file", "size-mismatch", "digest-mismatch",
    "golden-malformed", "golden-mismatch", "drift-malformed", "drift-mismatch",
)  # fmt: skip


def code_of(folder: Path) -> str:
    return next(code for code in CODES if folder.name.startswith(f"invalid-{code}"))


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("good-*")), ids=lambda p: p.name)
def test_good(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.description.name == "fixture"
    assert description_bytes(bundle.description) == (folder / "bundle.json").read_bytes()


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("invalid-*")), ids=lambda p: p.name)
def test_invalid(folder: Path) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert caught.value.code == code_of(folder)
    assert str(caught.value).startswith(f"{folder}: {code_of(folder)}: ")


def test_a_link_to_a_folder_is_as_good(tmp_path: Path) -> None:
    """As inferd takes it; a link inside is refused (invalid-missing-file-symlink)."""
    folder = FIXTURES / "good-float"
    (tmp_path / "link").symlink_to(folder)
    assert read_bundle(tmp_path / "link").digest == read_bundle(folder).digest


def test_every_code_has_a_fixture() -> None:
    # A file over 1 MiB is made by the test below instead of being committed.
    found = {code_of(folder) for folder in FIXTURES.glob("invalid-*")}
    assert found == set(CODES) - {"too-large"}


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(BundleError, match=r"too-large: bundle\.json is over 1 MiB"):
        read_bundle(tmp_path)


@settings(max_examples=150)
@given(data=st.data())
def test_every_change_is_found(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    shutil.copytree(FIXTURES / "good-labels", folder)
    digest = read_bundle(folder).digest
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "extra"]))
    if kind == "flip":
        path.write_bytes(
            raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
        )
    elif kind == "cut":
        path.write_bytes(raw[:at])
    elif kind == "insert":
        path.write_bytes(raw[:at] + b"x" + raw[at:])
    else:
        (folder / "more").write_bytes(b"")
    try:
        assert read_bundle(folder).digest != digest
    except BundleError as error:
        assert error.code in CODES  # noqa: PT017 - either outcome is right
