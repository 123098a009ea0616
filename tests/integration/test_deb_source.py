"""A bundle's file out of a package of Debian's archive."""

from pathlib import Path

import pytest

from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.log import QUIET, Log
from imagebuilder.source import DebSource
from imagebuilder.state import Cache, sha256_file

pytestmark = pytest.mark.network

FILE = "etc/services"


def test_a_pinned_package_gives_its_file_once(tmp_path: Path) -> None:
    fetcher = Fetcher(Cache(tmp_path / "ca ché"), Log(QUIET))
    archive = Archive(fetcher, lambda: find_mirrors(None, None))
    package = archive.resolve("trixie", "amd64", ["netbase"], closure=False).packages[0]
    source = DebSource(f"netbase={package.version}", "all", FILE, "0" * 64)
    with pytest.raises(UserError, match=rf"{FILE} of netbase=.*: wrong SHA-256: got ") as caught:
        fetch_source(fetcher, source, tmp_path)
    got = str(caught.value).partition("got ")[2][:64]
    source = DebSource(source.pin, "all", FILE, got)
    path = fetch_source(fetcher, source, tmp_path)
    assert sha256_file(path) == got
    assert "22/tcp" in path.read_text()
    offline = Fetcher(fetcher.cache, fetcher.log, offline=True)
    assert fetch_source(offline, source, tmp_path) == path
    gone = DebSource("netbase=0.0-nope", "all", FILE, "1" * 64)
    with pytest.raises(UserError, match=r"^Debian trixie has no package netbase=0\.0-nope\n"):
        fetch_source(fetcher, gone, tmp_path)
