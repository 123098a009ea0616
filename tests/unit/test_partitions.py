"""The partition table of a disk, read back."""

from pathlib import Path

import pytest
from gpt import disk, entry, header
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import BuildError
from imagebuilder.target.partitions import ENTRY, SECTOR, Place, read_partitions


def test_partitions_by_name(tmp_path: Path) -> None:
    found = read_partitions(disk(
        tmp_path, header(), entry("root-a", 2048, 4095), entry("", 0, 0, bytes(16)),
        entry("data", 4096, 4096), entry("beyond the table's four", 9, 9, bytes(16)),
    ))  # fmt: skip
    assert found == {"root-a": Place(1 << 20, 1 << 20), "data": Place(2 << 20, SECTOR)}


def test_entries_may_be_longer_than_they_have_to_be(tmp_path: Path) -> None:
    entries = [entry(name, 8, 15).ljust(256, b"\0") for name in ("one", "two")]
    found = read_partitions(disk(tmp_path, header(count=2, size=256), *entries))
    assert list(found) == ["one", "two"]


@pytest.mark.parametrize("contents", [b"", bytes(4096), b"EFI PART" * 512])
def test_a_disk_without_a_table(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(contents if not contents.startswith(b"EFI") else bytes(1) + contents)
    with pytest.raises(BuildError) as caught:
        read_partitions(path)
    assert str(caught.value) == f"{path}: no GUID partition table"


@pytest.mark.parametrize(
    ("head", "last"),
    [
        (header(size=ENTRY.size - 1), 15),
        (header(size=1 << 31), 15),
        (header(count=1 << 31), 15),
        (header(first=1 << 63), 15),
        (header(first=1000), 15),
        (header(), 7),
    ],
    ids=["short entries", "long entries", "many entries", "far away", "not there", "ends early"],
)
def test_a_damaged_table(tmp_path: Path, head: bytes, last: int) -> None:
    path = disk(tmp_path, head, *(entry("data", 8, last),) * 4)
    with pytest.raises(BuildError) as caught:
        read_partitions(path)
    assert str(caught.value) == f"{path}: its partition table is damaged"


heads = st.one_of(
    st.binary(min_size=SECTOR - 8, max_size=SECTOR - 8).map(lambda rest: b"EFI PART" + rest),
    st.builds(header, count=st.integers(0, 8), size=st.integers(ENTRY.size, 140)),
)


@given(heads, st.binary(max_size=1200))
def test_any_bytes_are_a_table_or_none(tmp_path_factory, head: bytes, table: bytes) -> None:
    path = disk(tmp_path_factory.mktemp("disk"), head, table)
    try:
        found = read_partitions(path)
    except BuildError:
        return
    assert all(place.start >= 0 and place.size > 0 for place in found.values())
