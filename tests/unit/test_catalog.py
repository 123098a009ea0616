"""The catalog: what is shipped is valid, the user's own folders come first."""

from pathlib import Path

import pytest

from imagebuilder.catalog import make_catalog
from imagebuilder.cli.listing import machine_table
from imagebuilder.errors import UserError

MACHINE = """\
format: 1
description: A board
arch: aarch64
cpu: cortex-a53
memory: 1GiB
storage: {device: mmcblk0, size: 8GB}
"""


def test_every_shipped_machine_and_runtime_is_valid() -> None:
    catalog = make_catalog()
    assert {"qemuarm64", "qemux86-64", "qemuriscv64", "qemuarm"} <= set(catalog.names("machines"))
    for name in catalog.names("machines"):
        assert catalog.machine(name).name == name
    for name in catalog.names("runtimes"):
        assert catalog.runtime(name).name == name


def test_the_table_says_how_far_each_series_was_proved(tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(MACHINE + "status: {wrynose: built}\n")
    header, rows = machine_table(make_catalog([tmp_path]))
    assert header == (
        *("machine", "architecture", "memory", "engines"),
        *("scarthgap", "wrynose", "description"),
    )
    assert ("board", "aarch64", "1.0 GiB", "", "", "built", "A board") in rows


def test_own_machine_hides_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "qemuarm64.yaml").write_text(MACHINE)
    machine = make_catalog([tmp_path]).machine("qemuarm64")
    assert machine.description == "A board"
    assert (machine.memory, machine.storage_size) == (1 << 30, 8_000_000_000)
    assert machine.debian is None


def test_a_machine_inherits_and_stands_in(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("format: 1\ninherits: qemuarm64\nmemory: 256MiB\n")
    (tmp_path / "board.yaml").write_text(MACHINE + "qemu: {like: qemuarm64, cpu: cortex-a53}\n")
    catalog = make_catalog([tmp_path])
    mine, board = catalog.machine("mine"), catalog.machine("board")
    assert mine.memory == 256 << 20
    assert mine.qemu is not None
    assert mine.qemu.memory == 256 << 20
    assert mine.qemu.stand_in_for is None
    assert board.qemu is not None
    assert (board.qemu.system, board.qemu.cpu) == ("aarch64", "cortex-a53")
    assert board.qemu.stand_in_for == "board"


def test_what_was_proven_for_a_machine_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "format: 1\ninherits: qemuarm64\nstatus: {wrynose: built}\n"
    )
    (tmp_path / "mine.yaml").write_text("format: 1\ninherits: base\n")
    catalog = make_catalog((tmp_path,))
    assert catalog.machine("base").status == {"wrynose": "built"}
    assert catalog.machine("mine").status == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: 1\ninherits: mine\n", "{0}/mine.yaml:2:1: inherits: mine inherits from mine"),
        (MACHINE + "qemu: {cpu: x}\n",
         "{0}/mine.yaml:7:1: qemu: the key `system` is missing\n"
         "{0}/mine.yaml:7:1: qemu: the key `machine` is missing"),
        (MACHINE.replace("aarch64", "vax"),
         '{0}/mine.yaml:3:1: arch: "vax" is not one of aarch64, x86_64, riscv64, armv7'),
    ],
)  # fmt: skip
def test_wrong_machines(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        make_catalog([tmp_path]).machine("mine")
    assert str(caught.value) == message.replace("{0}", str(tmp_path))


def test_an_unknown_name_gets_a_near_one() -> None:
    with pytest.raises(UserError) as caught:
        make_catalog().machine("qemuarm46")
    assert str(caught.value) == (
        "no machine is called 'qemuarm46'\n  hint: did you mean qemuarm64?"
    )
