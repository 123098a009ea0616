"""The debian engine's pure parts."""

import dataclasses
import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.bundle.format import ModelFile, TextModel
from imagebuilder.bundle.reader import read_bundle
from imagebuilder.bundle.signer import Trust
from imagebuilder.catalog import make_catalog
from imagebuilder.devicefiles import image_info, json_text, server_config, text_config
from imagebuilder.engines import locking
from imagebuilder.engines.debian import config, disk, kernel, licenses, packages, steps, steps_plan
from imagebuilder.engines.debian.tree import Tree, merged_usr
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import (
    Archive,
    Mirrors,
    UnknownPackage,
    parse_packages,
    parse_simulation,
    sources,
)
from imagebuilder.lock import Lock
from imagebuilder.log import QUIET, Log
from imagebuilder.manifest import load_manifest
from imagebuilder.package import Package, PackageSet
from imagebuilder.plan import fingerprints
from imagebuilder.resolve import Build, BuildModel
from imagebuilder.services import service_script
from imagebuilder.state import Cache

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "bundles" / "good-float"
MACHINES = ("qemuarm", "qemuarm64", "qemuriscv64", "qemux86-64")


def make_build(tmp_path: Path, machine: str, extra: str = "") -> Build:
    path = tmp_path / "firmware.yaml"
    path.write_text(
        "format: 1\nname: doorbell\nversion: 1.4.0\nmachine: qemuarm64\n"
        f"models: [{{bundle: fixture}}]\n{extra}"
    )
    manifest, catalog = load_manifest(path), make_catalog()
    runtime = catalog.runtime("onnxruntime")
    found = catalog.machine(machine)
    model = BuildModel(
        manifest.models[0], read_bundle(FIXTURE), runtime, runtime.targets[found.arch]
    )
    build = Build(manifest, found, "debian", "dev", (model,), Lock())
    lock = Lock()
    for request in packages.requests(build):
        made = tuple(
            Package(name, "1", request.arch, f"pool/{name}.deb", 1, "0" * 64)
            for name in request.names
        )
        lock = locking._store(
            lock, request, PackageSet(request.suite, request.arch, request.names, made)
        )
    return dataclasses.replace(build, lock=lock)


@pytest.mark.parametrize("machine", MACHINES)
def test_plans(tmp_path: Path, machine: str, golden) -> None:
    plan = steps_plan.make_plan(make_build(tmp_path, machine))
    lines = [f"{s.name} <- {', '.join(s.after) or '-'}: {sorted(s.options)}" for s in plan.steps]
    golden(f"debian-plan-{machine}.txt", "\n".join(lines) + "\n")


def text_build(tmp_path: Path) -> Build:
    build = make_build(tmp_path, "qemuarm64")
    runtime = make_catalog().runtime("llamacpp")
    (model,) = build.models
    description = dataclasses.replace(
        model.bundle.description,
        model=ModelFile("model.gguf", "gguf", None, None, "Q4_1"),
        text=TextModel("llama", 134_000_000, 8192, 23040, 49152, "gpt2"),
    )
    bundle = dataclasses.replace(model.bundle, description=description)
    text = BuildModel(model.request, bundle, runtime, runtime.targets["aarch64"])
    return dataclasses.replace(build, models=(text,))


def test_a_language_model_has_its_own_server_and_inferd_only_verifies_it(tmp_path: Path) -> None:
    build = text_build(tmp_path)
    (foreign,) = (r for r in packages.requests(build) if r.role == "runtime-llamacpp")
    assert (foreign.suite, foreign.closure) == ("sid", False)
    assert "llama.cpp-tools" in foreign.names
    made = PackageSet("sid", "arm64", foreign.names, (
        Package("libc6", "2.43", "arm64", "pool/new.deb", 1, "1" * 64),
        Package("llama.cpp-tools", "0.7", "arm64", "pool/tools.deb", 1, "2" * 64),
    ))  # fmt: skip
    lock = locking._store(build.lock, foreign, made)
    build = dataclasses.replace(build, lock=lock)
    found = {package.name: package.version for package in packages.root_packages(build).packages}
    assert (found["libc6"], found["llama.cpp-tools"]) == ("2.43", "0.7")
    assert found["busybox-static"] == "1"
    plan = steps_plan.make_plan(build)
    assert "server" in [step.name for step in plan.steps]
    assert config.serve_scripts(build) == ("serve-text",)
    assert text_config(build) == (
        "model=/models/fixture/model.gguf\nname=fixture\nhost=127.0.0.1\nport=8081\nloopback=1\n"
        "context=2048\nthreads=1\nbatch=128\nmetrics=1\nmemory=114294828\n"
        "verify_key=\nverify_minimum=0\n"
    )
    trusting = dataclasses.replace(build, trust=Trust(bytes(range(32)), 7))
    assert text_config(trusting).endswith(
        "verify_key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nverify_minimum=7\n"
    )


