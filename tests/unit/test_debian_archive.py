"""The archive through the host's apt, with mirrors made here: nothing unsigned is taken."""

import hashlib
import shutil
from pathlib import Path

import pytest

from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, Mirrors, find_mirrors
from imagebuilder.log import QUIET, Log
from imagebuilder.state import Cache

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="not run: needs apt")

PACKAGES = f"""\
Package: evil
Version: 1
Architecture: arm64
Filename: pool/evil.deb
Size: 1
SHA256: {"0" * 64}
"""


def make_mirror(folder: Path) -> str:
    """An archive of one package whose Release nobody signed."""
    suite = folder / "dists" / "trixie"
    index = suite / "main" / "binary-arm64" / "Packages"
    index.parent.mkdir(parents=True)
    index.write_text(PACKAGES)
    digest = hashlib.sha256(PACKAGES.encode()).hexdigest()
    (suite / "Release").write_text(
        "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 06 Sep 2025 10:00:00 UTC\n"
        "Architectures: arm64\nComponents: main\nSHA256:\n"
        f" {digest} {len(PACKAGES)} main/binary-arm64/Packages\n"
    )
    return folder.as_uri()


def resolve(tmp_path: Path, mirror: str, *, offline: bool = False) -> str:
    fetcher = Fetcher(Cache(tmp_path / "ca ché"), Log(QUIET), offline)
    with pytest.raises(UserError) as caught:
        Archive(fetcher, lambda: Mirrors(mirror, None)).resolve("trixie", "arm64", ["evil"])
    return str(caught.value)


def test_an_unsigned_archive_is_refused(tmp_path: Path) -> None:
    message = resolve(tmp_path, make_mirror(tmp_path / "mirror"))
    assert message.startswith("cannot read the package index for arm64 at file:///")
    assert "trixie Release' is not signed" in message
    assert "--mirror http://MIRROR/debian" in message


def test_no_mirror_there(tmp_path: Path) -> None:
    message = resolve(tmp_path, (tmp_path / "nothing").as_uri())
    assert "does not have a Release file" in message


def test_offline(tmp_path: Path) -> None:
    assert resolve(tmp_path, "http://mirror/debian", offline=True).startswith(
        "the package index of trixie for arm64 is not in the cache"
    )


def test_a_named_mirror_comes_before_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEBUILDER_DEBIAN_MIRROR", "http://environment/debian/")
    monkeypatch.delenv("IMAGEBUILDER_DEBIAN_SNAPSHOT", raising=False)
    assert find_mirrors(None, None) == Mirrors("http://environment/debian", None)
    assert find_mirrors("http://option/debian", "http://dated/1/").all == (
        "http://dated/1",
        "http://option/debian",
    )
    monkeypatch.delenv("IMAGEBUILDER_DEBIAN_MIRROR")
    assert find_mirrors(None, "http://dated/1/").all == ("http://dated/1",)


def test_a_host_without_a_debian_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{tmp_path}/empty";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    for name in ("IMAGEBUILDER_DEBIAN_MIRROR", "IMAGEBUILDER_DEBIAN_SNAPSHOT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError) as caught:
        find_mirrors(None, None)
    assert str(caught.value) == (
        "this host's apt knows no Debian mirror\n"
        "  hint: name a Debian mirror: --mirror http://MIRROR/debian, "
        "or the environment variable IMAGEBUILDER_DEBIAN_MIRROR"
    )
