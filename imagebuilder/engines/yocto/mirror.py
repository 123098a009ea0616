"""What a site without network needs for a project: its layers, its sources, and how to use them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from imagebuilder.catalog.series import Repository
from imagebuilder.engines.yocto.bitbake import Job, run_kas, shared_folders
from imagebuilder.engines.yocto.steps import PROJECT, check_host, ingredients, site_file
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.kasproject.folder import RECORD, check_folder, write_project
from imagebuilder.kasproject.project import project_files
from imagebuilder.kasproject.settings import yocto_machine
from imagebuilder.log import Log
from imagebuilder.resolve import Build
from imagebuilder.run import run
from imagebuilder.state import host_errors, new_file, new_folder, write_if_changed
from imagebuilder.templates import render

LAYERS = "layers"
DOWNLOADS = "downloads"
TEXTS = {"env.sh": "yocto/mirror-env.sh", "README.md": "yocto/mirror-readme.md"}


def export_mirror(build: Build, folder: Path, fetcher: Fetcher, log: Log) -> None:
    """Fill `folder` with project, layers and sources; what is there already is not fetched again.

    Raises `UserError` or `BuildError`.
    """
    folder = folder.absolute()
    project = folder / PROJECT
    check_host(project)
    with host_errors("mirror", folder):
        check_folder(folder, f"{PROJECT}/{RECORD}")
    files = project_files(ingredients(build))
    write_project(files, project)  # first, since it marks the folder as ours
    assert build.series is not None
    repositories = build.series.selected(yocto_machine(build, build.series).layers)
    for repository in repositories:
        with log.task(f"layers of {repository.name}"):
            mirror_layers(repository, folder / LAYERS / f"{repository.name}.git")
    environment = {
        **shared_folders(fetcher.cache),
        "KAS_PREMIRRORS": premirrors(repositories, f"file://{folder}/{LAYERS}"),
    }
    fetch_sources(files, folder, environment, log)
    names = [repository.name for repository in repositories]
    values = {"premirrors": premirrors(repositories, f"file://$mirror/{LAYERS}"), "names": names}
    for name, template in TEXTS.items():
        text = render(template, **values, name=build.manifest.name, project=PROJECT)
        write_if_changed(folder / name, text.encode())


def fetch_sources(
    files: Mapping[str, bytes], folder: Path, environment: dict[str, str], log: Log
) -> None:
    """Fill the mirror's downloads with the sources of all recipes of a project's `files`.

    They are fetched from a copy of the project: OE-core refuses to build in a folder with a build
    that was begun at another place.
    """
    project = folder / "fetch"
    write_project(files, project)
    environment = {**environment, "DL_DIR": str(folder / DOWNLOADS)}
    run_kas(Job(project, folder / "kas.log", site_file(), environment, ("--runall=fetch",)), log)
    shutil.rmtree(project, ignore_errors=True)
    carry_links(folder / DOWNLOADS)


def mirror_layers(repository: Repository, folder: Path) -> None:
    """A bare repository with the pinned commit, on the branch that kas looks for."""
    git = ("git", "-C", folder)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(["git", "init", "-q", "--bare", folder])
    if run([*git, "cat-file", "-e", repository.commit], check=False).exit_code:
        found = run(
            [*git, "fetch", "-q", "--depth=1", repository.url, repository.commit], check=False
        )
        if found.exit_code:
            reason = found.stderr.decode("utf-8", "replace").strip()
            what = f"{repository.name}: cannot fetch {repository.commit} from {repository.url}"
            raise UserError(what, hint=reason)
    branch = repository.branch or "main"
    run([*git, "update-ref", f"refs/heads/{branch}", repository.commit])
    run([*git, "symbolic-ref", "HEAD", f"refs/heads/{branch}"])


def carry_links(folder: Path) -> None:
    """Make the links in `folder` hold wherever it is carried.

    BitBake links by absolute paths what it has from a mirror: sources that lie on a disk of the
    site, and git repositories under the mirror's name.
    """
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and path.exists():
                _carry(path, folder.resolve())


def _carry(link: Path, folder: Path) -> None:
    target = link.resolve()
    if target.is_relative_to(folder):
        link.unlink()
        link.symlink_to(os.path.relpath(target, link.parent.resolve()))
    elif target.is_dir():
        with new_folder(link) as temporary:
            shutil.copytree(target, temporary, symlinks=True, dirs_exist_ok=True)
            link.unlink()
    else:
        with new_file(link) as temporary:
            shutil.copyfile(target, temporary)


def premirrors(repositories: tuple[Repository, ...], place: str) -> str:
    """KAS_PREMIRRORS: a pattern of each repository's address, and where the mirror has it."""
    lines = (f"^{re.escape(r.url)}$ {place}/{r.name}.git" for r in repositories)
    return "\n".join(lines)
