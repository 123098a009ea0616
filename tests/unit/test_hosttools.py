"""Host tools: how a program of an unpacked toolbox is started."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from imagebuilder import hosttools
from imagebuilder.errors import BuildError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, GoneError, Mirrors
from imagebuilder.hosttools import Toolbox, toolbox_digest, unpack_tools
from imagebuilder.log import QUIET, Log
from imagebuilder.package import Package, PackageSet
from imagebuilder.run import run
from imagebuilder.state import Cache, sha256_file


@pytest.fixture
def http_404() -> Iterator[str]:
    """The address of a server that has nothing."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def toolbox(tmp_path: Path) -> Toolbox:
    root = tmp_path / "tools é"
    for name in (
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/systemd/libinner.so",
        "usr/lib/x86_64-linux-gnu/empty/data",
        "usr/sbin/mkfs.vfat",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return Toolbox(root, "d" * 64)


def test_a_program_starts_with_its_own_loader(toolbox: Toolbox) -> None:
    libraries = toolbox.root / "usr/lib/x86_64-linux-gnu"
    assert toolbox.argv("mkfs.vfat") == [
        f"{libraries}/ld-linux-x86-64.so.2",
        "--library-path",
        f"{libraries}:{libraries}/systemd",
        f"{toolbox.root}/usr/sbin/mkfs.vfat",
    ]


def test_a_missing_program_is_named(toolbox: Toolbox) -> None:
    with pytest.raises(BuildError, match=r"the host tools have no mkfs\.btrfs"):
        toolbox.argv("mkfs.btrfs")


def test_tools_without_a_loader_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/mkfs.vfat").touch()
    with pytest.raises(BuildError) as caught:
        Toolbox(tmp_path, "d" * 64).argv("mkfs.vfat")
    assert caught.value.what == f"the host tools in {tmp_path} have no loader, ld-linux"


def make_package(folder: Path) -> tuple[Package, bytes]:
    """A real package `tool` with one program."""
    source = folder / "source"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/tool").write_text("#!/bin/sh\necho 7\n")
    (source / "DEBIAN/control").write_text(
        "Package: tool\nVersion: 1\nArchitecture: all\n"
        "Maintainer: x <x@x.invalid>\nDescription: x\n"
    )
    deb = folder / "mirror" / "pool" / "tool.deb"
    deb.parent.mkdir(parents=True)
    run(["dpkg-deb", "--root-owner-group", "-b", source, deb])
    data = deb.read_bytes()
    return Package("tool", "1", "all", "pool/tool.deb", len(data), sha256_file(deb)), data


def test_tools_are_unpacked_once(tmp_path: Path) -> None:
    package, data = make_package(tmp_path)
    packages = PackageSet("trixie", "all", ("tool",), (package,))
    cache = Cache(tmp_path / "ca ché")
    mirror = (tmp_path / "mirror").as_uri()
    archive = Archive(Fetcher(cache, Log(QUIET)), lambda: Mirrors(mirror, None))
    toolbox = unpack_tools(packages, archive, cache)
    assert toolbox.root == cache.root / "tools" / toolbox_digest(packages)
    assert toolbox.program("tool").read_text() == "#!/bin/sh\necho 7\n"
    assert cache.download(package.sha256).read_bytes() == data
    offline = Archive(Fetcher(cache, Log(QUIET), offline=True), pytest.fail)
    assert unpack_tools(packages, offline, cache) == toolbox
    assert hosttools.fetch_all(packages, offline) == (cache.download(package.sha256),)


def test_a_version_that_left_the_archive_is_told(tmp_path: Path, http_404: str) -> None:
    package = Package("gone", "1.2-3", "arm64", "pool/gone.deb", 1, "0" * 64)
    fetcher = Fetcher(Cache(tmp_path / "cache"), Log(QUIET))
    archive = Archive(fetcher, lambda: Mirrors(http_404, f"{http_404}/snapshot"))
    with pytest.raises(GoneError) as caught:
        archive.fetch(package)
    assert str(caught.value) == (
        "gone 1.2-3 has left the Debian archive\n"
        "  hint: `imagebuilder lock --update` pins the version that is there now; "
        "--snapshot names a dated mirror that still has the old one"
    )
