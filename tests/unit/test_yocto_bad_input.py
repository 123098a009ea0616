"""What keeps a manifest from becoming a project, or a project from being built: exact errors."""

import dataclasses
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from test_kasproject import make, problems

from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.engines.yocto import mirror
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.kasproject.problems import part_problems
from imagebuilder.kasproject.project import Ingredients, project_files
from imagebuilder.log import QUIET, Log
from imagebuilder.state import Cache


def with_machine(ingredients: Ingredients, **yocto: Any) -> Ingredients:
    machine = ingredients.build.machine
    assert machine.yocto is not None
    changed = dataclasses.replace(machine, yocto=dataclasses.replace(machine.yocto, **yocto))
    build = dataclasses.replace(ingredients.build, machine=changed)
    return dataclasses.replace(ingredients, build=build)


def test_a_series_that_has_no_layer_for_the_machine(tmp_path: Path) -> None:
    ingredients = with_machine(make(tmp_path), layers=("meta-acme",))
    assert problems(ingredients) == [
        f"{tmp_path}/firmware.yaml:4:1: machine: qemuarm64 needs the layer meta-acme, of which "
        "there is none for wrynose\n"
        "  hint: choose another series, or add it to a series of your own"
    ]


def test_a_machine_that_is_not_for_the_series(tmp_path: Path) -> None:
    ingredients = with_machine(make(tmp_path), series=("scarthgap",))
    assert problems(ingredients) == [
        f"{tmp_path}/firmware.yaml:6:9: yocto.series: qemuarm64 cannot be built with wrynose\n"
        "  hint: it can with: scarthgap"
    ]


def test_a_series_of_ones_own_is_of_a_release(tmp_path: Path) -> None:
    shutil.copy(make_catalog().path("series", "scarthgap"), tmp_path / "own.yaml")
    with (tmp_path / "own.yaml").open("a") as file:
        file.write("release: scarthgap\n")
    ingredients = make(tmp_path)
    series = make_catalog((tmp_path,)).series("own")
    build = dataclasses.replace(
        ingredients.build, series=series, machine=make_catalog().machine("jetson-orin-nano-devkit")
    )
    files = project_files(dataclasses.replace(ingredients, build=build, series=series))
    layer = "layers/meta-firmware"
    assert b'COMPAT_firmware = "scarthgap"' in files[f"{layer}/conf/layer.conf"]
    assert f"{layer}/recipes-kernel/linux/linux-jammy-nvidia-tegra_%.bbappend" in files


def test_a_licence_that_nobody_accepted(tmp_path: Path) -> None:
    ingredients = with_machine(make(tmp_path), licenses=("ACCEPT_FSL_EULA",))
    assert problems(ingredients) == [
        f"{tmp_path}/firmware.yaml:6:1: yocto.licenses: qemuarm64 needs ACCEPT_FSL_EULA to be "
        "accepted\n"
        "  hint: read that licence; if you accept it: yocto: {licenses: [ACCEPT_FSL_EULA]}"
    ]


def test_licences_and_kernel_of_a_product_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "virtio.cfg").write_text("CONFIG_VIRTIO=y\n")
    ingredients = make(tmp_path, extra="kernel: {fragments: [virtio.cfg]}\n")
    build = with_machine(ingredients, licenses=("ACCEPT_FSL_EULA",)).build
    assert len(problems(dataclasses.replace(ingredients, build=build))) == 2
    assert list(part_problems(build, ingredients.series)) == []
    build = with_machine(ingredients, layers=("meta-acme",)).build
    assert len(list(part_problems(build, ingredients.series))) == 1


def test_layers_that_conflict(tmp_path: Path) -> None:
    for folder, collection in (("a/meta-acme", "acme"), ("b/meta-acme", "other"), ("c", "acme")):
        (tmp_path / folder / "conf").mkdir(parents=True)
        (tmp_path / folder / "conf" / "layer.conf").write_text(
            f'BBFILE_COLLECTIONS += "{collection}"\nLAYERSERIES_COMPAT_{collection} = "wrynose"\n'
        )
    yocto = ", layers: [{path: a/meta-acme}, {path: b/meta-acme}, {path: c}]"
    place = f"{tmp_path}/firmware.yaml:6"
    assert problems(make(tmp_path, yocto=yocto)) == [
        f"{place}:57: yocto.layers[1].path: there is already a layer meta-acme in the project",
        f"{place}:78: yocto.layers[2].path: the layer c has the collection acme, "
        "which another one has too",
    ]


