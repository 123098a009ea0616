"""Mirrors of layers: real git repositories, nothing fetched twice."""

import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuilder.catalog.series import Repository
from imagebuilder.engines.yocto.mirror import carry_links, mirror_layers, premirrors
from imagebuilder.errors import UserError


def git(*words: object) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "meta-acme"
    git("init", "-q", "-b", "work", folder)
    for number in range(3):
        (folder / "file").write_text(str(number))
        git("-C", folder, "add", "file")
        git("-C", folder, "commit", "-qm", str(number))
    commit = git("-C", folder, "rev-parse", "HEAD")
    return Repository("meta-acme", f"file://{folder}", "wrynose", commit, (".",))


def test_a_mirror_has_the_commit_on_the_branch(tmp_path: Path, repository: Repository) -> None:
    mirror = tmp_path / "layers é" / "meta-acme.git"
    mirror_layers(repository, mirror)
    shutil.rmtree(tmp_path / "meta-acme")
    mirror_layers(repository, mirror)
    git("clone", "-q", "-b", "wrynose", f"file://{mirror}", tmp_path / "clone")
    assert git("-C", tmp_path / "clone", "rev-parse", "HEAD") == repository.commit
    assert (tmp_path / "clone" / "file").read_text() == "2"


def test_a_commit_that_is_not_there(tmp_path: Path, repository: Repository) -> None:
    gone = Repository(repository.name, repository.url, "wrynose", "0123456789" * 4, (".",))
    with pytest.raises(UserError) as caught:
        mirror_layers(gone, tmp_path / "meta-acme.git")
    what = f"meta-acme: cannot fetch {gone.commit} from {gone.url}"
    assert str(caught.value).startswith(what)


def test_premirrors_name_an_address_exactly() -> None:
    found = premirrors((Repository("a", "https://h.example/a.git", "", "0" * 40, ()),), "file:///m")
    assert found == r"^https://h\.example/a\.git$ file:///m/a.git"


def test_links_of_bitbake_hold_elsewhere(tmp_path: Path) -> None:
    site, downloads = tmp_path / "site", tmp_path / "mirror é" / "downloads"
    (site / "git" / "a.git").mkdir(parents=True)
    (site / "git" / "a.git" / "HEAD").write_text("a")
    (site / "zlib.tar.gz").write_text("zlib")
    (downloads / "git2" / "site.b.git").mkdir(parents=True)
    (downloads / "git2" / "site.b.git" / "HEAD").write_text("b")
    (downloads / "zlib.tar.gz").symlink_to(site / "zlib.tar.gz")
    (downloads / "git2" / "a.git").symlink_to(site / "git" / "a.git")
    (downloads / "git2" / "b.git").symlink_to(downloads / "git2" / "site.b.git")
    (downloads / "gone").symlink_to(site / "gone")
    for _ in range(2):
        carry_links(downloads)
    (tmp_path / "mirror é").rename(tmp_path / "carried")
    shutil.rmtree(site)
    carried = tmp_path / "carried" / "downloads"
    assert (carried / "zlib.tar.gz").read_text() == "zlib"
    assert (carried / "git2" / "a.git" / "HEAD").read_text() == "a"
    assert (carried / "git2" / "b.git" / "HEAD").read_text() == "b"
    assert (carried / "git2" / "b.git").is_symlink(), "no second copy"
    names = {path.name for path in carried.rglob("*")}
    assert names == {"HEAD", "a.git", "b.git", "git2", "gone", "site.b.git", "zlib.tar.gz"}
