"""What a changed model makes BitBake do again, by BitBake's own signatures.

    python tests/yocto/signatures.py --mirrors FOLDER --work FOLDER [--site FILE]

Options as those of prove.py. The firmware has the digits in ONNX Runtime's format and the runtime
that is cut to its models. A model with other weights moves its recipe and the images; one with
another operator moves the cut runtime too. The same project in another folder moves the images
only (`do_rootfs` of OE-core names its folder), so that folders share all packages. Exits with 1
where anything else moves.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from prove import arguments, bitbake, command, first_error

from imagebuilder.catalog import make_catalog, shipped

MACHINE, SERIES = "qemuarm64", "wrynose"
IMAGES = {"imagebuilder-image", "imagebuilder-image-debug"}
BUNDLE = {"model-bundle-digits-ort", "packagegroup-imagebuilder-inference"}
"""OE packs a package group again, and builds nothing, when a package that it names is new."""
MANIFEST = f"""\
format: 1
name: signatures
version: 0.1.0
machine: {MACHINE}
search: [models]
models: [{{bundle: digits-ort, runtime: onnxruntime-cut}}]
yocto: {{series: {SERIES}}}
"""
NONE = ("", "")
CHANGES = (
    ("another folder", NONE, IMAGES),
    ("other golden samples", ("samples: 16", "samples: 20"), IMAGES | BUNDLE),
    (
        "other operators",
        ("  - {quantize: static}\n", ""),
        IMAGES | BUNDLE | {"onnxruntime-cut"},
    ),
)
"""What changes, how bundle.yaml changes, and the recipes whose signatures may."""


def main() -> None:
    """Compare the signatures before and after each change."""
    options = arguments()
    folder = options.work / "signatures"
    before = signatures(options, folder, NONE)
    good = True
    for what, change, wanted in CHANGES:
        after = signatures(options, folder, change, "elsewhere" if change == NONE else "project")
        tasks = sorted(key for key in before if before[key] != after.get(key))
        moved = {task.partition(":")[0] for task in tasks}
        where = ", ".join(sorted(moved)) or "nothing"
        print(f"{what}: {len(tasks)} of {len(before)} tasks, of {where}", flush=True)
        for task in tasks:
            if task.partition(":")[0] not in wanted:
                print(f"  not wanted: {task}")
        good = good and moved == wanted
    sys.exit(0 if good else 1)


def signatures(
    options: object, folder: Path, change: tuple[str, str], name: str = "project"
) -> dict[str, str]:
    """Recipe:task → signature, of all that the images need."""
    write_model(folder / "models" / "digits-ort", change)
    (folder / "firmware.yaml").write_text(MANIFEST, "utf-8")
    project = folder / name
    made = command(["imagebuilder", "generate", "-q", folder, "--output", project])
    if made.returncode:
        sys.exit(first_error(made.stderr))
    series = make_catalog().series(SERIES)
    done = bitbake(options, project, series.selected(()), "bitbake -S lockedsigs")
    if done.returncode:
        sys.exit(first_error(done.stdout))
    text = (project / "build" / "locked-sigs.inc").read_text("utf-8")
    found = {f"{recipe}:{task}": value for recipe, task, value in TASK.findall(text)}
    # do_build does nothing: it only names what it needs.
    return {task: value for task, value in found.items() if not task.endswith(":do_build")}


TASK = re.compile(r"^\s+(\S+):(do_\w+):([0-9a-f]{64})", re.M)


def write_model(own: Path, change: tuple[str, str]) -> None:
    """The shipped digits under a name of its own, in ONNX Runtime's format, with one change."""
    own.mkdir(parents=True, exist_ok=True)
    for path in (shipped("model-bundles") / "digits").iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    source = own / "bundle.yaml"
    text = source.read_text("utf-8").replace("name: digits\n", "name: digits-ort\n")
    text = text.replace("  - {quantize: static}\n", "  - {quantize: static}\n  - ort-format\n")
    source.write_text(text.replace(*change), "utf-8")


if __name__ == "__main__":
    main()