def test_layers_that_the_series_has_too(tmp_path: Path) -> None:
    for folder, name in (("meta-oe", "openembedded-layer"), ("a b", "ab"), ("mine", "core")):
        (tmp_path / folder / "conf").mkdir(parents=True)
        (tmp_path / folder / "conf" / "layer.conf").write_text(
            f'BBFILE_COLLECTIONS += "{name}"\nLAYERSERIES_COMPAT_{name} = "wrynose"\n'
        )
    yocto = ", layers: [{path: meta-oe}, {path: a b}, {path: mine}]"
    place, other = f"{tmp_path}/firmware.yaml:6", ", which another one has too"
    assert problems(make(tmp_path, yocto=yocto)) == [
        f"{place}:36: yocto.layers[0].path: there is already a layer meta-oe in the project",
        f"{place}:36: yocto.layers[0].path: the layer meta-oe has the collection "
        f"openembedded-layer{other}",
        f"{place}:53: yocto.layers[1].path: a b: BitBake cannot name this folder\n"
        "  hint: use letters, digits and . _ + - only",
        f"{place}:66: yocto.layers[2].path: the layer mine has the collection core{other}",
    ]


def test_a_command_line_that_the_boot_loader_would_not_get(tmp_path: Path) -> None:
    ingredients = make(tmp_path, extra="kernel: {command_line: [isolcpus=3]}\n")
    assert problems(ingredients) == []
    board = dataclasses.replace(ingredients.build.machine, flash="bmaptool")
    build = dataclasses.replace(ingredients.build, machine=board)
    assert problems(dataclasses.replace(ingredients, build=build)) == [
        f"{tmp_path}/firmware.yaml:7:10: kernel.command_line: the boot loader of qemuarm64 takes "
        "no words from the manifest\n"
        "  hint: set them in a layer of your own (yocto.layers), as the machine's BSP has it"
    ]


def test_a_kernel_feature_that_does_not_exist(tmp_path: Path) -> None:
    ingredients = with_machine(make(tmp_path), features=("virtio", "warp-drive"))
    (found,) = problems(ingredients)
    place = ingredients.build.machine.file.path
    assert re.fullmatch(
        rf"{re.escape(str(place))}:\d+:\d+: yocto\.features: qemuarm64 wants the kernel feature "
        r"warp-drive, which does not exist\n"
        r"  hint: there are: camera, containers, dm-verity, memory-limit, .*, watchdog",
        found,
    )


def test_a_mirror_in_a_folder_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "check_host", lambda _: None)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    build = make(tmp_path).build
    fetcher = Fetcher(Cache(tmp_path / "cache"), Log(QUIET), offline=True)
    with pytest.raises(UserError) as caught:
        mirror.export_mirror(build, folder, fetcher, fetcher.log)
    assert str(caught.value) == (
        f"{folder}: this folder was not written by imagebuilder; nothing in it was changed\n"
        "  hint: name another by --output, or an empty one"
    )
    assert [path.name for path in folder.iterdir()] == ["README.md"]


class Fatal(Exception):
    """What `bb.fatal` does: ends the task with a message."""


def check_symbols(folder: Path, config: str, **fragments: str) -> None:
    """Run the task of `kernel_requested_symbols.bbclass` as BitBake runs it."""
    (folder / ".config").write_text(config)
    for name, text in fragments.items():
        (folder / f"{name}.cfg").write_text(text)
    text = shipped("layers") / "meta-imagebuilder/classes/kernel_requested_symbols.bbclass"
    body = re.search(
        r"^python do_check_requested_symbols\(\) \{\n(.*?)^\}", text.read_text(), re.M | re.S
    )
    assert body is not None
    names = " ".join(f"{name}.cfg" for name in fragments)
    variables = {
        "B": str(folder), "UNPACKDIR": None, "WORKDIR": str(folder),
        "IMAGEBUILDER_KERNEL_FRAGMENTS": f"{names} gone.cfg" if "gone" in config else names,
    }  # fmt: skip

    class Bb:
        @staticmethod
        def fatal(message: str) -> None:
            raise Fatal(message)

    class Data:
        @staticmethod
        def getVar(name: str) -> str | None:
            return variables[name]

    exec(f"def task(d, bb):\n{textwrap.indent(body[1], ' ')}", scope := {})
    scope["task"](Data, Bb)


def test_a_kernel_symbol_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Fatal) as caught:
        check_symbols(
            tmp_path,
            "CONFIG_A=y\n# CONFIG_B is not set\n",
            own="CONFIG_A=y\n\nCONFIG_NOPE=y\nCONFIG_B=m\n",
        )
    assert str(caught.value) == (
        "kernel symbols did not take effect:\n"
        "  own.cfg:3: CONFIG_NOPE=y is not in the final kernel configuration, which has n\n"
        "  own.cfg:4: CONFIG_B=m is not in the final kernel configuration, which has n"
    )


def test_the_last_fragment_that_names_a_symbol_decides(tmp_path: Path) -> None:
    check_symbols(tmp_path, "CONFIG_A=m\n", first="CONFIG_A=y\n", second="CONFIG_A=m\n")
    check_symbols(tmp_path, "CONFIG_B=y\n", first="# CONFIG_A is not set\n")


def test_a_fragment_that_is_not_among_the_sources(tmp_path: Path) -> None:
    with pytest.raises(Fatal) as caught:
        check_symbols(tmp_path, "CONFIG_A=y # gone\n", own="")
    assert str(caught.value) == (
        "kernel symbols did not take effect:\n"
        "  gone.cfg: this fragment is not among the kernel's sources"
    )
