"""Writing a generated project: what is kept, what is refused, what a killed run leaves."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.errors import UserError
from imagebuilder.kasproject import folder as folder_module
from imagebuilder.kasproject.folder import RECORD, write_project
from imagebuilder.state import write_if_changed


def test_only_changed_files_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "p é"
    files = {"kas.yml": b"1", "layers/a/b": b"2"}
    assert write_project(files, folder).written == ("kas.yml", "layers/a/b")
    before = (folder / "kas.yml").stat()
    (folder / "build").mkdir()
    result = write_project({"kas.yml": b"1", "layers/c": b"3"}, folder)
    assert (result.written, result.removed) == (("layers/c",), ("layers/a/b",))
    after = (folder / "kas.yml").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert not (folder / "layers" / "a").exists()
    assert (folder / "build").is_dir()


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UserError) as caught:
        write_project({"kas.yml": b"1"}, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: this folder was not written by imagebuilder; nothing in it was changed\n"
        "  hint: name another by --output, or an empty one"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_changed_by_hand_is_not_lost(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    write_project({"kas.yml": b"1", "a": b"1"}, folder)
    (folder / "kas.yml").write_text("mine")
    with pytest.raises(UserError, match=r"kas\.yml: changed by hand"):
        write_project({"kas.yml": b"2", "a": b"2"}, folder)
    assert (folder / "a").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["README.md", "kas.yml", "layers"])
def test_a_folder_of_others_with_a_name_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir() if name == "layers" else (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="not written by imagebuilder; nothing in it was changed"):
        write_project({"kas.yml": b"1", "README.md": b"1", "layers/a": b"1"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert name == "layers" or (tmp_path / name).read_text() == "mine"


def test_a_file_of_others_in_a_project_is_not_overwritten(tmp_path: Path) -> None:
    write_project({"kas.yml": b"1"}, tmp_path)
    (tmp_path / "new").write_text("mine")
    with pytest.raises(UserError) as caught:
        write_project({"kas.yml": b"2", "new": b"2"}, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/new: not written by imagebuilder; generating would overwrite it\n"
        "  hint: move it away, or keep it in a layer of your own (yocto.layers)"
    )
    assert (tmp_path / "kas.yml").read_bytes() == b"1"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("mine")
    with pytest.raises(UserError) as caught:
        write_project({"kas.yml": b"1"}, tmp_path / "p")
    assert str(caught.value) == (
        f"{tmp_path}/p: this is a file, not a folder\n  hint: name a folder by --output"
    )


def test_a_folder_that_was_removed_by_hand(tmp_path: Path) -> None:
    write_project({"kas.yml": b"1", "layers/a/b": b"1"}, tmp_path)
    shutil.rmtree(tmp_path / "layers")
    assert write_project({"kas.yml": b"1"}, tmp_path).removed == ("layers/a/b",)


class Killed(BaseException):
    """What ends a run between two files."""


@pytest.mark.parametrize("kills", list(itertools.product(range(6), range(6))))
def test_killed_runs_are_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, ...]
) -> None:
    folder = tmp_path / "p"
    wanted = [{"kas.yml": b"1", "gone": b"1", "layers/a": b"1"},
              {"kas.yml": b"2", "layers/a": b"2", "layers/b": b"2"},
              {"kas.yml": b"3", "layers/b": b"3"}]  # fmt: skip
    for files, left in zip(wanted, kills, strict=False):
        counter = itertools.count()

        def kill(path: Path, data: bytes, left: int = left, n: Iterator[int] = counter) -> bool:
            if next(n) == left:
                raise Killed
            return write_if_changed(path, data)

        monkeypatch.setattr(folder_module, "write_if_changed", kill)
        with contextlib.suppress(Killed):
            write_project(files, folder)
    monkeypatch.undo()
    write_project(wanted[2], folder)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {"kas.yml", "layers/b", RECORD}
    assert set(json.loads((folder / RECORD).read_text())) == {"format", "files"}


def test_a_record_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    write_project({"kas.yml": b"1"}, folder)
    (tmp_path / "victim").write_text("x")
    record = json.loads((folder / RECORD).read_text())
    record["files"]["../victim"] = "0" * 64
    (folder / RECORD).write_text(json.dumps(record))
    write_project({"kas.yml": b"1"}, folder)
    assert (tmp_path / "victim").exists()
