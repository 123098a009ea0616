"""What `yocto-check-layer` asks of a layer and no BitBake is needed for."""

import re
import textwrap
from pathlib import Path

import pytest

from imagebuilder.catalog import make_catalog, shipped

LAYERS = sorted(path for path in shipped("layers").iterdir() if path.is_dir())
REQUIRED = """
    configure-gettext configure-unsafe debug-files dep-cmp expanded-d files-invalid
    host-user-contaminated incompatible-license infodir installed-vs-shipped invalid-chars
    invalid-packageconfig la license-checksum license-exception license-exists
    license-file-missing license-format license-no-generic license-syntax mime mime-xdg
    missing-update-alternatives multilib obsolete-license packages-list patch-fuzz patch-status
    perllocalpod perm-config perm-line perm-link recipe-naming pkgconfig pkgvarcheck
    pkgv-undefined pn-overrides shebang-size src-uri-bad symlink-to-sysroot unhandled-features-check
    unknown-configure-option unlisted-pkg-lics uppercase-pn useless-rpaths virtual-slash
    xorg-driver-abi
"""
"""CHECKLAYER_REQUIRED_TESTS of wrynose's insane.bbclass: no recipe may skip one."""


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.name)
def test_a_layer_says_who_keeps_it_and_how_to_report_a_weakness(layer: Path) -> None:
    readme = (layer / "README.md").read_text("utf-8")
    assert "Maintainer: " in readme
    assert re.search(r"\bpatch", readme)
    assert "README.md of its repository" in readme, "else it needs an address to send patches to"
    assert (layer / "SECURITY.md").stat().st_size > 0


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.name)
def test_every_patch_says_where_upstream_stands(layer: Path) -> None:
    for patch in layer.rglob("*.patch"):
        status = r"^Upstream-Status: (Pending|Submitted|Backport|Denied|Inappropriate|Inactive)"
        assert re.search(status, patch.read_text("utf-8"), re.M), patch.name


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.name)
def test_no_recipe_skips_a_required_test(layer: Path) -> None:
    files = [
        *layer.rglob("*.bb"),
        *layer.rglob("*.inc"),
        *layer.rglob("*.bbclass"),
        *layer.rglob("*.bbappend"),
    ]
    for file in files:
        for value in re.findall(r'^INSANE_SKIP\S* \S*= "([^"]*)"', file.read_text("utf-8"), re.M):
            assert not set(REQUIRED.split()) & set(value.split()), file.name


def test_what_needs_a_firmwares_layer_is_left_out_of_a_world_without_one() -> None:
    """As `bitbake world` of a product that has the layer and no firmware of ours."""
    recipes = {
        path.name.partition("_")[0]: path.read_text("utf-8")
        for layer in LAYERS
        for path in layer.rglob("*.bb")
    }
    skipped = {name for name, text in recipes.items() if "raise bb.parse.SkipRecipe" in text}
    assert "inferd" in skipped
    for name, text in recipes.items():
        needs = {
            word.removesuffix("-bin")
            for value in re.findall(r'^R?DEPENDS\S* \S*= "([^"]*)"', text, re.M)
            for word in value.split()
        }
        assert name in skipped or not needs & skipped, name


@pytest.mark.parametrize("series", make_catalog().names("series"))
def test_the_distro_builds_where_results_are_looked_for(series: str) -> None:
    """OE-core of scarthgap adds the C library's name to build/tmp; later ones refuse to."""
    distro = shipped("layers") / "meta-imagebuilder-distro" / "conf" / "distro" / "include"
    text = (distro / f"imagebuilder-{series}.inc").read_text("utf-8")
    assert ('TCLIBCAPPEND = ""\n' in text) == (series == "scarthgap")
    assert "TMPDIR" not in text


def test_every_series_makes_the_sbom_that_is_collected() -> None:
    """SPDX 3 is the default from wrynose on; the one of scarthgap leaves an archive of SPDX 2."""
    distro = shipped("layers") / "meta-imagebuilder-distro" / "conf" / "distro" / "include"
    text = (distro / "imagebuilder-scarthgap.inc").read_text("utf-8")
    (inherited,) = re.findall(r'^INHERIT_DISTRO \?= "(.*)"$', text, re.M)
    assert "create-spdx-3.0" in inherited.split()


