"""Faults of the disk on a disk of a test's own, and what is said of those that cannot be made."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gpt import disk, entry, header

from imagebuilder.artifact import Artifact, Artifacts
from imagebuilder.errors import BuildError
from imagebuilder.target.agent import Output
from imagebuilder.testing import Target, faults

BLOCK = faults.BLOCK
MODELS, DATA = 8, 24
"""Blocks at which two partitions of 16 blocks begin."""
SECTORS = BLOCK // 512


class Disk(Target):
    """A target that is off."""

    def __init__(self, folder: Path, path: Path) -> None:
        super().__init__("bench", None)
        self._disk = path
        files = (Artifact("disk", "built.img", path.stat().st_size, "0" * 64),)
        self._artifacts = Artifacts(
            folder, "doorbell", "1", "qemuarm64", "debian", "dev", "", "", False, (), files
        )

    @property
    def disk(self) -> Path:
        return self._disk

    @property
    def artifacts(self) -> Artifacts:
        return self._artifacts


class Shell(Target):
    """A target that answers commands as `answer` does."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__("bench", None)
        self._answer = answer

    def run(self, command: str, timeout: float = 60.0) -> Output:
        text = self._answer(command)
        failed = text.startswith("!")
        said = text.removeprefix("!").encode()
        return Output(1, b"", said) if failed else Output(0, said, b"")


@pytest.fixture
def target(tmp_path: Path) -> Disk:
    """Its data has six blocks that hold anything."""
    names = (("models-a", MODELS), ("data", DATA))
    entries = [entry(name, at * SECTORS, (at + 16) * SECTORS - 1) for name, at in names]
    path = disk(tmp_path, header(count=2), *entries)
    with path.open("r+b") as stream:
        stream.truncate((DATA + 20) * BLOCK)
        for number, letter in enumerate(b"abcdef"):
            stream.seek((DATA + 2 * number) * BLOCK)
            stream.write(bytes([letter]) * BLOCK)
        stream.seek((MODELS + 3) * BLOCK)
        stream.write(b"weights" * 3000)
    (tmp_path / "built.img").write_bytes(path.read_bytes())
    return Disk(tmp_path, path)


def changed(target: Disk) -> list[int]:
    """Blocks that are not as they were built."""
    old, new = (p.read_bytes() for p in (target.artifacts.path("disk"), target.disk))
    assert len(old) == len(new)
    return [at // BLOCK for at in range(0, len(old), BLOCK)
            if old[at : at + BLOCK] != new[at : at + BLOCK]]  # fmt: skip


def test_blocks_that_hold_anything_are_hit(target: Disk) -> None:
    hit = faults.corrupt(target, "data", blocks=3, seed=5)
    assert changed(target) == [DATA + at // BLOCK for at in hit]
    assert len(hit) == 3
    assert all(at % (2 * BLOCK) == 0 for at in hit)
    before = target.disk.read_bytes()
    faults.repair(target, "data")
    assert changed(target) == []
    assert faults.corrupt(target, "data", blocks=3, seed=5) == hit
    assert target.disk.read_bytes() == before


def test_all_blocks_at_most_but_those_that_are_spared(target: Disk) -> None:
    assert len(faults.corrupt(target, "data", blocks=99, spare=b"cc")) == 5
    assert changed(target) == [DATA + 2 * number for number in (0, 1, 3, 4, 5)]


def test_one_bit_of_a_file_is_flipped(target: Disk) -> None:
    at = faults.damage(target, "models-a", b"weights" * 3000)
    place = MODELS * BLOCK + at
    old, new = (p.read_bytes() for p in (target.artifacts.path("disk"), target.disk))
    assert [n for n, (a, b) in enumerate(zip(old, new, strict=True)) if a != b] == [place]
    assert old[place] ^ new[place] == 1
    for contents in (b"other weights", b""):
        with pytest.raises(BuildError, match=r"^models-a does not hold these contents$"):
            faults.damage(target, "models-a", contents)


def test_bytes_are_written_within_the_partition_only(target: Disk) -> None:
    faults.overwrite(target, "data", 15 * BLOCK, b"x" * BLOCK)
    assert changed(target) == [DATA + 15]
    with pytest.raises(BuildError, match=r"^data has 65536 bytes only$"):
        faults.overwrite(target, "data", 15 * BLOCK, b"x" * (BLOCK + 1))
    assert changed(target) == [DATA + 15]


def test_a_repair_leaves_the_other_partitions(target: Disk) -> None:
    faults.overwrite(target, "models-a", 0, b"x")
    faults.overwrite(target, "data", 0, b"x")
    faults.repair(target, "models-a")
    assert changed(target) == [DATA]


def test_a_partition_that_is_not_there(target: Disk) -> None:
    with pytest.raises(BuildError, match=r"^no partition root-a: there are models-a, data$"):
        faults.corrupt(target, "root-a")


def test_a_server_that_does_not_run_cannot_be_killed() -> None:
    with pytest.raises(BuildError, match=r"^inferd does not run$"):
        faults.kill(Shell(lambda command: "!"))


def test_a_server_that_does_not_come_back(monkeypatch) -> None:
    target = Shell(lambda command: "7" if command == "pidof inferd" else "!")
    with pytest.raises(BuildError, match=r"^bench: no other inferd runs after 0 s$"):
        faults.wait_for_another(target, "inferd", 7, timeout=0)


def test_a_kernel_that_did_not_kill_is_told() -> None:
    asked: list[str] = []

    def answer(command: str) -> str:
        asked.append(command)
        return "7" if command == "pidof inferd" else "!" if "dmesg" in command else ""

    with pytest.raises(BuildError, match=r"^the kernel did not kill inferd for want of memory$"):
        faults.out_of_memory(Shell(answer))
    assert "echo 1000 > /proc/7/oom_score_adj" in asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [("!date: invalid date '@9999999999'\n", "date: invalid date '@9999999999'"),
     ("1410065407\n", "it shows 1410065407"), ("", "it shows nothing")],
)  # fmt: skip
def test_a_clock_that_cannot_be_set(answer: str, why: str) -> None:
    wanted = f"^{re.escape(f'the clock cannot be set to 9999999999: {why}')}$"
    with pytest.raises(BuildError, match=wanted):
        faults.set_clock(Shell(lambda command: answer), 9999999999)


def test_a_file_system_that_does_not_fill() -> None:
    with pytest.raises(BuildError, match=r"^the file system of /data/fill is not full$"):
        faults.fill(Shell(lambda command: ""))