def test_a_plan_depends_on_its_inputs_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b é").mkdir()
    one, two = (
        fingerprints(steps_plan.make_plan(make_build(tmp_path / name, "qemuarm64")))
        for name in ("a", "b é")
    )
    assert one == two
    other = make_build(tmp_path / "a", "qemuarm64", "image: {hostname: bell}\n")
    changed = fingerprints(steps_plan.make_plan(other))
    assert {step for step in one if one[step] != changed[step]} == {"root", "disk", "compress"}


def test_rendered_files(tmp_path: Path, golden) -> None:
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA\n")
    extra = (
        'server: {listen: "0.0.0.0:9000"}\n'
        "image: {ssh: {authorized_keys: [key.pub]}, hostname: bell}\n"
    )
    build = make_build(tmp_path, "qemuarm64", extra)
    text = "\n".join([
        config.inittab(build), config.os_release(build),
        json_text(server_config(build, config.libraries(build))), json_text(image_info(build)),
        config.passwd(), config.group(), steps_plan.command_line(build),
    ])  # fmt: skip
    golden("debian-files.txt", text + "\n")


def test_services_become_scripts(tmp_path: Path) -> None:
    path = tmp_path / "bell.service"
    path.write_text("[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/bell -v\nUser=inferd\n"
                    "Environment=A=1\nRestart=always\n")  # fmt: skip
    assert service_script(path) == (
        "#!/bin/sh\nexport A=1\nexec su -s /bin/sh inferd -c 'exec /usr/bin/bell -v'\n"
    )
    path.write_text("[Service]\nExecStart=/x\nDynamicUser=yes\n")
    with pytest.raises(UserError) as caught:
        service_script(path)
    assert str(caught.value) == (
        f"{path}: Service.dynamicuser: busybox init does not run this\n"
        "  hint: it knows environment, execstart, restart, restartsec, type, user"
    )
    path.write_text("[Service]\nExecStart=-/x\nUser=bell\n")
    with pytest.raises(UserError) as caught:
        service_script(path)
    assert str(caught.value) == (
        f"{path}: Service.User: there is no user bell\n"
        "  hint: choose from root, inferd, llama-server, nobody\n"
        f"{path}: Service.ExecStart: prefixes and single quotes are not supported"
    )
    path.write_text("[Service]\n")
    with pytest.raises(UserError, match="needs a section"):
        service_script(path)


def module(depends: str) -> bytes:
    return b"ELF...\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def test_modules_load_after_what_they_need() -> None:
    files = {"a": module("b,c"), "b": module("c"), "c": module("built"), "d": module("")}
    assert kernel.load_order(["a", "d"], files, frozenset({"built"})) == ("c", "b", "a", "d")
    with pytest.raises(UserError, match="the kernel has no module e"):
        kernel.load_order(["e"], files, frozenset())


@given(st.lists(st.sampled_from(["a", "b_c", "x-y", "z1"]), unique=True))
def test_depends_are_read_back(names: list[str]) -> None:
    assert kernel.depends(module(",".join(names))) == tuple(names)


@given(st.binary(max_size=300))
def test_any_bytes_have_some_depends(raw: bytes) -> None:
    assert isinstance(kernel.depends(raw), tuple)