def test_signatures_do_not_tell_the_folder_of_the_sources() -> None:
    """Else builds in other folders share nothing that depends on it; signatures.py asks BitBake."""
    text = (shipped("layers") / "meta-imagebuilder" / "conf" / "layer.conf").read_text("utf-8")
    value = "${@bool(d.getVar('IMAGEBUILDER_SOURCES'))}"
    assert f'\nIMAGEBUILDER_SOURCES[vardepvalue] = "{value}"\n' in text


def test_a_bundles_licence_texts_are_named_without_their_folder(tmp_path: Path) -> None:
    text = (shipped("layers") / "meta-imagebuilder/classes/model_bundle.bbclass").read_text("utf-8")
    (code,) = re.findall(r"^python \(\) \{\n(.*?)^\}", text, re.M | re.S)
    (tmp_path / "MIT").write_text("mit")
    values = {"COMMON_LICENSE_DIR": str(tmp_path), "LICENSE": "(MIT & Own-1.0) | MIT"}

    class Data(dict[str, str]):
        getVar = dict.get
        setVar = dict.__setitem__

    class Bb:
        class utils:
            @staticmethod
            def md5_file(path: str) -> str:
                return f"md5 of {Path(path).read_text()}"

    data = Data(values)
    exec(textwrap.dedent(code), {"d": data, "bb": Bb})
    uri = "file://${COMMON_LICENSE_DIR}/MIT;md5=md5 of mit"
    assert data["LIC_FILES_CHKSUM"] == f"{uri} {uri}"


def test_a_unit_starts_before_its_folder_of_state_is_there() -> None:
    """systemd sets up ReadWritePaths for ExecStartPre=+ too, which has to make the folder."""
    units = [path for layer in LAYERS for path in layer.rglob("*.service")]
    paths = [
        path
        for unit in units
        for value in re.findall(r"^ReadWritePaths=(.*)", unit.read_text("utf-8"), re.M)
        for path in value.split()
    ]
    assert paths == ["-/data/inferd"]


def test_a_filtered_system_call_fails_and_ends_nothing() -> None:
    """busybox gives up privileges at its start, as any user: shells and `kill` were killed."""
    units = [path for layer in LAYERS for path in layer.rglob("*.service")]
    filtered = [unit for unit in units if "SystemCallFilter=" in unit.read_text("utf-8")]
    assert {unit.stem for unit in filtered} == {"inferd", "llama-server"}
    for unit in filtered:
        assert "\nSystemCallErrorNumber=EPERM\n" in unit.read_text("utf-8"), unit.name


@pytest.mark.parametrize("series", make_catalog().names("series"))
def test_projects_share_what_they_compiled(series: str) -> None:
    """BitBake of scarthgap keeps the database of equal outputs in the project, where no other
    project looks: half of the shared state was not taken. Its default needs no database.
    """
    distro = shipped("layers") / "meta-imagebuilder-distro" / "conf" / "distro" / "include"
    text = (distro / f"imagebuilder-{series}.inc").read_text("utf-8")
    assert ('\nBB_HASHSERVE_DB_DIR ?= "${SSTATE_DIR}"\n' in text) == (series == "wrynose")
    assert "OEEquivHash" not in text


def test_dependencies_that_lie_in_folders_are_taken_from_them() -> None:
    """OE's cmake.bbclass forbids FetchContent to fill a folder, also from one beside it."""
    recipes = (path for layer in LAYERS for path in layer.rglob("*.bb"))
    texts = {path.name: path.read_text("utf-8") for path in recipes}
    named = [name for name, text in texts.items() if "cmake/deps.txt" in text]
    assert [name.partition("_")[0] for name in named] == ["onnxruntime-cut"]
    for name in named:
        assert "-DFETCHCONTENT_FULLY_DISCONNECTED=OFF " in texts[name], name


def test_the_cut_runtime_says_nothing_of_the_folder_it_was_built_in() -> None:
    """Its CMakeLists.txt puts all compiler flags into the library, which `buildpaths` refuses."""
    recipe = "meta-imagebuilder/recipes-runtimes/onnxruntime/onnxruntime-cut_1.28.0.bb"
    text = (shipped("layers") / recipe).read_text("utf-8")
    assert "sed -i '/cmake cxx flags:/d' ${S}/cmake/CMakeLists.txt\n" in text
