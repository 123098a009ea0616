"""The steps of the engine yocto: the project's files, then BitBake."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from imagebuilder.catalog import shipped
from imagebuilder.engines.yocto.bitbake import Job, offline_variables, run_kas, shared_folders
from imagebuilder.engines.yocto.blame import located
from imagebuilder.engines.yocto.deploy import IMAGES, NAMES_FILE, Deployed, deployed
from imagebuilder.errors import BuildError, UserError
from imagebuilder.executor import Work
from imagebuilder.kasproject.folder import write_project
from imagebuilder.kasproject.project import Ingredients, project_files
from imagebuilder.kasproject.sources import folder_files
from imagebuilder.plan import FileInput, Plan, Step
from imagebuilder.resolve import Build
from imagebuilder.state import sha256_file

REVISION = "1"
"""Raised when an action gives another result for the same inputs."""
PROJECT = "project"
SITE_VARIABLE = "IMAGEBUILDER_SITE"
"""Names a kas file of the host's site, such as mirrors; used beside the project, not part of it."""


def ingredients(build: Build, prefix: str = "") -> Ingredients:
    """What the project of a build is made from."""
    assert build.series is not None
    return Ingredients(build, build.series, shipped("layers"), shipped("inferd"), prefix)


def make_plan(build: Build) -> Plan:
    """Both steps; the project counts by the digest of each of its files."""
    files = project_files(ingredients(build))
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    site = site_file()
    inputs = {"site": FileInput(site, sha256_file(site))} if site else {}
    project = Step("project", "project", {"files": digests}, tools={"revision": REVISION})
    image = Step("image", "image", {}, inputs, ("project",), {"revision": REVISION})
    return Plan("yocto", (project, image))


def site_file() -> Path | None:
    """The site's kas file, if the environment names one; `UserError` if it is not there."""
    named = os.environ.get(SITE_VARIABLE)
    if not named:
        return None
    path = Path(named).absolute()
    if not path.is_file():
        raise UserError(f"{SITE_VARIABLE}: {path}: no such file")
    return path


def make_project(build: Build, work: Work) -> None:
    """Write the project's files."""
    for path, data in project_files(ingredients(build)).items():
        target = work.output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def make_image(build: Build, folder: Path, work: Work) -> None:
    """Bring the project folder up to date, let BitBake build it, and keep the results."""
    project = folder.absolute() / PROJECT
    check_host(project)
    write_project(folder_files(work.inputs["project"]), project)
    environment = shared_folders(work.cache) | offline_variables(work.fetcher.offline)
    try:
        run_kas(Job(project, folder / "kas.log", site_file(), environment), work.log)
    except BuildError as error:
        raise located(build.manifest, error) from error
    assert build.machine.yocto is not None
    machine = build.machine.yocto.machine
    deploy = project / "build" / "tmp" / "deploy" / "images" / machine
    for variant in IMAGES:
        _keep(deployed(deploy, machine, variant), work.output / variant)


def _keep(found: Sequence[Deployed], folder: Path) -> None:
    names = {item.kind: item.name for item in found}
    folder.mkdir()
    for item in found:
        shutil.copyfile(item.path, folder / item.kind)
    (folder / NAMES_FILE).write_text(json.dumps(names))


def check_host(project: Path) -> None:
    """`UserError` for what makes BitBake fail at once."""
    # OE-core's sanity.bbclass refuses these; its own message comes late.
    if bad := sorted(set(re.findall(r"[^A-Za-z0-9._/=-]", str(project)))):
        what = f"BitBake cannot work in {project}: its path has {' '.join(map(repr, bad))}"
        raise UserError(what, hint="name another folder by --output")
    if os.geteuid() == 0:
        hint = "run this command as a normal user"
        raise UserError("BitBake does not run as root", hint=hint)
    try:
        metadata.version("kas")
    except metadata.PackageNotFoundError as error:
        hint = "pip install 'imagebuilder[yocto]'"
        raise UserError("the Python package kas is missing", hint=hint) from error
