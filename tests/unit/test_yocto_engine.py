"""The engine yocto: progress, triage, results, pins."""

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.catalog import make_catalog
from imagebuilder.catalog.machine import Qemu
from imagebuilder.engines.yocto.blame import located
from imagebuilder.engines.yocto.deploy import deployed
from imagebuilder.engines.yocto.progress import Progress, progress
from imagebuilder.engines.yocto.steps import check_host
from imagebuilder.engines.yocto.triage import failures, telling_lines
from imagebuilder.errors import BuildError, UserError
from imagebuilder.manifest import load_manifest
from imagebuilder.target.qemuboot import QemuBoot, read_qemuboot, with_qemuboot

FETCH = """\
NOTE: Running task 12 of 400 (/l/meta/recipes-core/zlib/zlib_1.3.2.bb:do_fetch)
ERROR: zlib-1.3.2-r0 do_fetch: Fetcher failure for URL: 'https://zlib.net/zlib-1.3.2.tar.gz'.
ERROR: Logfile of failure stored in: /b/tmp/work/x/zlib/1.3.2/temp/log.do_fetch.1
ERROR: Task (/l/meta/recipes-core/zlib/zlib_1.3.2.bb:do_fetch) failed with exit code '1'
ERROR: Task (virtual:native:/l/m/cmake_4.1.bb:do_compile) failed with exit code '1'
"""


def test_progress_of_tasks() -> None:
    line = "NOTE: Running task 12 of 400 (/l/meta/recipes-core/zlib/zlib_1.3.2.bb:do_fetch)\n"
    assert progress(line) == Progress(12, 400, "zlib do_fetch")
    native = "NOTE: Running setscene task 3 of 9 (virtual:native:/l/m/quilt_0.69.bb:do_package)"
    assert progress(native) == Progress(3, 9, "quilt do_package")
    assert progress("NOTE: Tasks Summary: Attempted 400 tasks") is None


@given(st.text())
def test_any_output_can_be_read(text: str) -> None:
    progress(text)
    assert failures(text)
    telling_lines(text)


def test_failed_tasks_are_named_with_their_logs() -> None:
    first, second = failures(FETCH)
    assert (first.recipe, first.task) == ("zlib", "do_fetch")
    assert first.log == "/b/tmp/work/x/zlib/1.3.2/temp/log.do_fetch.1"
    assert "a source could not be fetched" in first.cause
    assert (second.recipe, second.task, second.log) == ("cmake", "do_compile", "")
    assert failures(FETCH + FETCH) == (first, second), "kas repeats what BitBake said"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: Nothing PROVIDES 'nope'", "no layer has this package"),
        ("ERROR: x has a restricted license 'commercial'", "a licence was not accepted"),
        ("virtio.cfg:3: CONFIG_X=y is not in the final kernel configuration, which has n",
         "a kernel symbol did not take effect"),
        ("ERROR: Layer a is not compatible with the core layer", "a layer is not for this series"),
        ("ERROR: Layer 'dep' depends on layer 'qt5-layer', but this layer is not enabled in your "
         "configuration", "a layer needs another one"),
        ("ERROR: x.\n    The following required tools (as specified by HOSTTOOLS) appear to be "
         "unavailable in PATH:\n      pzstd", "programs are missing"),
        ("ERROR: glibc-locale: odd", ""),
        ("ERROR: BB_NO_NETWORK", "a source is missing and the network is off"),
        ("ERROR: checksum mismatch", "a source is not the one that was pinned"),
    ],
)  # fmt: skip
def test_likely_causes(line: str, cause: str) -> None:
    found = failures(f"{line}\n")[0].cause
    assert found.startswith(cause) if cause else not found