def test_tree_is_written_the_same_every_time(tmp_path: Path) -> None:
    one, two = Tree(), Tree()
    for tree, order in ((one, ("a/b", "c")), (two, ("c", "a/b"))):
        for path in order:
            tree.file(path, path, 0o640)
        tree.link("l", "c")
    for tree, name in ((one, "1.tar"), (two, "2.tar")):
        tree.write_tar(tmp_path / name)
    raw = (tmp_path / "1.tar").read_bytes()
    assert raw == (tmp_path / "2.tar").read_bytes()
    assert one.cpio() == two.cpio()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert tar.getnames() == ["a", "a/b", "c", "l"]
        assert {member.mtime for member in tar} == {0}
    assert stat.S_ISDIR(one.entries["a"].mode)


def test_merged_usr() -> None:
    assert [merged_usr(p) for p in ("lib/x", "usr/lib/x", "libexec/x", "lib64")] == [
        "usr/lib/x", "usr/lib/x", "libexec/x", "usr/lib64",
    ]  # fmt: skip


def test_partitions_are_aligned(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100)
    part = disk.Partition("root-a", disk.TYPE_LINUX, tmp_path / "x")
    data = disk.Partition("data", disk.TYPE_LINUX, tmp_path / "x", 3 << 20)
    assert disk.layout([part, data]) == [(1 << 20, 1 << 20), (2 << 20, 3 << 20)]


def test_what_is_not_done_is_told(tmp_path: Path) -> None:
    (tmp_path / "camera.cfg").touch()
    build = make_build(tmp_path, "qemuarm64", "kernel: {fragments: [camera.cfg]}\n")
    assert [str(problem) for problem in config.ignored(build)] == [
        f"{tmp_path / 'firmware.yaml'}:6:10: kernel.fragments: "
        "the engine debian takes Debian's kernel as it is and applies none"
    ]
    assert not list(config.ignored(make_build(tmp_path, "qemuarm64")))


class FullArchive(Archive):
    """An archive that has every package but `nope`."""

    def resolve(
        self, suite: str, arch: str, request: Sequence[str], *, closure: bool = True
    ) -> PackageSet:
        if "nope" in request:
            raise UnknownPackage("nope", suite)
        made = tuple(Package(name, "2", arch, f"{name}.deb", 1, "1" * 64) for name in request)
        return PackageSet(suite, arch, tuple(request), made)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    fetcher = Fetcher(Cache(tmp_path / "cache"), Log(QUIET), offline=True)
    return FullArchive(fetcher, lambda: Mirrors("http://mirror/debian", None))


def versions(lock: Lock, role: str) -> set[str]:
    return {package.version for package in lock.packages["qemuarm64"][role].packages}


def lock_packages(build: Build, archive: Archive, *, update: bool, strict: bool) -> Lock:
    requests = packages.requests(build)
    return locking.lock_packages(build, requests, archive, update=update, strict=strict)


def test_only_what_changed_is_resolved_again(tmp_path: Path, archive: Archive) -> None:
    build = make_build(tmp_path, "qemuarm64")
    lock = lock_packages(build, archive, update=False, strict=False)
    assert lock == build.lock
    other = make_build(tmp_path, "qemuarm64", "debian: {packages: [htop]}\n")
    old = dataclasses.replace(other, lock=build.lock)
    lock = lock_packages(old, archive, update=False, strict=False)
    assert (versions(lock, "image"), versions(lock, "kernel")) == ({"2"}, {"1"})
    assert "htop" in lock.packages["qemuarm64"]["image"].request
    lock = lock_packages(build, archive, update=True, strict=False)
    assert versions(lock, "kernel") == {"2"}
    with pytest.raises(UserError, match="the lock has no packages for image of qemuarm64"):
        lock_packages(old, archive, update=False, strict=True)


def test_an_unknown_package_is_located(tmp_path: Path, archive: Archive) -> None:
    build = make_build(tmp_path, "qemuarm64", "debian: {packages: [htop, nope]}\n")
    empty = dataclasses.replace(build, lock=Lock())
    with pytest.raises(UserError) as caught:
        lock_packages(empty, archive, update=False, strict=False)
    place = f"{tmp_path / 'firmware.yaml'}:6:27: debian.packages[1]"
    assert str(caught.value) == f"{place}: Debian trixie has no package nope"


