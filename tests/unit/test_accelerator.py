"""Driver, firmware and runtime of an accelerator."""

from pathlib import Path

import pytest

from imagebuilder.accelerator import accelerator_problems
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import UserError

BOARD = """\
format: 1
inherits: qemuarm64
description: a board with an NPU
accelerator:
  kind: npu
  driver: {{name: galcore, version: 6.4.11.p4.4}}
  firmware: {{name: vivante, version: {firmware}}}
{devices}  runtimes: {{tflite: {{delegate: /usr/lib/libvx_delegate.so, version: {runtime}}}}}
  compatible:
    - {{driver: 6.4.11.p2.12, firmware: 6.4.11.p2.12}}
    - {{driver: 6.4.11.p4.4, firmware: 6.4.11.p4.4, runtimes: {{tflite: "1.2"}}}}
"""


DEVICES = "  devices: [/dev/galcore]\n"


def problems(
    folder: Path, firmware: str, runtime: str = '"1.2"', devices: str = DEVICES
) -> list[str]:
    text = BOARD.format(firmware=firmware, runtime=runtime, devices=devices)
    (folder / "board.yaml").write_text(text)
    machine = make_catalog((folder,)).machine("board")
    return [str(problem) for problem in accelerator_problems(machine)]


def test_versions_that_belong_together(tmp_path: Path) -> None:
    assert problems(tmp_path, "6.4.11.p4.4") == []


def test_a_mismatch_names_all_three(tmp_path: Path) -> None:
    hint = (
        "\n  hint: these do: driver 6.4.11.p2.12, firmware 6.4.11.p2.12; "
        "driver 6.4.11.p4.4, firmware 6.4.11.p4.4, tflite 1.2"
    )
    for firmware, runtime in (("6.4.11.p2.12", '"1.2"'), ("6.4.11.p4.4", '"1.1"')):
        assert problems(tmp_path, firmware, runtime) == [
            f"{tmp_path / 'board.yaml'}:4:1: accelerator: board: driver galcore 6.4.11.p4.4, "
            f"firmware vivante {firmware}, runtime tflite {runtime[1:-1]} "
            f"do not belong together{hint}"
        ]


def test_a_delegate_whose_device_nodes_nobody_names(tmp_path: Path) -> None:
    """They would stay root's, and inferd would never start."""
    assert problems(tmp_path, "6.4.11.p4.4", devices="") == [
        f"{tmp_path / 'board.yaml'}:8:14: accelerator.runtimes.tflite: board does not say which "
        "device nodes the delegate opens\n"
        "  hint: add `devices: [/dev/NODE]`, or `devices: []` if it opens none"
    ]
    assert problems(tmp_path, "6.4.11.p4.4", devices="  devices: []\n") == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[/dev/accel/accel0, /dev/apex_0]", None),
        ("/dev/apex_0", 'accelerator.devices: "/dev/apex_0" must be a list'),
        ("[/dev/apex_0, /dev/apex_0]", "accelerator.devices: has doubled items"),
        *(
            (f"['{path}']", f'accelerator.devices[0]: "{path}" is not the path of a device node: '
             "letters, digits and . _ + - below /dev")
            for path in ("apex_0", "/dev", "/dev/", "/sys/apex_0", "/dev/../etc/shadow", "/dev/a*",
                         "/dev/a b", "/dev/a%i", "/devil/a", "char-apex")
        ),
    ],
)  # fmt: skip
def test_what_names_a_device_node(tmp_path: Path, value: str, said: str | None) -> None:
    devices = f"  devices: {value}\n"
    if said is None:
        assert problems(tmp_path, "6.4.11.p4.4", devices=devices) == []
        return
    with pytest.raises(UserError) as caught:
        problems(tmp_path, "6.4.11.p4.4", devices=devices)
    (problem,) = caught.value.problems
    where = f"{tmp_path / 'board.yaml'}:8:{13 if '[0]' in said else 3}: "
    assert str(problem) == where + said


def test_every_shipped_machine_fits_itself() -> None:
    catalog = make_catalog()
    for name in catalog.names("machines"):
        assert list(accelerator_problems(catalog.machine(name))) == []