SYMBOLS = """\
ERROR: linux-yocto-6.18.1+git-r0 do_check_requested_symbols: kernel symbols did not take effect:
  own.cfg:1: CONFIG_NOPE=y is not in the final kernel configuration, which has n
ERROR: Logfile of failure stored in: /b/linux-yocto/6.18/temp/log.do_check_requested_symbols.1
NOTE:   of no interest
ERROR: Task (/l/linux-yocto_6.18.bb:do_check_requested_symbols) failed with exit code '1'
"""
SANITY = """\
ERROR:  OE-core's config sanity checker detected a potential misconfiguration.
    Either fix the cause of this error or at your own risk disable the checker (see sanity.conf).
    Following is the list of potential problems / advisories:

    Do not use Bitbake as root.

Summary: There was 1 ERROR message, returning a non-zero exit code.
"""


def test_what_is_listed_below_an_error_belongs_to_it() -> None:
    (found,) = failures(SYMBOLS)
    wanted = tuple(SYMBOLS.splitlines()[:2])
    assert found.lines == wanted
    assert found.cause.startswith("a kernel symbol did not take effect")
    log = SYMBOLS.partition("ERROR: Logfile")[0].replace("linux-yocto-6.18.1+git-r0 do_check_", "")
    assert telling_lines(f"DEBUG: begun\n{log}DEBUG: ended\n")[1] == wanted[1]
    (found,) = failures(SANITY)
    assert found.lines[-1] == "    Do not use Bitbake as root."
    assert found.cause == "BitBake refuses root: run as a normal user"


def test_a_failure_is_traced_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "own.cfg").write_text("CONFIG_NOPE=y\n")
    path = tmp_path / "firmware.yaml"
    path.write_text(
        "format: 1\nname: x\nversion: '1'\nmachine: qemuarm64\nmodels:\n  - bundle: digits\n"
        "kernel: {fragments: [own.cfg]}\nyocto: {packages: [htop, nope]}\n"
    )
    manifest = load_manifest(path)
    symbol = SYMBOLS.splitlines()[1].strip()
    wanted = f"{path}:7:22: kernel.fragments[0]: own.cfg is asked for here"
    assert str(located(manifest, BuildError("x failed", details=[symbol], hint="y"))) == (
        f"x failed\n  {wanted}\n  {symbol}\n  hint: y"
    )
    package = "ERROR: Nothing RPROVIDES 'nope' (but /l/i.bb RDEPENDS on or otherwise requires it)"
    assert located(manifest, BuildError("x", details=[package])).details == (
        f"{path}:8:26: yocto.packages[1]: nope is asked for here", package
    )  # fmt: skip
    other = BuildError("x", details=["my-own.cfg:1: ", "Nothing RPROVIDES 'htop-dev'"])
    assert located(manifest, other) is other


def test_an_unknown_failure_shows_its_last_lines() -> None:
    (failure,) = failures("a\n\nb\n")
    assert (failure.recipe, failure.lines, failure.cause) == ("", ("a", "b"), "")


def test_telling_lines_of_a_log() -> None:
    log = "DEBUG: no error here\ngcc -c x.c\nx.c:1: error: boom\nx.c:1: error: boom\nmake: *** 2\n"
    assert telling_lines(log) == ("x.c:1: error: boom",)
    assert telling_lines("one\ntwo\n") == ("one", "two")


def test_results_in_the_deploy_folder(tmp_path: Path) -> None:
    for name in ("imagebuilder-image-m.rootfs.wic.zst", "imagebuilder-image-m.rootfs.wic",
                 "imagebuilder-image-m.wic.bmap", "imagebuilder-image-debug-m.rootfs.wic",
                 "imagebuilder-image-m.rootfs.manifest", "bzImage", "kernel-config"):  # fmt: skip
        (tmp_path / name).touch()
    found = {item.kind: (item.path.name, item.name) for item in deployed(tmp_path, "m", "release")}
    assert found == {
        "disk": ("imagebuilder-image-m.rootfs.wic", "{stem}.img"),
        "bmap": ("imagebuilder-image-m.wic.bmap", "{stem}.img.bmap"),
        "compressed": ("imagebuilder-image-m.rootfs.wic.zst", "{stem}.img.zst"),
        "packages": ("imagebuilder-image-m.rootfs.manifest", "packages.manifest"),
        "kernel": ("bzImage", "kernel"),
        "kernel-config": ("kernel-config", "kernel.config"),
    }
    (tmp_path / "imagebuilder-image-m.rootfs.packages.json").touch()
    found = {item.kind: item.name for item in deployed(tmp_path, "m", "release")}
    assert found["packages"] == "packages.json"
    debug = {item.kind for item in deployed(tmp_path, "m", "debug")}
    assert debug == {"disk", "kernel", "kernel-config"}