def test_what_does_not_fit_is_located(tmp_path: Path) -> None:
    extra = "image: {storage: {root: 4KiB, data: 5GiB}}\n"
    build = make_build(tmp_path, "qemuarm64", extra)
    (tmp_path / "root").write_bytes(bytes(5000))
    (tmp_path / "data").touch()
    os.truncate(tmp_path / "data", 5 << 30)
    parts = [
        disk.Partition("root-a", disk.TYPE_LINUX, tmp_path / "root", 4 << 10),
        disk.Partition("data", disk.TYPE_LINUX, tmp_path / "data"),
    ]
    with pytest.raises(UserError) as caught:
        steps.check_sizes(build, parts)
    path = tmp_path / "firmware.yaml"
    assert str(caught.value) == (
        f"{path}:6:19: image.storage.root: the contents take 4.9 KiB, the partition has 4.0 KiB\n"
        f"{path}:6:9: image.storage: the image takes 5.0 GiB, qemuarm64 has 4.0 GiB"
    )


def test_block_map(tmp_path: Path) -> None:
    image, root = tmp_path / "disk.img", tmp_path / "root"
    root.write_bytes(b"r" * 5000)
    image.write_bytes(bytes(3 << 20))
    text = disk.bmap(image, [disk.Partition("root-a", disk.TYPE_LINUX, root)])
    ranges = re.findall(r'chksum="([0-9a-f]+)"> (\S+) <', text)
    assert [blocks for _, blocks in ranges] == ["0-4", "256-257", "763-767"]
    assert ranges[1][0] == hashlib.sha256(bytes(2 * disk.BLOCK)).hexdigest()
    own = re.search(r"<BmapFileChecksum> (\S+) <", text)
    assert own is not None
    zeroed = text.replace(own[1], "0" * 64)
    assert hashlib.sha256(zeroed.encode()).hexdigest() == own[1]


@given(st.lists(st.integers(0, 100_000), min_size=2, max_size=20, unique=True))
def test_block_ranges_cover_all_bytes_once(bounds: list[int]) -> None:
    bounds = sorted(bounds)[: len(bounds) // 2 * 2]
    used = list(zip(bounds[::2], bounds[1::2], strict=True))
    found = disk.block_ranges(used)
    blocks = [block for first, last in found for block in range(first, last + 1)]
    assert len(blocks) == len(set(blocks))
    wanted = {byte // disk.BLOCK for start, end in used for byte in (start, end - 1)}
    assert wanted <= set(blocks)
    assert all(one[1] + 1 < two[0] for one, two in pairwise(found))


def test_apt_output_is_parsed() -> None:
    text = "Inst libc6 (2.41-12 Debian:13.1/stable [arm64])\nConf libc6 (2.41-12 x)\n"
    assert list(parse_simulation(text)) == ["libc6=2.41-12"]
    stanza = "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 7\nSHA256: ff"
    assert list(parse_packages(stanza + "\n\n")) == [
        Package("a", "1", "all", "pool/a.deb", 7, "ff")
    ]
    assert sources("http://m/debian", "trixie", "stable").startswith(
        "Types: deb\nURIs: http://m/debian\nSuites: stable\nComponents: main\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n"
    )


def test_licenses_are_read_from_copyright_files() -> None:
    text = "Format: https://x/\n\nFiles: *\nLicense: MIT\n\nLicense:  GPL-2+ \n text\n"
    assert licenses.parse_copyright(text) == ["GPL-2+", "MIT"]
    assert licenses.parse_copyright("This is free software.") == []


@pytest.mark.parametrize(
    ("token", "path"),
    [("", None), ("token: none", None), ("token: device", "/data/credentials/inferd"),
     ("token: /data/own", "/data/own")],
)  # fmt: skip
def test_the_file_of_the_token(tmp_path: Path, token: str, path: str | None) -> None:
    build = make_build(tmp_path, "qemuarm64", f"server: {{{token}}}\n")
    assert server_config(build, {}).get("token_file") == path
