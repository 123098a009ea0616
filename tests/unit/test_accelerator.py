"""Driver, firmware and runtime of an accelerator."""

from pathlib import Path

from imagebuilder.accelerator import accelerator_problems
from imagebuilder.catalog import make_catalog

BOARD = """\
format: 1
inherits: qemuarm64
description: a board with an NPU
accelerator:
  kind: npu
  driver: {{name: galcore, version: 6.4.11.p4.4}}
  firmware: {{name: vivante, version: {firmware}}}
  runtimes: {{tflite: {{delegate: /usr/lib/libvx_delegate.so, version: {runtime}}}}}
  compatible:
    - {{driver: 6.4.11.p2.12, firmware: 6.4.11.p2.12}}
    - {{driver: 6.4.11.p4.4, firmware: 6.4.11.p4.4, runtimes: {{tflite: "1.2"}}}}
"""


def problems(folder: Path, firmware: str, runtime: str = '"1.2"') -> list[str]:
    (folder / "board.yaml").write_text(BOARD.format(firmware=firmware, runtime=runtime))
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


def test_every_shipped_machine_fits_itself() -> None:
    catalog = make_catalog()
    for name in catalog.names("machines"):
        assert list(accelerator_problems(catalog.machine(name))) == []
