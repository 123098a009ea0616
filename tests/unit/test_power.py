"""Power cuts: what a log of writes leaves on a disk."""

import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import BuildError
from imagebuilder.target.power import (
    DISCARD,
    ENTRY,
    FLUSH,
    FUA,
    MAGIC,
    SECTOR,
    SUPER,
    cut,
    read_log,
    surviving,
)

SECTORS = 8
Request = tuple[int, int, bytes]
"""First sector, flags, data."""

requests = st.lists(
    st.one_of(
        st.tuples(st.integers(0, SECTORS - 1), st.sampled_from((0, FUA)),
                  st.integers(1, 255).map(lambda value: bytes([value]) * SECTOR)),
        st.just((0, FLUSH, b"")),
    ),
    max_size=20,
)  # fmt: skip


def log_of(items: list[Request]) -> bytes:
    text = SUPER.pack(MAGIC, 1, 0, SECTOR).ljust(SECTOR, b"\0")
    for sector, flags, data in items:
        text += ENTRY.pack(sector, len(data) // SECTOR, flags, 0).ljust(SECTOR, b"\0") + data
    return text


@given(requests, st.integers(0, 1000))
def test_what_was_flushed_is_there(tmp_path_factory, items: list[Request], seed: int) -> None:
    """Each sector holds its last flushed contents, or something that was written later."""
    folder = tmp_path_factory.mktemp("power")
    (folder / "log").write_bytes(log_of(items))
    (folder / "disk").write_bytes(b"\0" * SECTORS * SECTOR)
    cut(folder / "disk", folder / "log", random.Random(seed))
    disk = (folder / "disk").read_bytes()
    assert len(disk) == SECTORS * SECTOR
    allowed = [[b"\0" * SECTOR] for _ in range(SECTORS)]
    for sector, flags, data in items:
        if flags & FLUSH:
            # Only what was written last can be on the disk now.
            allowed = [found[-1:] for found in allowed]
        else:
            allowed[sector] = [data] if flags & FUA else [*allowed[sector], data]
    for sector in range(SECTORS):
        found = disk[sector * SECTOR : (sector + 1) * SECTOR]
        assert found in allowed[sector]


def test_writes_after_the_last_flush_are_lost_by_chance(tmp_path: Path) -> None:
    items = [(n % SECTORS, 0, bytes([n + 1]) * SECTOR) for n in range(200)]
    text = log_of([items[0], (0, FLUSH, b""), *items[1:]])
    writes = list(read_log(io.BytesIO(text)))
    assert len(writes) == 201
    kept = surviving(writes, random.Random(1))
    assert kept[:2] == writes[:2]
    assert 60 < len(kept) < 140
    assert surviving(writes, random.Random(1)) == kept


def test_a_log_that_ends_in_the_middle() -> None:
    text = log_of([(0, 0, b"a" * SECTOR), (1, 0, b"b" * SECTOR)])
    assert len(list(read_log(io.BytesIO(text[:-1])))) == 1
    assert list(read_log(io.BytesIO(b""))) == []
    assert len(list(read_log(io.BytesIO(text + b"\0" * SECTOR * 3)))) == 2


def test_a_discard_has_no_data() -> None:
    text = log_of([]) + ENTRY.pack(4, 2, DISCARD, 0).ljust(SECTOR, b"\0")
    text += log_of([(1, 0, b"b" * SECTOR)])[SECTOR:]
    assert [(w.sector, w.size) for w in read_log(io.BytesIO(text))] == [(4, 1024), (1, 512)]


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * SECTOR)
    with path.open("rb") as stream, pytest.raises(BuildError) as caught:
        list(read_log(stream))
    assert str(caught.value) == f"{path}: not a log of writes with sectors of 512 bytes"