def test_a_build_that_left_no_image(tmp_path: Path) -> None:
    (tmp_path / "bzImage").touch()
    with pytest.raises(BuildError) as caught:
        deployed(tmp_path, "m", "release")
    assert str(caught.value) == (
        f"BitBake ended well and left no image in {tmp_path}\n"
        "  hint: a kas file of your site or a layer of your own may have another TMPDIR"
    )


CONF = """\
[config_bsp]
deploy_dir_image = .
qb_cpu = -cpu cortex-a57
qb_machine = -machine virt
qb_kernel_cmdline_append = console=ttyS0 console=tty oprofile.timer=1 swiotlb=0
serial_consoles = 115200;ttyAMA0 115200;hvc0
"""


def test_qemuboot_conf() -> None:
    conf = read_qemuboot(CONF)
    assert conf == QemuBoot("virt", "cortex-a57", "ttyAMA0")
    without = read_qemuboot("\n".join(CONF.splitlines()[:-1]))
    assert without.console == "ttyS0"
    assert read_qemuboot("") == QemuBoot("", "", "")
    qemu = Qemu("aarch64", "virt,x", "max", 1, (), None, None, None)
    assert with_qemuboot(qemu, conf) == dataclasses.replace(qemu, machine="virt", cpu="cortex-a57")
    assert with_qemuboot(qemu, QemuBoot("", "", "")) == qemu


def test_series_select_what_is_needed() -> None:
    series = make_catalog().series("wrynose")
    core = series.selected(())
    assert [(r.name, r.layers) for r in core] == [
        ("bitbake", ()),
        ("openembedded-core", ("meta",)),
        ("meta-openembedded", ("meta-oe",)),
    ]
    names = [repository.name for repository in series.selected(("meta-ti-bsp",))]
    assert names[3:] == ["meta-arm", "meta-ti"]
    assert series.missing(("meta-nope", "core")) == ("meta-nope",)


def test_a_series_that_leads_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\ndescription: x\nunpack_folder: ${UNPACKDIR}\nalways: [core]\n"
        "repositories: {}\nlayers:\n  meta-a: {repository: b, needs: [c]}\n"
    )
    with pytest.raises(UserError) as caught:
        make_catalog((tmp_path,)).series("mine")
    assert str(caught.value) == (
        f"{path}:5:1: repositories: has no bitbake\n"
        f"{path}:7:12: layers.meta-a.repository: b is not among the repositories\n"
        f"{path}:7:27: layers.meta-a.needs: there is no layer c\n"
        f"{path}:4:1: always: there is no layer core"
    )


def test_every_pin_is_a_full_commit() -> None:
    catalog = make_catalog()
    for name in catalog.names("series"):
        for repository in catalog.series(name).repositories.values():
            assert len(repository.commit) == 40


def test_bitbake_is_not_started_where_it_cannot_work() -> None:
    with pytest.raises(UserError) as caught:
        check_host(Path("/home/me/my project é/p"))
    assert str(caught.value) == (
        "BitBake cannot work in /home/me/my project é/p: its path has ' ' 'é'\n"
        "  hint: name another folder by --output"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_bitbake_is_not_started_as_root() -> None:
    with pytest.raises(UserError, match="BitBake does not run as root"):
        check_host(Path("/p"))
