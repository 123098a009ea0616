"""How far each machine gets with real BitBake, series by series; writes the machines' `status`.

    python tests/yocto/prove.py --mirrors FOLDER --work FOLDER [--machine PATTERN] [--series NAME]
                                [--level parsed|dry-run|booted] [--site FILE] [--write]

FOLDER of mirrors holds bare git repositories NAME.git with the commits of the series; what is
not there is reported as missing and never claimed. Needs kas, OE's host programs, a normal user.
`parsed` means that `bitbake -g` of both images succeeded: every package has a provider.
`dry-run` means that `bitbake -n` of them did: every task has what it needs.
`booted` means that `imagebuilder test --engine yocto` built the image from source, booted it in
QEMU and passed its tests.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.catalog.machine import Machine
from imagebuilder.catalog.series import Repository, Series

LEVELS = ("parsed", "dry-run", "built", "booted", "hardware")
COMMANDS = {"parsed": "bitbake -g", "dry-run": "bitbake -n"}
IMAGES = "imagebuilder-image imagebuilder-image-debug"
MANIFEST = """\
format: 1
name: proof
version: 0.1.0
machine: {machine}
search: [models]
models: [{{bundle: {model}}}]
yocto: {{series: {series}, licenses: [{licenses}]}}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one machine reached in one series; `what` is the first error, or what is missing."""

    machine: str
    series: str
    level: str
    seconds: float
    what: str


def main() -> None:
    """Prove all that was asked for and print the table."""
    options = arguments()
    outcomes = []
    for machine, series in pairs(options):
        outcome = prove(options, machine, series)
        outcomes.append(outcome)
        print(row(outcome), flush=True)
        if options.write and outcome.level in LEVELS:
            write_status(outcome)
    bad = [outcome for outcome in outcomes if outcome.level == "failed"]
    sys.exit(1 if bad else 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--machine", default="*")
    parser.add_argument("--series", default="*")
    parser.add_argument("--level", choices=(*COMMANDS, "booted"), default="parsed")
    parser.add_argument("--site", type=Path)
    parser.add_argument("--write", action="store_true", help="write the status fields")
    return parser.parse_args()


def pairs(options: argparse.Namespace) -> Iterator[tuple[Machine, Series]]:
    """Machine and series, as the options choose them."""
    catalog = make_catalog()
    for series in fnmatch.filter(catalog.names("series"), options.series):
        for name in fnmatch.filter(catalog.names("machines"), options.machine):
            machine = catalog.machine(name)
            if machine.yocto is not None:
                yield machine, catalog.series(series)


def prove(options: argparse.Namespace, machine: Machine, series: Series) -> Outcome:
    """Generate the project and let BitBake look at it."""
    start = time.monotonic()

    def outcome(level: str, what: str = "") -> Outcome:
        return Outcome(machine.name, series.name, level, time.monotonic() - start, what)

    assert machine.yocto is not None
    yocto = machine.yocto.of_series(series.name)
    if yocto.series and series.name not in yocto.series:
        return outcome("no", "not for this series")
    if missing := series.missing(yocto.layers):
        return outcome("missing", f"no layer {', '.join(missing)} in the series")
    repositories = series.selected(yocto.layers)
    lacking = [r.name for r in repositories if not has_commit(options.mirrors, r)]
    if lacking:
        return outcome("missing", f"no mirror with the commit of {', '.join(lacking)}")
    folder = options.work / f"{machine.name}-{series.name}"
    folder.mkdir(parents=True, exist_ok=True)
    write_firmware(folder, machine, series)
    done = attempt(options, folder, repositories)
    if done.returncode:
        return outcome("failed", first_error(done.stdout + done.stderr))
    return outcome(options.level)


def attempt(
    options: argparse.Namespace, folder: Path, repositories: tuple[Repository, ...]
) -> subprocess.CompletedProcess[str]:
    """What the level asks for."""
    if options.level == "booted":
        words = ["imagebuilder", "test", folder, "--engine", "yocto", "--output", folder / "out"]
        return command(words, cwd=folder, environment=environment(options, repositories))
    project = folder / "project"
    done = command(["imagebuilder", "generate", "-q", folder, "--output", project])
    if done.returncode == 0:
        done = bitbake(options, project, repositories, COMMANDS[options.level])
    return done


def write_firmware(folder: Path, machine: Machine, series: Series) -> None:
    """A manifest with the digits, in the format that a runtime of the architecture reads."""
    assert machine.yocto is not None
    model = "digits"
    if not reads_onnx(machine.arch):
        model = "digits-ort"
        own = folder / "models" / model
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(shipped("model-bundles") / "digits", own)
        source = own / "bundle.yaml"
        text = source.read_text("utf-8").replace("name: digits\n", f"name: {model}\n")
        text = text.replace("  - {quantize: static}\n", "  - {quantize: static}\n  - ort-format\n")
        source.write_text(text, "utf-8")
    licenses = ", ".join(machine.yocto.of_series(series.name).licenses)
    text = MANIFEST.format(machine=machine.name, model=model, series=series.name, licenses=licenses)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "firmware.yaml").write_text(text, "utf-8")


def reads_onnx(arch: str) -> bool:
    """Whether a runtime of the engine yocto reads ONNX as it is on an architecture."""
    catalog = make_catalog()
    runtimes = [catalog.runtime(name) for name in catalog.names("runtimes")]
    targets = [r.targets.get(arch) for r in runtimes if "onnx" in r.formats]
    return any(target is not None and target.yocto_recipe for target in targets)


def has_commit(mirrors: Path, repository: Repository) -> bool:
    """Whether a local mirror has the pinned commit."""
    words = ["git", "-C", mirrors / f"{repository.name}.git", "cat-file", "-e", repository.commit]
    return command(words).returncode == 0


def bitbake(
    options: argparse.Namespace, project: Path, repositories: tuple[Repository, ...], verb: str
) -> subprocess.CompletedProcess[str]:
    """Run BitBake in the project through kas, its repositories cloned from the mirrors."""
    files = "kas.yml"
    if options.site:
        (project / "site.yml").write_bytes(options.site.read_bytes())
        files = "kas.yml:site.yml"
    variables = {**environment(options, repositories), "KAS_WORK_DIR": str(project)}
    words = ["kas", "shell", files, "-c", f"{verb} {IMAGES}"]
    return command(words, cwd=project, environment=variables)


def environment(
    options: argparse.Namespace, repositories: tuple[Repository, ...]
) -> dict[str, str]:
    """Where layers come from and shared results go, for kas and for imagebuilder."""
    shared = options.work.absolute()
    premirrors = "\n".join(
        f"^{re.escape(r.url)}$ file://{options.mirrors.absolute()}/{r.name}.git"
        for r in repositories
    )
    site = {"IMAGEBUILDER_SITE": str(options.site.absolute())} if options.site else {}
    return {
        "KAS_PREMIRRORS": premirrors,
        "SSTATE_DIR": str(shared / "sstate"),
        "DL_DIR": str(shared / "downloads"),
        **site,
    }


def command(
    words: Sequence[object], cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program; its output is kept in `command.log` of the folder it works in."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if cwd is not None:
        (cwd.parent / "command.log").write_text(done.stdout + done.stderr)
    return done


def first_error(text: str) -> str:
    """The first line that names an error."""
    telling = re.compile(r"(?i)error|exit code|nothing (r?provides)")
    lines = [line for line in text.splitlines() if telling.search(line)]
    return (lines or ["no error in the output"])[0][:160]


def row(outcome: Outcome) -> str:
    """One row of the table."""
    return (
        f"| {outcome.machine:26} | {outcome.series:9} | {outcome.level:8} "
        f"| {outcome.seconds:6.1f} s | {outcome.what} |"
    )


def write_status(outcome: Outcome) -> None:
    """Raise the machine's status of a series; the rest of the file stays as it is."""
    path = shipped("machine-configs") / f"{outcome.machine}.yaml"
    status = dict(make_catalog().machine(outcome.machine).status)
    old = status.get(outcome.series)
    if old is not None and LEVELS.index(old) >= LEVELS.index(outcome.level):
        return
    status[outcome.series] = outcome.level
    line = f"status: {{{', '.join(f'{key}: {value}' for key, value in sorted(status.items()))}}}\n"
    text = path.read_text("utf-8")
    new = re.sub(r"^status: .*\n", line, text, flags=re.M)
    path.write_text(new if "status:" in text else text + line, "utf-8")


if __name__ == "__main__":
    main()
