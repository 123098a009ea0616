"""`imagebuilder inspect`: what is in a built image or a sealed bundle, or how two differ."""

from __future__ import annotations

from pathlib import Path

import click

from imagebuilder.artifact import FILE_NAME, Artifacts, read_artifacts
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.bundle.signer import read_public_key
from imagebuilder.cli.app import App
from imagebuilder.errors import Location, Problem, UserError
from imagebuilder.report.contents import Sizes, differences, sizes
from imagebuilder.report.evidence import (
    INDEX_SIGNATURE,
    image_problems,
    read_evidence,
    verify_evidence,
)
from imagebuilder.state import sha256_file
from imagebuilder.units import show_size


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
@click.option(
    "--verify",
    is_flag=True,
    help="ARTIFACT is an archive of evidence: check that all "
    "in it fits together, and fits the built image OTHER.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key that must have signed the archive (with --verify).",
)
@click.pass_obj
def command(app: App, artifact: Path, other: Path | None, verify: bool, key: Path | None) -> None:
    """Show contents, sizes and digests of ARTIFACT, or how OTHER differs from it.

    ARTIFACT is the folder of a built image (build/MACHINE) or of a sealed bundle; every digest is
    checked.
    """
    if key is not None and not verify:
        raise UserError("--key is for --verify")
    if verify:
        _verify(app, artifact, other, key)
        return
    found = contents(artifact)
    if other is None:
        rows = [(name, show_size(size), digest[:16]) for name, (size, digest) in found.items()]
        app.log.table(("part", "size", "SHA-256"), rows)
        return
    changes = differences(found, contents(other))
    if changes:
        app.log.table(("part", "size", "other size", "change"), [_row(*row) for row in changes])
    else:
        app.log.print("no difference")


def _row(name: str, one: int | None, other: int | None) -> tuple[str, str, str, str]:
    growth = (other or 0) - (one or 0)
    sign = "+" if growth >= 0 else "-"
    return name, _size(one), _size(other), sign + show_size(abs(growth))


def _size(size: int | None) -> str:
    return "absent" if size is None else show_size(size)


def _verify(app: App, archive: Path, image: Path | None, key: Path | None) -> None:
    evidence = read_evidence(archive)
    problems = verify_evidence(evidence, None if key is None else read_public_key(key))
    if image is not None and not problems:
        contents(image)
        problems = image_problems(evidence, image)
    if problems:
        raise UserError(*(Problem(problem, Location(archive)) for problem in problems))
    signed = "" if key is None else ", signed by the key"
    if key is None and INDEX_SIGNATURE in evidence.files:
        signed = ", signed, but not checked by whom (--key)"
    fits = "" if image is None else f", and {image} is its image"
    app.log.print(f"{archive}: {len(evidence.files)} files fit together{signed}{fits}")


def contents(path: Path) -> Sizes:
    """Part → size in bytes and SHA-256. `UserError` if it is damaged or nothing of ours."""
    if (path / FILE_NAME).is_file():
        return _image(read_artifacts(path))
    if (path / "bundle.json").is_file():
        return _bundle(read_bundle(path))
    what = "neither a built image nor a sealed bundle"
    raise UserError(Problem(what, Location(path), hint="name a folder such as build/qemuarm64"))


def _image(artifacts: Artifacts) -> Sizes:
    problems = []
    for file in artifacts.files:
        path = artifacts.folder / file.file
        if not path.is_file():
            problems.append(Problem("is missing", Location(path)))
        elif sha256_file(path) != file.sha256:
            problems.append(Problem("is not the file that was built", Location(path)))
    if problems:
        raise UserError(*problems)
    return sizes(artifacts)


def _bundle(bundle: SealedBundle) -> Sizes:
    whole = {bundle.description.name: (0, bundle.digest.removeprefix("sha256:"))}
    return whole | {
        name: (entry.size, entry.sha256) for name, entry in bundle.description.files.items()
    }
